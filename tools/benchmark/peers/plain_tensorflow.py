"""The tutorial's CycleGAN in its straightforward form: the reference for our training step, and its peer in the bench.

Plain Keras layers, one persistent tape, four gradients, four optimizers. The layers are in the order of ours, so that
weights can be copied from one to the other.
"""

import tensorflow as tf
from tensorflow import keras

from monet.core.keras_compat import instance_norm

DOWN_FILTERS = (64, 128, 256, 512, 512, 512, 512, 512)
UP_FILTERS = (512, 512, 512, 512, 256, 128, 64)
DROPOUT_BLOCKS = 3


def normal(stddev: float = 0.02):
    """Returns the tutorial's initializer of kernels and normalization scales, N(0, 0.02)."""
    return keras.initializers.RandomNormal(0.0, stddev)


def normalize(x):
    """Applies instance normalization with the tutorial's epsilon."""
    return instance_norm(epsilon=1e-3, gamma_initializer=normal())(x)


def downsample(x, filters: int, normalized: bool = True):
    """Applies the tutorial's downsample block, which halves height and width."""
    x = keras.layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False, kernel_initializer=normal())(x)
    return keras.layers.LeakyReLU(0.3)(normalize(x) if normalized else x)


def upsample(x, filters: int, dropout: float):
    """Applies the tutorial's upsample block, which doubles height and width."""
    x = normalize(keras.layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False,
                                               kernel_initializer=normal())(x))
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return keras.layers.ReLU()(x)


def make_generator(dropout: float, narrow: int = 1, levels: int = len(DOWN_FILTERS)) -> keras.Model:
    """Returns the U-Net, `[batch, height, width, 3]` to the same shape; tests divide its filters by `narrow`."""
    image = keras.Input((None, None, 3))
    x, skips = image, []
    for level, filters in enumerate(DOWN_FILTERS[:levels]):
        x = downsample(x, filters // narrow, normalized=level > 0)
        skips.append(x)
    for block, (filters, skip) in enumerate(zip(UP_FILTERS[-levels + 1:], reversed(skips[:-1]), strict=True)):
        x = upsample(x, filters // narrow, dropout if block < DROPOUT_BLOCKS else 0.0)
        x = keras.layers.Concatenate()([x, skip])
    x = keras.layers.Conv2DTranspose(3, 4, strides=2, padding="same", kernel_initializer=normal(),
                                     activation="tanh")(x)
    return keras.Model(image, x)


def make_discriminator(narrow: int = 1) -> keras.Model:
    """Returns the 70x70 PatchGAN, `[batch, height, width, 3]` to logits."""
    image = keras.Input((None, None, 3))
    x = image
    for level, filters in enumerate((64, 128, 256)):
        x = downsample(x, filters // narrow, normalized=level > 0)
    x = keras.layers.ZeroPadding2D()(x)
    x = keras.layers.Conv2D(512 // narrow, 4, use_bias=False, kernel_initializer=normal())(x)
    x = keras.layers.ZeroPadding2D()(keras.layers.LeakyReLU(0.3)(normalize(x)))
    return keras.Model(image, keras.layers.Conv2D(1, 4, kernel_initializer=normal())(x))


def cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    """Returns the mean binary cross-entropy between logits and a target."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), target), logits))


def l1(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the mean absolute difference."""
    return tf.reduce_mean(tf.abs(a - b))


class PlainCycleGan:
    """The four networks, under our names and in our order, their optimizers, and the training step.

    Attributes:
        step: `train_step` as a graph.
    """

    def __init__(self, dropout: float = 0.5, narrow: int = 1, levels: int = len(DOWN_FILTERS)):
        self.networks = {"photo_to_monet": make_generator(dropout, narrow, levels),
                         "monet_to_photo": make_generator(dropout, narrow, levels),
                         "monet_discriminator": make_discriminator(narrow),
                         "photo_discriminator": make_discriminator(narrow)}
        self.optimizers = {name: keras.optimizers.Adam(2e-4, beta_1=0.5) for name in self.networks}
        for name, optimizer in self.optimizers.items():
            optimizer.build(self.networks[name].trainable_variables)
        self.step = tf.function(self.train_step)

    def train_step(self, photo: tf.Tensor, monet: tf.Tensor) -> dict:
        """Makes one step on a batch of each side; returns the losses under our names."""
        photo_to_monet, monet_to_photo, monet_discriminator, photo_discriminator = self.networks.values()
        with tf.GradientTape(persistent=True) as tape:
            fake_monet, fake_photo = photo_to_monet(photo, training=True), monet_to_photo(monet, training=True)
            cycled_photo = monet_to_photo(fake_monet, training=True)
            cycled_monet = photo_to_monet(fake_photo, training=True)
            same_monet, same_photo = photo_to_monet(monet, training=True), monet_to_photo(photo, training=True)

            real_monet_logits = monet_discriminator(monet, training=True)
            real_photo_logits = photo_discriminator(photo, training=True)
            fake_monet_logits = monet_discriminator(fake_monet, training=True)
            fake_photo_logits = photo_discriminator(fake_photo, training=True)

            cycle = 10.0 * (l1(photo, cycled_photo) + l1(monet, cycled_monet))
            identity = {"photo_to_monet": 5.0 * l1(monet, same_monet), "monet_to_photo": 5.0 * l1(photo, same_photo)}
            adversarial = {"photo_to_monet": cross_entropy(fake_monet_logits, 1.0),
                           "monet_to_photo": cross_entropy(fake_photo_logits, 1.0)}
            discriminator = {"monet_discriminator": 0.5 * (cross_entropy(real_monet_logits, 1.0)
                                                           + cross_entropy(fake_monet_logits, 0.0)),
                             "photo_discriminator": 0.5 * (cross_entropy(real_photo_logits, 1.0)
                                                           + cross_entropy(fake_photo_logits, 0.0))}
            totals = {name: adversarial[name] + cycle + identity[name] for name in adversarial} | discriminator
        gradients = {name: tape.gradient(total, self.networks[name].trainable_variables)
                     for name, total in totals.items()}
        for name, optimizer in self.optimizers.items():
            optimizer.apply_gradients(zip(gradients[name], self.networks[name].trainable_variables, strict=True))
        return {"cycle": cycle, "identity": tf.add_n(list(identity.values())), **adversarial, **discriminator}
