"""A discriminator as a player: its network, its inputs and its losses."""

import dataclasses

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config, look_up
from monet.core.random_numbers import named_seeds
from monet.gan.diffaugment import make_augmentation
from monet.gan.image_pool import make_pool
from monet.gan.losses import ADVERSARIAL_LOSSES, AdversarialLoss
from monet.networks.build import build_discriminator
from monet.networks.discriminators import FEATURES
from monet.networks.space_to_depth import on_pixels
from monet.networks.tiled_layers import tiled_ends

TWO_OBJECTIVES = ("hinge", "bce")  # losses of the heads of `two_objective`, as in the public kernel it comes from


def network_kind(config: Config, name: str) -> str:
    """The discriminator network `name` as a key of DISCRIMINATORS: only the paintings' judge has two objectives."""
    two_objective = config.discriminator == "two_objective"
    return "patch" if two_objective and name != "monet_discriminator" else config.discriminator


def head_losses(kind: str, config: Config) -> tuple[str, ...]:
    """The adversarial loss of each head of a network, a key of DISCRIMINATORS, as keys of ADVERSARIAL_LOSSES."""
    return TWO_OBJECTIVES if kind == "two_objective" else (config.adversarial_loss,)


def adversarial_losses(kind: str, config: Config) -> list[AdversarialLoss]:
    """The adversarial loss of each of the discriminator's heads; `discriminator_loss` replaces the discriminator's
    side of it.

    Raises:
        UserError: for an unknown loss.
    """
    losses = [look_up(ADVERSARIAL_LOSSES, name, "adversarial_loss") for name in head_losses(kind, config)]
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
        kind = network_kind(config, name)
        self.network = build_discriminator(config, name, kind)
        self.losses = adversarial_losses(kind, config)
        augmentations = config.diffaugment if name == "monet_discriminator" else ""
        self.augment = make_augmentation(dataclasses.replace(config, diffaugment=augmentations))
        if augmentations:
            self.augment = on_pixels(self.augment, config)
        self.pool = make_pool(config)
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


def collect_states(discriminators: dict[str, Discriminator], loss_scale) -> dict:
    """The players' state besides their weights: for each player, a dict of variables by name.

    Args:
        discriminators: by network name.
        loss_scale: from `make_loss_scale`.
    """
    states = {name: discriminator.state for name, discriminator in discriminators.items()}
    return states | ({"loss_scale": loss_scale.state} if loss_scale else {})
