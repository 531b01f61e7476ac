"""A discriminator as a player: its network, its inputs and its losses."""

import dataclasses
import functools

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config, look_up
from monet.core.random_numbers import named_seeds
from monet.gan.adaptive import make_controller
from monet.gan.diffaugment import make_augmentation
from monet.gan.gradient_penalty import make_penalty
from monet.gan.image_pool import make_pool
from monet.gan.instance_noise import make_noise
from monet.gan.losses import ADVERSARIAL_LOSSES, BOUNDARIES, AdversarialLoss
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


def head_boundaries(kind: str, config: Config) -> list[float]:
    """The output between fakes and reals of each of the discriminator's heads."""
    return [BOUNDARIES[config.discriminator_loss or name] for name in head_losses(kind, config)]


def adversarial_losses(kind: str, config: Config) -> list[AdversarialLoss]:
    """The adversarial loss of each of the discriminator's heads; `discriminator_loss` replaces the discriminator's
    side of it, and `label_smoothing` lowers its label for reals alone (Salimans et al. 2016).

    Raises:
        UserError: for an unknown loss.
    """
    losses = [look_up(ADVERSARIAL_LOSSES, name, "adversarial_loss") for name in head_losses(kind, config)]
    if config.discriminator_loss:
        own = look_up(ADVERSARIAL_LOSSES, config.discriminator_loss, "discriminator_loss")
        losses = [AdversarialLoss(loss.generator, own.discriminator) for loss in losses]
    if config.label_smoothing:
        losses = [loss._replace(discriminator=functools.partial(
            loss.discriminator, label=1.0 - config.label_smoothing)) for loss in losses]
    return losses


class Discriminator:
    """One discriminator. Only `monet_discriminator` uses DiffAugment and the two objectives.

    Attributes:
        network: the Keras model.
        judge: the network on pictures as the step has them, which may be in tiles.
        pool: past fakes, or None.
        controller: of adaptive augmentation, or None.
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
        self.losses, self.boundaries = adversarial_losses(kind, config), head_boundaries(kind, config)
        self.penalty = make_penalty(config)
        own = config if name == "monet_discriminator" else dataclasses.replace(config, diffaugment="")
        self.augment, self.controller = make_augmentation(own), make_controller(own)
        self.augments = own.diffaugment != ""
        self.add_noise = make_noise(config)
        self.pool = make_pool(config)
        self.exchange = on_pixels(self.pool.exchange, config) if self.pool else lambda fakes, seed: fakes
        self.state = {"pool/images": self.pool.images, "pool/count": self.pool.count} if self.pool else {}
        self.state |= self.controller.state if self.controller else {}
        inputs, outputs = tiled_ends(self.network)
        self.judge = keras.Model(inputs, outputs)
        self.features_model = keras.Model(inputs, self.network.get_layer(FEATURES).output)

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """The network's features of `images` before its last convolution, float32."""
        return tf.cast(self.features_model(images, training=True), tf.float32)

    def show(self, images: tf.Tensor, seed: tf.Tensor, progress: float) -> tf.Tensor:
        """What the network is shown of `images`: augmented, and with noise."""
        if self.augments:
            probability = self.controller.probability if self.controller else None
            images = on_pixels(lambda pictures, own_seed: self.augment(pictures, own_seed, probability),
                               self.config)(images, seed)
        return self.add_noise(images, seed, progress)

    def generator_loss(self, fake: tf.Tensor, seed: tf.Tensor, progress: float = 0.0) -> tf.Tensor:
        """The generator's adversarial loss on `fake` images, the mean over heads: a float32 scalar."""
        heads = tf.nest.flatten(self.judge(self.show(fake, seed, progress), training=True))
        return tf.add_n([loss.generator(logits) for loss, logits in zip(self.losses, heads, strict=True)]) / len(heads)

    def loss_and_gradients(self, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor, share: float,
                           progress: float = 0.0, step: tf.Tensor | int = 0):
        """The discriminator's loss on two batches of images, the mean over heads, and `share` times its gradients.

        Args:
            real: real images.
            fake: fakes.
            seed: int32 `[2]`, for all random numbers.
            share: factor on the gradients.
            progress: fraction of the run completed, 0 to 1.
            step: steps that the discriminator has been trained, by which the gradient penalty is due. The penalty
                changes the gradients and does not show in the loss.
        """
        seeds = named_seeds(seed, ("pool", "real", "fake"))
        fake = self.exchange(tf.stop_gradient(fake), seeds["pool"])
        shown = [self.show(real, seeds["real"], progress), self.show(fake, seeds["fake"], progress)]
        weights = self.network.trainable_variables
        with tf.GradientTape() as tape:
            real_heads, fake_heads = (tf.nest.flatten(self.judge(images, training=True)) for images in shown)
            losses = [loss.discriminator(real_logits, fake_logits) for loss, real_logits, fake_logits
                      in zip(self.losses, real_heads, fake_heads, strict=True)]
            loss = self.config.discriminator_weight * tf.add_n(losses) / len(losses)
            scaled = share * loss
        gradients = tape.gradient(scaled, weights)
        if self.penalty:
            slopes = self.penalty.gradients(self.judge, shown[0], weights, step, share)
            gradients = [gradient + slope for gradient, slope in zip(gradients, slopes, strict=True)]
        if self.controller:
            self.controller.follow(real_heads, self.boundaries)
        return loss, gradients


def collect_states(discriminators: dict[str, Discriminator], loss_scale) -> dict:
    """The players' state besides their weights: for each player, a dict of variables by name.

    Args:
        discriminators: by network name.
        loss_scale: from `make_loss_scale`.
    """
    states = {name: discriminator.state for name, discriminator in discriminators.items()}
    return states | ({"loss_scale": loss_scale.state} if loss_scale else {})
