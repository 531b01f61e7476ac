"""The 2015 Inception network that defines FID, and the features it gives images.

Layers are named as in pytorch-fid's state dict. The network differs from `keras.applications.InceptionV3` in its last
block, whose pool takes maxima.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from tensorflow import keras

from monet.core.errors import UserError
from monet.core.keras_compat import reset_keras
from monet.core.pixels import pad_batch
from monet.core.progress import progress_bar
from monet.machine.devices import over_replicas

INPUT_SIDE = 299  # pixels per side of the network's input
FEATURE_COUNT = 2048  # features per image
INCEPTION_BATCH = 32  # images per call of the network, over all devices
BATCHES_AHEAD = 2  # batches read and resized while another is in the network
BATCH_NORM_EPSILON = 1e-3
EXPECTED_WEIGHTS = "they are not the FID Inception's. Give pytorch-fid's file."


def fuse_batch_norm(state: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Merges convolution `name` with its batch normalization: float32 kernel `[height, width, in, out]` and bias.

    Raises:
        UserError: if the state dict lacks them, or their shapes do not match.
    """
    norm = (f"{name}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
    parts = [f"{name}.conv.weight", *norm]
    missing = next((part for part in parts if part not in state), None)
    if missing:
        raise UserError(f"The weights lack {missing}: {EXPECTED_WEIGHTS}")
    kernel, gamma, beta, mean, variance = (np.asarray(state[part], np.float64) for part in parts)
    if kernel.ndim != 4 or any(array.shape != kernel.shape[:1] for array in (gamma, beta, mean, variance)):
        raise UserError(f"The shapes of the weights of {name} do not match each other: {EXPECTED_WEIGHTS}")
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return [(kernel.transpose(2, 3, 1, 0) * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)]


class InceptionLayers:
    """Makes the network's layers, with their weights; always float32, whatever the policy for other networks."""

    def __init__(self, state: dict[str, np.ndarray]):
        """`state` holds arrays by pytorch-fid's names."""
        self.state = state

    def conv(self, x, name: str, stride: int = 1, padding: str = "same", activation: str = "relu"):
        """Convolution, batch normalization and activation."""
        kernel, bias = fuse_batch_norm(self.state, name)
        if kernel.shape[2] != x.shape[-1]:
            raise UserError(f"The kernel of {name} takes {kernel.shape[2]} channels, not {x.shape[-1]}: "
                            f"{EXPECTED_WEIGHTS}")
        layer = keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], stride, padding, activation=activation,
                                    kernel_initializer="zeros", dtype="float32", name=name.replace(".", "_"))
        y = layer(x)
        layer.set_weights([kernel, bias])
        return y

    def convs(self, x, block: str, *names: str):
        """The block's convolutions `names`, one after another."""
        for name in names:
            x = self.conv(x, f"{block}.{name}")
        return x

    def max_pool(self, x, stride: int = 2, padding: str = "valid"):
        """3x3 max pooling."""
        return keras.layers.MaxPooling2D(3, stride, padding, dtype="float32")(x)

    def average_pool_conv(self, x, block: str):
        """3x3 average pooling, over existing pixels only at the edges, and a 1x1 convolution.

        The two commute; the convolution comes first because it leaves fewer channels to pool.
        """
        x = self.conv(x, f"{block}.branch_pool", activation="linear")
        return keras.layers.ReLU(dtype="float32")(keras.layers.AveragePooling2D(3, 1, "same", dtype="float32")(x))

    def concatenate(self, *branches):
        """The branches' channels, in order."""
        return keras.layers.Concatenate(dtype="float32")(list(branches))


def inception_a(layers: InceptionLayers, x, block: str):
    """35x35 pixels: 1x1, 5x5, two 3x3, and pool."""
    return layers.concatenate(
        layers.convs(x, block, "branch1x1"),
        layers.convs(x, block, "branch5x5_1", "branch5x5_2"),
        layers.convs(x, block, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        layers.average_pool_conv(x, block))


def inception_b(layers: InceptionLayers, x, block: str):
    """35x35 pixels to 17x17."""
    double = layers.convs(x, block, "branch3x3dbl_1", "branch3x3dbl_2")
    return layers.concatenate(
        layers.conv(x, f"{block}.branch3x3", 2, "valid"),
        layers.conv(double, f"{block}.branch3x3dbl_3", 2, "valid"),
        layers.max_pool(x))


def inception_c(layers: InceptionLayers, x, block: str):
    """17x17 pixels: 1x1, 7x7 and two 7x7 as rows and columns, and pool."""
    return layers.concatenate(
        layers.convs(x, block, "branch1x1"),
        layers.convs(x, block, *(f"branch7x7_{number}" for number in range(1, 4))),
        layers.convs(x, block, *(f"branch7x7dbl_{number}" for number in range(1, 6))),
        layers.average_pool_conv(x, block))


def inception_d(layers: InceptionLayers, x, block: str):
    """17x17 pixels to 8x8."""
    single = layers.convs(x, block, "branch3x3_1")
    double = layers.convs(x, block, *(f"branch7x7x3_{number}" for number in range(1, 4)))
    return layers.concatenate(
        layers.conv(single, f"{block}.branch3x3_2", 2, "valid"),
        layers.conv(double, f"{block}.branch7x7x3_4", 2, "valid"),
        layers.max_pool(x))


def inception_e(layers: InceptionLayers, x, block: str, pool_branch):
    """8x8 pixels: 1x1, 3x3 and two 3x3, the last as a row beside a column, and `pool_branch`, which differs between the
    network's two blocks of this kind."""
    single = layers.convs(x, block, "branch3x3_1")
    double = layers.convs(x, block, "branch3x3dbl_1", "branch3x3dbl_2")
    return layers.concatenate(
        layers.convs(x, block, "branch1x1"),
        layers.convs(single, block, "branch3x3_2a"), layers.convs(single, block, "branch3x3_2b"),
        layers.convs(double, block, "branch3x3dbl_3a"), layers.convs(double, block, "branch3x3dbl_3b"),
        pool_branch)


def build_inception(state: dict[str, np.ndarray]) -> keras.Model:
    """Builds the network with its weights, in the current strategy's scope.

    Args:
        state: arrays by pytorch-fid's names; the classifier's and any others are ignored.

    Returns:
        A float32 network from `[batch, 299, 299, 3]`, as `preprocess_images` returns, to features `[batch, 2048]`.

    Raises:
        UserError: if the weights are another network's.
    """
    reset_keras()
    layers, image = InceptionLayers(state), keras.Input([INPUT_SIDE, INPUT_SIDE, 3], dtype="float32")
    x = layers.conv(image, "Conv2d_1a_3x3", 2, "valid")
    x = layers.conv(x, "Conv2d_2a_3x3", 1, "valid")
    x = layers.max_pool(layers.conv(x, "Conv2d_2b_3x3"))
    x = layers.conv(x, "Conv2d_3b_1x1")
    x = layers.max_pool(layers.conv(x, "Conv2d_4a_3x3", 1, "valid"))
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = inception_a(layers, x, block)
    x = inception_b(layers, x, "Mixed_6a")
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = inception_c(layers, x, block)
    x = inception_d(layers, x, "Mixed_7a")
    x = inception_e(layers, x, "Mixed_7b", layers.average_pool_conv(x, "Mixed_7b"))
    x = inception_e(layers, x, "Mixed_7c", layers.convs(layers.max_pool(x, 1, "same"), "Mixed_7c", "branch_pool"))
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    if x.shape[-1] != FEATURE_COUNT:
        raise UserError(f"These weights give {x.shape[-1]} features per image, not {FEATURE_COUNT}: {EXPECTED_WEIGHTS}")
    return keras.Model(image, x, name="fid_inception")


def preprocess_images(images: list[np.ndarray]) -> tf.Tensor:
    """Resizes and scales images as FID's network expects.

    Args:
        images: uint8 `[height, width, 3]` each, of any sizes.

    Returns:
        float32 `[images, 299, 299, 3]` in [-1, 1): (x - 128) / 128 after TensorFlow 1's bilinear resizing, which
        `tf.image.resize` no longer does.
    """
    with tf.device("CPU"):
        resized_images = [tf.raw_ops.ResizeBilinear(images=image[None], size=[INPUT_SIDE, INPUT_SIDE],
                                                    align_corners=False, half_pixel_centers=False) for image in images]
        return (tf.concat(resized_images, 0) - 128.0) / 128.0


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Turns off the reduced precision that TPUs and newer NVIDIA GPUs use for float32 by default."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def make_extractor(network: keras.Model, strategy: tf.distribute.Strategy | None = None) -> Callable:
    """Makes a function from preprocessed images, float32 `[n, 299, 299, 3]`, to features, float32 `[n, 2048]`.

    n is at most `INCEPTION_BATCH`; the graph is traced once.

    Args:
        network: from `build_inception`, built in the strategy's scope.
        strategy: its replicas, all on this machine, share the batch; None: one device.
    """
    run = over_replicas(lambda images: network(images, training=False), strategy)

    def extract(images: tf.Tensor) -> np.ndarray:
        with full_float32():
            return np.asarray(run(pad_batch(images, INCEPTION_BATCH)))[:len(images)]

    return extract


def prefetched(items: Iterator) -> Iterator:
    """Yields `items`, which another thread produces up to `BATCHES_AHEAD` in advance; their errors are raised here."""
    with ThreadPoolExecutor(1) as thread:
        pending = deque(thread.submit(next, items, None) for _ in range(BATCHES_AHEAD))
        while (item := pending.popleft().result()) is not None:
            pending.append(thread.submit(next, items, None))
            yield item


def feature_batches(extract: Callable, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields the features of images, batch by batch.

    Args:
        extract: from `make_extractor`.
        images: uint8 `[height, width, 3]`, of any sizes. Another thread reads and resizes them while the network
            computes.

    Yields:
        float32 `[n, 2048]`, n at most `INCEPTION_BATCH`, in the order of the images.
    """
    remaining = iter(images)
    batches = iter(lambda: list(itertools.islice(remaining, INCEPTION_BATCH)), [])
    for batch in prefetched(map(preprocess_images, batches)):
        yield extract(batch)


def extract_features(extract: Callable, images: Iterable[np.ndarray], count: int, label: str) -> np.ndarray:
    """Computes the features of images, with a progress bar on a terminal and log lines elsewhere.

    Args:
        extract: from `make_extractor`.
        images: as for `feature_batches`.
        count: number of images, for the time left.
        label: the bar's title.

    Returns:
        float32 `[images, 2048]`.
    """
    batches = [np.zeros([0, FEATURE_COUNT], np.float32)]
    with progress_bar(label, count) as show:
        for features in feature_batches(extract, images):
            batches.append(features)
            show(sum(map(len, batches)))
    return np.concatenate(batches)
