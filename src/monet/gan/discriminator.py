"""What the players of every system share: optimizers and their rate, discriminators and what they are shown."""

import dataclasses

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config, look_up
from monet.gan.diffaugment import make_augmentation, split_seed
from monet.gan.image_pool import ImagePool
from monet.gan.loss_scale import LossScale
from monet.gan.losses import ADVERSARIAL_LOSSES, AdversarialLoss
from monet.networks.build import build_discriminator
from monet.networks.discriminators import FEATURES
from monet.networks.space_to_depth import fold, image_tile, inner_ends, unfold

# The losses of `two_objective`'s heads, as in the public kernel that it comes from.
HEADS = ("hinge", "bce")


def apply_apart(network, batches: list[tf.Tensor], config: Config) -> list:
    """`network(batch)` of each of `batches`, in one call where that is the same: it halves the graph.

    With batch normalization it is not: images of one call see each other.
    """
    if config.norm == "batch":
        return [network(batch) for batch in batches]
    outputs = network(tf.concat(batches, 0) if len(batches) > 1 else batches[0])
    parts = [tf.split(output, len(batches)) for output in tf.nest.flatten(outputs)]
    return [tf.nest.pack_sequence_as(outputs, part) for part in zip(*parts, strict=True)]


class Discriminator:
    """One discriminator as a player: its network, what it is shown, and its losses.

    Attributes:
        network: the Keras model.
        judge: the same, of pictures in tiles if it folds them; all losses are of such pictures.
        features: what `judge` makes of them before the last convolution.
        state: what it remembers between steps beside its weights, variables by name.
    """

    def __init__(self, config: Config, name: str):
        """Builds the network `name`; `monet_discriminator` is the one that DiffAugment and two objectives are for.

        Raises:
            UserError: for a network, a loss or an augmentation that there is not.
        """
        self.config = config
        of_monet = name == "monet_discriminator"
        two = config.discriminator == "two_objective"
        self.network = build_discriminator(config, name, "patch" if two and not of_monet else config.discriminator)
        names = HEADS if two and of_monet else (config.adversarial_loss,)
        self.losses = [mixed_loss(head, config.discriminator_loss) for head in names]
        augmentations = config.diffaugment if of_monet else ""
        self.augmented = make_augmentation(dataclasses.replace(config, diffaugment=augmentations))
        self.augments = bool(augmentations)
        self.pool = ImagePool(config) if config.image_pool else None
        self.tile = image_tile(config)
        inputs, outputs = inner_ends(self.network)
        self.judge = keras.Model(inputs, outputs)
        self.features = keras.Model(inputs, self.network.get_layer(FEATURES).output)
        self.state = {"pool/images": self.pool.images, "pool/count": self.pool.count} if self.pool else {}

    def shown(self, pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """What is judged of `pictures`."""
        return fold(self.augmented(unfold(pictures, self.tile), seed), self.tile) if self.augments else pictures

    def fooling_loss(self, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The generator's adversarial loss on `fake` images, the mean over heads: a float32 scalar."""
        heads = tf.nest.flatten(self.judge(self.shown(fake, seed), training=True))
        return tf.add_n([loss.generator(logits) for loss, logits in zip(self.losses, heads, strict=True)]) / len(heads)

    def loss_and_gradients(self, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor, share: float):
        """The discriminator's loss on two batches of images, the mean over heads, and `share` times its gradients."""
        fake = tf.stop_gradient(fake)
        of_pool, *own_seeds = split_seed(seed, 3)
        if self.pool:
            fake = fold(self.pool.swapped(unfold(fake, self.tile), of_pool), self.tile)
        batches = list(map(self.shown, (real, fake), own_seeds))
        with tf.GradientTape() as tape:
            judged = apply_apart(lambda images: self.judge(images, training=True), batches, self.config)
            real_heads, fake_heads = (tf.nest.flatten(heads) for heads in judged)
            losses = [loss.discriminator(*pair)
                      for loss, *pair in zip(self.losses, real_heads, fake_heads, strict=True)]
            loss = self.config.discriminator_weight * tf.add_n(losses) / len(losses)
            scaled = share * loss
        return loss, tape.gradient(scaled, self.network.trainable_variables)


def mixed_loss(name: str, discriminators: str) -> AdversarialLoss:
    """The loss `name`, but with the discriminators' side of the loss `discriminators`, if that is not empty."""
    loss = look_up(ADVERSARIAL_LOSSES, name, "adversarial_loss")
    if not discriminators:
        return loss
    own = look_up(ADVERSARIAL_LOSSES, discriminators, "discriminator_loss")
    return AdversarialLoss(loss.generator, own.discriminator)


def states_of(discriminators: dict, loss_scale: LossScale | None) -> dict:
    """What players remember beside their weights, dicts of variables by name.

    Args:
        discriminators: each `Discriminator` by its network's name.
        loss_scale: of `make_loss_scale`.
    """
    states = {name: discriminator.state for name, discriminator in discriminators.items()}
    return states | ({"loss_scale": loss_scale.state} if loss_scale else {})
