"""The FID Inception: its features against torch-fidelity's, its weights, its inputs, and other devices."""

import subprocess
import sys
import threading
import time

from console import module_command, module_environment

import numpy as np
import pytest
import tensorflow as tf
from benchmark.inception_state import CONVOLUTIONS, random_state, write_state_dict
from PIL import Image

from monet.core.errors import UserError
from monet.core.pixels import decode_image
from monet.data.records import read_examples
from monet.data.torch_file import read_state_dict
from monet.data.validation import find_data
from monet.scoring.inception import (
    BATCHES_AHEAD,
    INCEPTION_BATCH,
    build_inception,
    extract_features,
    feature_batches,
    fuse_batch_norm,
    make_extractor,
    prefetched,
    preprocess_images,
)
from monet.scoring.mifid import frechet_distance


@pytest.fixture(scope="module")
def state():
    return random_state(seed=1)


@pytest.fixture(scope="module")
def narrow_state():
    """A sixteenth of the channels, for tests that do not depend on their number."""
    return random_state(seed=1, narrow=16)


@pytest.fixture(scope="module")
def extract(narrow_state):
    return make_extractor(build_inception(narrow_state))


@pytest.fixture(scope="module")
def photos(full_root):
    """A few images, uint8 `[256, 256, 3]`."""
    examples = read_examples(find_data(full_root).photo).take(6)
    return [decode_image(example["image"]).numpy() for example in examples]


def relative(ours, theirs):
    """Mean absolute difference over mean absolute value."""
    return np.abs(ours - theirs).mean() / np.abs(theirs).mean()


# Agreement with torch-fidelity.


def run_fidelity(python, *words):
    """Runs tools/benchmark/peers/fidelity.py."""
    done = subprocess.run(module_command("benchmark.peers.fidelity", *words, python=python), capture_output=True,
                          text=True, env=module_environment())
    assert done.returncode == 0, done.stderr


def sixty_four(full_root):
    """Images of all kinds: photos, paintings, smooth colours and noise, uint8 `[64, 256, 256, 3]`."""
    data, draw = find_data(full_root), np.random.default_rng(0)
    images = [decode_image(example["image"]).numpy() for image_set in (data.photo, data.monet)
              for example in read_examples(image_set).take(10)]
    while len(images) < 64:
        colours = draw.integers(0, 256, (2 ** (len(images) % 9), 3, 3), np.uint8)
        images.append(np.asarray(Image.fromarray(colours).resize((256, 256), Image.Resampling.BICUBIC)))
    return np.stack(images)


@pytest.mark.lengthy
def test_features_equal_torch_fidelitys(peers, state, full_root, tmp_path):
    """With random weights, saved by PyTorch in both of its formats, and 64 images."""
    np.savez(tmp_path / "state.npz", **state)
    for kind in ("legacy", "zip"):
        run_fidelity(peers, "save", kind, tmp_path / "state.npz", tmp_path / f"{kind}.pth")
        read = read_state_dict(str(tmp_path / f"{kind}.pth"))
        assert list(read) == list(state)
        assert all(np.array_equal(read[name], array) for name, array in state.items())
    images = sixty_four(full_root)
    np.save(tmp_path / "images.npy", images)
    run_fidelity(peers, "features", tmp_path / "legacy.pth", tmp_path / "images.npy", tmp_path / "features.npy")
    theirs = np.load(tmp_path / "features.npy")
    ours = extract_features(make_extractor(build_inception(read)), images, 64, "features")
    assert ours.shape == (64, 2048) and ours.dtype == np.float32
    assert theirs.std(0).mean() > 0.05 * theirs.mean()  # they differ from image to image
    assert relative(ours, theirs) < 1e-5
    fid = frechet_distance(theirs[:30], theirs[30:])
    assert frechet_distance(ours[:30], ours[30:]) == pytest.approx(fid, rel=1e-5)


# The network and its weights.


def test_every_convolution_of_the_network_has_its_weights(state):
    named = {layer.name: layer for layer in build_inception(state).layers if layer.weights}
    assert set(named) == {name.replace(".", "_") for name in CONVOLUTIONS}
    for name in CONVOLUTIONS:
        weights = named[name.replace(".", "_")].get_weights()
        for weight, array in zip(weights, fuse_batch_norm(state, name), strict=True):
            np.testing.assert_array_equal(weight, array)


def test_batch_normalization_is_merged_into_the_convolution(state):
    kernel, bias = fuse_batch_norm(state, "Conv2d_1a_3x3")
    image = np.random.default_rng(0).normal(size=(1, 9, 9, 3)).astype(np.float32)
    plain = state["Conv2d_1a_3x3.conv.weight"].transpose(2, 3, 1, 0)
    gamma, beta, mean, variance = (state[f"Conv2d_1a_3x3.bn.{part}"]
                                   for part in ("weight", "bias", "running_mean", "running_var"))
    expected = tf.nn.batch_normalization(tf.nn.conv2d(image, plain, 2, "VALID"), mean, variance, beta, gamma, 1e-3)
    np.testing.assert_allclose(tf.nn.conv2d(image, kernel, 2, "VALID") + bias, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "array", "why"), [
    ("Mixed_6c.branch7x7_2.bn.running_var", None, "lack Mixed_6c.branch7x7_2.bn.running_var"),
    ("Conv2d_1a_3x3.conv.weight", np.zeros([32, 3, 3]), "shapes.*Conv2d_1a_3x3"),
    ("Conv2d_2a_3x3.bn.bias", np.zeros([31]), "shapes.*Conv2d_2a_3x3"),
    ("Conv2d_2a_3x3.conv.weight", np.zeros([32, 31, 3, 3]), "31 channels, not 32"),
    ("Mixed_7c.branch1x1.conv.weight", np.zeros([8, 2048, 1, 1]), "shapes.*Mixed_7c.branch1x1"),
])
def test_weights_of_another_network_are_refused(state, name, array, why):
    other = {key: value for key, value in state.items() if key != name} | ({} if array is None else {name: array})
    with pytest.raises(UserError, match=why):
        build_inception(other)


def test_features_are_float32_under_any_policy(narrow_state, extract, photos):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    images = photos[:2]
    mixed = extract_features(make_extractor(build_inception(narrow_state)), images, 2, "features")
    np.testing.assert_array_equal(mixed, extract_features(extract, images, 2, "features"))


def test_tf32_is_off_only_while_features_are_computed(photos):
    seen = []

    def watched(images, training):
        seen.append(tf.config.experimental.tensor_float_32_execution_enabled())
        return tf.zeros([images.shape[0], 2048])

    extract_features(make_extractor(watched), photos[:1], 1, "features")
    assert seen == [False]
    assert tf.config.experimental.tensor_float_32_execution_enabled()


# Preprocessing and batches.


def resized_by_tensorflow_1(image, side=299):
    """TensorFlow 1's bilinear resizing, pixel by pixel: it aligns top left corners instead of pixel centres."""
    image, scale = np.float64(image), np.float32(image.shape[:2]) / np.float32(side)
    rows, columns = (np.arange(side, dtype=np.float32) * each for each in scale)
    low, left = np.int64(rows), np.int64(columns)
    high, right = np.minimum(low + 1, image.shape[0] - 1), np.minimum(left + 1, image.shape[1] - 1)
    down, across = (rows - low)[:, None, None], (columns - left)[None, :, None]
    top = image[low][:, left] * (1 - across) + image[low][:, right] * across
    bottom = image[high][:, left] * (1 - across) + image[high][:, right] * across
    return top * (1 - down) + bottom * down


@pytest.mark.parametrize("size", [(256, 256), (299, 299), (64, 48), (640, 401), (1, 1)])
def test_images_of_any_size_are_resized_as_tensorflow_1_did(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    other = np.full([40, 30, 3], 128, np.uint8)
    expected = np.stack([np.zeros([299, 299, 3]), (resized_by_tensorflow_1(image) - 128) / 128])
    np.testing.assert_allclose(preprocess_images([other, image]), expected, atol=1e-6)


def test_partial_batches_keep_the_order_and_share_one_graph():
    shapes = []

    def mean_network(images, training):
        shapes.append(images.shape)
        return tf.tile(tf.reduce_mean(images, [1, 2, 3])[:, None], [1, 2048])

    images = [np.full([8, 8, 3], value, np.uint8) for value in range(2 * INCEPTION_BATCH + 3)]
    features = extract_features(make_extractor(mean_network), iter(images), len(images), "features")
    np.testing.assert_allclose(features[:, 0], (np.arange(2 * INCEPTION_BATCH + 3) - 128) / 128, atol=1e-6)
    assert shapes == [(INCEPTION_BATCH, 299, 299, 3)]  # traced once
    assert extract_features(make_extractor(mean_network), [], 0, "features").shape == (0, 2048)


def test_items_are_produced_while_one_is_in_use():
    produced = [threading.Event() for _ in range(6)]

    def items():
        for number, event in enumerate(produced):
            event.set()
            yield number

    for number in prefetched(items()):
        assert all(event.wait(60) for event in produced[number:number + 1 + BATCHES_AHEAD])


def test_no_more_items_are_prefetched_than_allowed():
    produced, enough = [], threading.Event()

    def produce(number):
        produced.append(number)
        if len(produced) > BATCHES_AHEAD:
            enough.set()
        return number

    items = prefetched(map(produce, range(20)))
    next(items)
    assert enough.wait(60)
    time.sleep(0.1)  # time to produce more
    assert len(produced) == BATCHES_AHEAD + 1
    items.close()


def test_an_unreadable_image_raises_its_own_error_and_ends_the_thread(extract):
    def images():
        yield np.zeros([8, 8, 3], np.uint8)
        raise UserError("0002.jpg cannot be read.")

    before = threading.active_count()
    with pytest.raises(UserError, match="0002.jpg"):
        list(feature_batches(extract, images()))
    assert threading.active_count() == before


# Other devices.

REPLICAS = """
import sys
import numpy as np
import tensorflow as tf

cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 3)
from monet.scoring.inception import build_inception, extract_features, make_extractor
from monet.data.torch_file import read_state_dict

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1", "CPU:2"])
with strategy.scope():
    network = build_inception(read_state_dict(sys.argv[1]))
images = np.load(sys.argv[2])
np.save(sys.argv[3], extract_features(make_extractor(network, strategy), images, len(images), "features"))
"""


@pytest.mark.lengthy
def test_several_devices_share_a_batch(narrow_state, extract, photos, tmp_path):
    """In its own process, because a CPU can be divided only before its first use: 32 images over three devices."""
    write_state_dict(tmp_path / "weights.pth", narrow_state)
    np.save(tmp_path / "images.npy", np.stack(photos))
    subprocess.run([sys.executable, "-c", REPLICAS, tmp_path / "weights.pth", tmp_path / "images.npy",
                    tmp_path / "features.npy"], check=True)
    alone = extract_features(extract, photos, len(photos), "features")
    assert relative(np.load(tmp_path / "features.npy"), alone) < 1e-6
