"""A discriminator as a player: its network, its inputs and its losses."""

import dataclasses

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config, look_up
from monet.core.random_numbers import named_seeds
from monet.gan.diffaugment import make_augmentation
from monet.gan.image_pool import ImagePool
from monet.gan.loss_scale import LossScale
from monet.gan.losses import ADVERSARIAL_LOSSES, AdversarialLoss
from monet.networks.build import build_discriminator
from monet.networks.discriminators import FEATURES
from monet.networks.space_to_depth import on_pixels
from monet.networks.tiled_layers import tiled_ends

TWO_OBJECTIVES = ("hinge", "bce")  # losses of the heads of `two_objective`, as in the public kernel it comes from


def adversarial_losses(config: Config, two_heads: bool) -> list[AdversarialLoss]:
    """The adversarial loss of each of the discriminator's heads; `discriminator_loss` replaces the discriminator's
    side of it.

    Raises:
        UserError: for an unknown loss.
    """
    losses = [look_up(ADVERSARIAL_LOSSES, name, "adversarial_loss")
              for name in (TWO_OBJECTIVES if two_heads else (config.adversarial_loss,))]
    if not config.discriminator_loss:
        return losses
    own = look_up(ADVERSARIAL_LOSSES, config.discriminator_loss, "discriminator_loss")
    return [AdversarialLoss(loss.generator, own.discriminator) for loss in losses]


class Discriminator:
    """One discriminator. Only `monet_discriminator` uses DiffAugment and the two objectives.

    Attributes:
        network: the Keras model.
        pool: past fakes, or None.
        state: its variables besides the weights, by name.
    """

    def __init__(self, config: Config, name: str):
        """Builds the network `name`.

        Raises:
            UserError: for an unknown network, loss or augmentation.
        """
        self.config = config
        of_monet = name == "monet_discriminator"
        two_heads = of_monet and config.discriminator == "two_objective"
        plain = "patch" if config.discriminator == "two_objective" else config.discriminator
        self.network = build_discriminator(config, name, config.discriminator if two_heads else plain)
        self.losses = adversarial_losses(config, two_heads)
        augmentations = config.diffaugment if of_monet else ""
        self.augment = make_augmentation(dataclasses.replace(config, diffaugment=augmentations))
        if augmentations:
            self.augment = on_pixels(self.augment, config)
        self.pool = ImagePool(config) if config.image_pool else None
        self.exchange = on_pixels(self.pool.exchange, config) if self.pool else lambda fakes, seed: fakes
        self.state = {"pool/images": self.pool.images, "pool/count": self.pool.count} if self.pool else {}
        inputs, outputs = tiled_ends(self.network)
        self.judge = keras.Model(inputs, outputs)
        self.features_model = keras.Model(inputs, self.network.get_layer(FEATURES).output)

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """The network's features of `images` before its last convolution, float32."""
        return tf.cast(self.features_model(images, training=True), tf.float32)

    def generator_loss(self, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The generator's adversarial loss on `fake` images, the mean over heads: a float32 scalar."""
        heads = tf.nest.flatten(self.judge(self.augment(fake, seed), training=True))
        return tf.add_n([loss.generator(logits) for loss, logits in zip(self.losses, heads, strict=True)]) / len(heads)

    def loss_and_gradients(self, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor, share: float):
        """The discriminator's loss on two batches of images, the mean over heads, and `share` times its gradients."""
        seeds = named_seeds(seed, ("pool", "real", "fake"))
        fake = self.exchange(tf.stop_gradient(fake), seeds["pool"])
        shown = [self.augment(real, seeds["real"]), self.augment(fake, seeds["fake"])]
        with tf.GradientTape() as tape:
            real_heads, fake_heads = (tf.nest.flatten(self.judge(images, training=True)) for images in shown)
            losses = [loss.discriminator(real_logits, fake_logits) for loss, real_logits, fake_logits
                      in zip(self.losses, real_heads, fake_heads, strict=True)]
            loss = self.config.discriminator_weight * tf.add_n(losses) / len(losses)
            scaled = share * loss
        return loss, tape.gradient(scaled, self.network.trainable_variables)


def collect_states(discriminators: dict[str, Discriminator], loss_scale: LossScale | None) -> dict:
    """The players' state besides their weights: for each player, a dict of variables by name.

    Args:
        discriminators: by network name.
        loss_scale: from `make_loss_scale`.
    """
    states = {name: discriminator.state for name, discriminator in discriminators.items()}
    return states | ({"loss_scale": loss_scale.state} if loss_scale else {})
