"""The Inception network of 2015 that FID is defined with, and the features of images that it gives.

Its layers go by the names of pytorch-fid's state dict. They differ from `keras.applications.InceptionV3` in the pool of
the last block, which takes maxima.
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
from monet.core.progress import progress_bar
from monet.machine.devices import over_replicas

SIDE = 299  # pixels a side of what the network sees
WIDTH = 2048  # features an image
BATCH = 32  # images that go through the network at once, over all devices
AHEAD = 2  # batches that are read and resized while another is in the network
NORM_EPSILON = 1e-3  # what the network's batch normalization adds to the variance


def folded(state: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Kernel `[height, width, in, out]` and bias of convolution `name` with its batch normalization, float32.

    Raises:
        UserError: if the state dict holds them not, or in other shapes.
    """
    norm = (f"{name}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
    parts = [f"{name}.conv.weight", *norm]
    missing = next((part for part in parts if part not in state), None)
    if missing:
        raise UserError(f"The weights hold no {missing}: they are not the FID Inception's. Give pytorch-fid's file.")
    kernel, gamma, beta, mean, variance = (np.asarray(state[part], np.float64) for part in parts)
    if kernel.ndim != 4 or any(array.shape != kernel.shape[:1] for array in (gamma, beta, mean, variance)):
        raise UserError(f"The weights of {name} have shapes that do not fit each other: they are not the FID "
                        "Inception's. Give pytorch-fid's file.")
    scale = gamma / np.sqrt(variance + NORM_EPSILON)
    return [(kernel.transpose(2, 3, 1, 0) * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)]


class Layers:
    """The layers that the network is made of, float32 whatever the policy for other networks, with weights."""

    def __init__(self, state: dict[str, np.ndarray]):
        """`state` holds arrays by pytorch-fid's names."""
        self.state, self.number = state, itertools.count()

    def conv(self, x, name: str, stride: int = 1, padding: str = "same", activation: str = "relu"):
        """Convolution, normalization and ReLU, or another activation."""
        kernel, bias = folded(self.state, name)
        if kernel.shape[2] != x.shape[-1]:
            raise UserError(f"The kernel of {name} takes {kernel.shape[2]} channels, not {x.shape[-1]}: these are not "
                            "the FID Inception's weights. Give pytorch-fid's file.")
        layer = keras.layers.Conv2D(kernel.shape[3], kernel.shape[:2], stride, padding, activation=activation,
                                    kernel_initializer="zeros", dtype="float32", name=name.replace(".", "_"))
        y = layer(x)
        layer.set_weights([kernel, bias])
        return y

    def chain(self, x, block: str, *names: str):
        """One convolution of the block after another."""
        for name in names:
            x = self.conv(x, f"{block}.{name}")
        return x

    def max_pool(self, x, stride: int = 2, padding: str = "valid"):
        """Maxima of 3x3 pixels."""
        return keras.layers.MaxPooling2D(3, stride, padding, dtype="float32")(x)

    def means(self, x, block: str):
        """Means of 3x3 pixels, at the edges of as many as there are, and a 1x1 convolution of them.

        Which of the two is first changes nothing: with the convolution, there are fewer channels to take means of.
        """
        x = self.conv(x, f"{block}.branch_pool", activation="linear")
        return keras.layers.ReLU(dtype="float32")(keras.layers.AveragePooling2D(3, 1, "same", dtype="float32")(x))

    def join(self, *branches):
        """The branches' channels, in order."""
        return keras.layers.Concatenate(dtype="float32")(list(branches))


def block_a(layers: Layers, x, block: str):
    """35x35 pixels: 1x1, 5x5, two 3x3, and pool."""
    return layers.join(
        layers.chain(x, block, "branch1x1"),
        layers.chain(x, block, "branch5x5_1", "branch5x5_2"),
        layers.chain(x, block, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        layers.means(x, block))


def block_b(layers: Layers, x, block: str):
    """35x35 pixels to 17x17."""
    twice = layers.chain(x, block, "branch3x3dbl_1", "branch3x3dbl_2")
    return layers.join(
        layers.conv(x, f"{block}.branch3x3", 2, "valid"),
        layers.conv(twice, f"{block}.branch3x3dbl_3", 2, "valid"),
        layers.max_pool(x))


def block_c(layers: Layers, x, block: str):
    """17x17 pixels: 1x1, 7x7 and two 7x7 as rows and columns, and pool."""
    return layers.join(
        layers.chain(x, block, "branch1x1"),
        layers.chain(x, block, *(f"branch7x7_{number}" for number in range(1, 4))),
        layers.chain(x, block, *(f"branch7x7dbl_{number}" for number in range(1, 6))),
        layers.means(x, block))


def block_d(layers: Layers, x, block: str):
    """17x17 pixels to 8x8."""
    once = layers.chain(x, block, "branch3x3_1")
    twice = layers.chain(x, block, *(f"branch7x7x3_{number}" for number in range(1, 4)))
    return layers.join(
        layers.conv(once, f"{block}.branch3x3_2", 2, "valid"),
        layers.conv(twice, f"{block}.branch7x7x3_4", 2, "valid"),
        layers.max_pool(x))


def block_e(layers: Layers, x, block: str, pooled):
    """8x8 pixels: 1x1, 3x3 and two 3x3, the last as a row beside a column, and the branch `pooled`, of which the
    network has two kinds."""
    once = layers.chain(x, block, "branch3x3_1")
    twice = layers.chain(x, block, "branch3x3dbl_1", "branch3x3dbl_2")
    return layers.join(
        layers.chain(x, block, "branch1x1"),
        layers.chain(once, block, "branch3x3_2a"), layers.chain(once, block, "branch3x3_2b"),
        layers.chain(twice, block, "branch3x3dbl_3a"), layers.chain(twice, block, "branch3x3dbl_3b"),
        pooled)


def build_inception(state: dict[str, np.ndarray]) -> keras.Model:
    """The network with the weights of a state dict, as `monet.torch_file.read_state_dict` gives it.

    Args:
        state: arrays by pytorch-fid's names; the classifier's, and what else there is, are not used.

    Returns:
        A float32 network from `[batch, 299, 299, 3]` of `prepared` to features `[batch, 2048]`.

    Raises:
        UserError: for weights that are not this network's.
    """
    layers, image = Layers(state), keras.Input([SIDE, SIDE, 3], dtype="float32")
    x = layers.conv(image, "Conv2d_1a_3x3", 2, "valid")
    x = layers.conv(x, "Conv2d_2a_3x3", 1, "valid")
    x = layers.max_pool(layers.conv(x, "Conv2d_2b_3x3"))
    x = layers.conv(x, "Conv2d_3b_1x1")
    x = layers.max_pool(layers.conv(x, "Conv2d_4a_3x3", 1, "valid"))
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = block_a(layers, x, block)
    x = block_b(layers, x, "Mixed_6a")
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = block_c(layers, x, block)
    x = block_d(layers, x, "Mixed_7a")
    x = block_e(layers, x, "Mixed_7b", layers.means(x, "Mixed_7b"))
    x = block_e(layers, x, "Mixed_7c", layers.chain(layers.max_pool(x, 1, "same"), "Mixed_7c", "branch_pool"))
    x = keras.layers.GlobalAveragePooling2D(dtype="float32")(x)
    if x.shape[-1] != WIDTH:
        raise UserError(f"These weights give {x.shape[-1]} features an image, not {WIDTH}: they are not the FID "
                        "Inception's. Give pytorch-fid's file.")
    return keras.Model(image, x, name="fid_inception")


def prepared(images: list[np.ndarray]) -> tf.Tensor:
    """What the network sees of images: TensorFlow 1's bilinear resizing, which `tf.image.resize` no longer does.

    Args:
        images: uint8 `[height, width, 3]` each, of any sizes.

    Returns:
        float32 `[images, 299, 299, 3]` in [-1, 1).
    """
    with tf.device("CPU"):
        resized = [tf.raw_ops.ResizeBilinear(images=image[None], size=[SIDE, SIDE], align_corners=False,
                                             half_pixel_centers=False) for image in images]
        return (tf.concat(resized, 0) - 128.0) / 128.0


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Keeps TPUs and NVIDIA's newer GPUs from computing float32 in fewer bits, which they do unasked."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def make_extractor(network: keras.Model, strategy: tf.distribute.Strategy | None = None) -> Callable:
    """A function from prepared images, float32 `[n, 299, 299, 3]`, n at most `BATCH`, to features, float32 `[n, 2048]`.

    Args:
        network: of `build_inception`, built in the strategy's scope.
        strategy: whose replicas, all on this machine, share the batch; None: one device computes.
    """
    run = over_replicas(lambda images: network(images, training=False), strategy)

    def extract(images: tf.Tensor) -> np.ndarray:
        count = len(images)
        if count < BATCH:  # one graph for all
            images = tf.concat([images, tf.repeat(images[-1:], BATCH - count, axis=0)], 0)
        with full_float32():
            return np.asarray(run(images))[:count]

    return extract


def in_background(items: Iterator) -> Iterator:
    """The items, of which the next `AHEAD` are made in another thread while one is used; errors are raised here."""
    with ThreadPoolExecutor(1) as thread:
        pending = deque(thread.submit(next, items, None) for _ in range(AHEAD))
        while (item := pending.popleft().result()) is not None:
            pending.append(thread.submit(next, items, None))
            yield item


def feature_batches(extract: Callable, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The features of images, batch by batch as they come.

    Args:
        extract: of `make_extractor`.
        images: uint8 `[height, width, 3]`, of any sizes. They are asked for, and resized, in another thread while the
            network computes, so that decoding them takes no time of its own.

    Yields:
        float32 `[n, 2048]`, n at most `BATCH`, in the images' order.
    """
    remaining = iter(images)
    batches = iter(lambda: list(itertools.islice(remaining, BATCH)), [])
    for batch in in_background(map(prepared, batches)):
        yield extract(batch)


def extract_features(extract: Callable, images: Iterable[np.ndarray], count: int, label: str) -> np.ndarray:
    """The features of `count` images, with a progress bar on a terminal and lines in the log elsewhere.

    Args:
        extract: of `make_extractor`.
        images: as in `feature_batches`.
        count: how many there are; for the time that is left.
        label: what the bar says.

    Returns:
        float32 `[images, 2048]`.
    """
    found = [np.zeros([0, WIDTH], np.float32)]
    with progress_bar(label, count) as show:
        for features in feature_batches(extract, images):
            found.append(features)
            show(sum(map(len, found)))
    return np.concatenate(found)
