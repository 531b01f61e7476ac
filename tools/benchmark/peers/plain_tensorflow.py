"""The tutorial's networks and training step as anyone would first write them: what `make bench` compares ours with.

Plain Keras layers, one persistent tape, four gradients, four optimizers. The layers come in the order of ours, so that
weights can be copied from one to the other.
"""

import tensorflow as tf
from tensorflow import keras

from monet.core.keras_compat import instance_norm

DOWN = (64, 128, 256, 512, 512, 512, 512, 512)
UP = (512, 512, 512, 512, 256, 128, 64)
DROPOUT_BLOCKS = 3


def normal(stddev: float = 0.02):
    """The tutorial's initial values: N(0, 0.02) for kernels and for normalization's scale."""
    return keras.initializers.RandomNormal(0.0, stddev)


def normalized(x):
    """Instance normalization with the tutorial's epsilon."""
    return instance_norm(epsilon=1e-3, gamma_initializer=normal())(x)


def halved(x, filters: int, normalize: bool = True):
    """The tutorial's downsample block."""
    x = keras.layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False, kernel_initializer=normal())(x)
    return keras.layers.LeakyReLU(0.3)(normalized(x) if normalize else x)


def generator(dropout: float, narrow: int = 1, levels: int = len(DOWN)) -> keras.Model:
    """The U-Net, `[batch, height, width, 3]` to the same; for tests, `narrow` divides its filters."""
    image = keras.Input((None, None, 3))
    x, skips = image, []
    for level, filters in enumerate(DOWN[:levels]):
        x = halved(x, filters // narrow, normalize=level > 0)
        skips.append(x)
    for block, (filters, skip) in enumerate(zip(UP[-levels + 1:], reversed(skips[:-1]), strict=True)):
        x = normalized(keras.layers.Conv2DTranspose(filters // narrow, 4, strides=2, padding="same", use_bias=False,
                                                    kernel_initializer=normal())(x))
        if block < DROPOUT_BLOCKS:
            x = keras.layers.Dropout(dropout)(x)
        x = keras.layers.Concatenate()([keras.layers.ReLU()(x), skip])
    x = keras.layers.Conv2DTranspose(3, 4, strides=2, padding="same", kernel_initializer=normal(),
                                     activation="tanh")(x)
    return keras.Model(image, x)


def discriminator(narrow: int = 1) -> keras.Model:
    """The 70x70 PatchGAN, `[batch, height, width, 3]` to logits."""
    image = keras.Input((None, None, 3))
    x = image
    for level, filters in enumerate((64, 128, 256)):
        x = halved(x, filters // narrow, normalize=level > 0)
    x = keras.layers.ZeroPadding2D()(x)
    x = keras.layers.Conv2D(512 // narrow, 4, use_bias=False, kernel_initializer=normal())(x)
    x = keras.layers.ZeroPadding2D()(keras.layers.LeakyReLU(0.3)(normalized(x)))
    return keras.Model(image, keras.layers.Conv2D(1, 4, kernel_initializer=normal())(x))


def cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    """Mean binary cross-entropy of logits against one target."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tf.fill(tf.shape(logits), target), logits))


def distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference."""
    return tf.reduce_mean(tf.abs(a - b))


class Peer:
    """The four networks, by our names and in our order, their optimizers, and `step(photo, monet)` to the losses."""

    def __init__(self, dropout: float = 0.5, narrow: int = 1, levels: int = len(DOWN)):
        self.networks = {"photo_to_monet": generator(dropout, narrow, levels),
                         "monet_to_photo": generator(dropout, narrow, levels),
                         "monet_discriminator": discriminator(narrow), "photo_discriminator": discriminator(narrow)}
        self.optimizers = {name: keras.optimizers.Adam(2e-4, beta_1=0.5) for name in self.networks}
        for name, optimizer in self.optimizers.items():
            optimizer.build(self.networks[name].trainable_variables)
        self.step = tf.function(self.train_step)

    def train_step(self, photo: tf.Tensor, monet: tf.Tensor) -> dict:
        """One step on a batch of each side; returns the losses by our names."""
        to_monet, to_photo, monet_critic, photo_critic = self.networks.values()
        with tf.GradientTape(persistent=True) as tape:
            fake_monet, fake_photo = to_monet(photo, training=True), to_photo(monet, training=True)
            cycled_photo, cycled_monet = to_photo(fake_monet, training=True), to_monet(fake_photo, training=True)
            same_monet, same_photo = to_monet(monet, training=True), to_photo(photo, training=True)
            real_monet, real_photo = monet_critic(monet, training=True), photo_critic(photo, training=True)
            judged_monet = monet_critic(fake_monet, training=True)
            judged_photo = photo_critic(fake_photo, training=True)
            cycle = 10.0 * (distance(photo, cycled_photo) + distance(monet, cycled_monet))
            same = {"photo_to_monet": 5.0 * distance(monet, same_monet),
                    "monet_to_photo": 5.0 * distance(photo, same_photo)}
            fooled = {"photo_to_monet": cross_entropy(judged_monet, 1.0),
                      "monet_to_photo": cross_entropy(judged_photo, 1.0)}
            caught = {"monet_discriminator": 0.5 * (cross_entropy(real_monet, 1.0) + cross_entropy(judged_monet, 0.0)),
                      "photo_discriminator": 0.5 * (cross_entropy(real_photo, 1.0) + cross_entropy(judged_photo, 0.0))}
            totals = {name: fooled[name] + cycle + same[name] for name in fooled} | caught
        gradients = {name: tape.gradient(total, self.networks[name].trainable_variables)
                     for name, total in totals.items()}
        for name, optimizer in self.optimizers.items():
            optimizer.apply_gradients(zip(gradients[name], self.networks[name].trainable_variables, strict=True))
        return {"cycle": cycle, "identity": tf.add_n(list(same.values())), **fooled, **caught}
