"""CycleGAN (Zhu et al. 2017): two generators, two discriminators, their optimizers, and one training step."""

import tensorflow as tf
from tensorflow import keras

from monet.config import Config, pick
from monet.losses import ADVERSARIAL_LOSSES, mean_absolute
from monet.networks import build_discriminator, build_generator


class CycleGan:
    """The four players and how one batch teaches them. Build it inside the scope of the strategy that trains it.

    Every system offers these attributes to the trainer:

    Attributes:
        networks: models by name; `photo_to_monet` is the one that paints.
        optimizers: one for each network, by the same name, with all its variables built.
    """

    def __init__(self, config: Config):
        """Builds the players.

        Raises:
            UserError: for names or sizes that no network has.
        """
        self.config = config
        self.adversarial = pick(ADVERSARIAL_LOSSES, config.adversarial_loss, "adversarial_loss")
        self.networks = {
            "photo_to_monet": build_generator(config, "photo_to_monet"),
            "monet_to_photo": build_generator(config, "monet_to_photo"),
            "monet_discriminator": build_discriminator(config, "monet_discriminator"),
            "photo_discriminator": build_discriminator(config, "photo_discriminator"),
        }
        self.optimizers = {}
        for name, network in self.networks.items():
            self.optimizers[name] = keras.optimizers.Adam(config.learning_rate, beta_1=config.beta_1)
            self.optimizers[name].build(network.trainable_variables)

    def losses_and_gradients(self, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor, share: float = 1.0):
        """Losses of all players on one batch, and their gradients.

        One tape serves both generators: neither's own losses depend on the other's weights except through the cycle,
        which is in both sums, so the gradient of the total is each one's own. Pictures that meet the same weights go
        through them in one call, which halves the graph; instance normalization keeps them apart. A test compares
        all this with the straightforward form.

        Args:
            photo: float32 `[batch, height, width, 3]` in [-1, 1].
            monet: the same for paintings.
            seed: int32 `[2]`, for dropout.
            share: what the gradients are scaled by: this batch's share of the global one.

        Returns:
            `(losses, gradients)`: float32 scalars by name, unscaled, and lists of tensors by network name, in the
            order of its trainable variables.
        """
        to_monet, to_photo = self.networks["photo_to_monet"], self.networks["monet_to_photo"]
        seeds = iter([tf.random.experimental.stateless_fold_in(seed, call) for call in range(4)])

        def paint(generator, *batches):
            return tf.split(generator([tf.concat(batches, 0), next(seeds)], training=True), len(batches))

        with tf.GradientTape() as tape:
            fake_monet, same_monet = paint(to_monet, photo, monet)
            fake_photo, same_photo = paint(to_photo, monet, photo)
            [cycled_photo], [cycled_monet] = paint(to_photo, fake_monet), paint(to_monet, fake_photo)
            losses = {
                "cycle": self.config.cycle_weight * (mean_absolute(photo, cycled_photo)
                                                     + mean_absolute(monet, cycled_monet)),
                "identity": self.config.identity_weight * (mean_absolute(photo, same_photo)
                                                           + mean_absolute(monet, same_monet)),
                "photo_to_monet": self.fooling_loss("monet_discriminator", fake_monet),
                "monet_to_photo": self.fooling_loss("photo_discriminator", fake_photo),
            }
            total = share * tf.add_n(list(losses.values()))
        generators = tape.gradient(total, [to_monet.trainable_variables, to_photo.trainable_variables])
        gradients = dict(zip(("photo_to_monet", "monet_to_photo"), generators, strict=True))
        for side, real, fake in (("monet", monet, fake_monet), ("photo", photo, fake_photo)):
            name = f"{side}_discriminator"
            losses[name], gradients[name] = self.discriminator_gradients(name, real, tf.stop_gradient(fake), share)
        return losses, gradients

    def fooling_loss(self, name: str, fake: tf.Tensor) -> tf.Tensor:
        """The generator's adversarial loss on `fake` images, judged by discriminator `name`."""
        return self.adversarial.generator(self.networks[name](fake, training=True))

    def discriminator_gradients(self, name: str, real: tf.Tensor, fake: tf.Tensor, share: float):
        """Loss of discriminator `name` on two batches of images, and `share` times its gradients."""
        network = self.networks[name]
        with tf.GradientTape() as tape:
            logits = network(tf.concat([real, fake], 0), training=True)
            loss = self.adversarial.discriminator(*tf.split(logits, 2))
            scaled = share * loss
        return loss, tape.gradient(scaled, network.trainable_variables)

    def train_step(self, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor) -> dict:
        """One step of all players on this replica's part of the global batch; the optimizers sum over replicas.

        Returns:
            The losses by name, each this replica's share of the global mean: their sum over replicas is the mean.
        """
        share = 1.0 / tf.distribute.get_replica_context().num_replicas_in_sync
        losses, gradients = self.losses_and_gradients(photo, monet, seed, share)
        for name, optimizer in self.optimizers.items():
            optimizer.apply_gradients(zip(gradients[name], self.networks[name].trainable_variables, strict=True))
        return {name: share * loss for name, loss in losses.items()}
