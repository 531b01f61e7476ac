"""CycleGAN (Zhu et al. 2017): two generators, two discriminators, their optimizers, and one training step."""

import tensorflow as tf

from monet.core.config import Config, look_up
from monet.gan.diffaugment import split_seed
from monet.gan.discriminator import Discriminator, apply_apart, states_of
from monet.gan.loss_scale import make_loss_scale
from monet.gan.losses import DISTANCES
from monet.gan.optimizers import make_optimizer
from monet.gan.shared_gradients import Calls, tapped
from monet.networks.build import build_generator
from monet.networks.space_to_depth import MOST_TOGETHER, fold, image_tile


class CycleGan:
    """The four players and how one batch teaches them. Build it inside the scope of the strategy that trains it.

    Every system offers these attributes to the trainer:

    Attributes:
        networks: models by name; `photo_to_monet` is the one that paints.
        optimizers: one for each network, by the same name, with all its variables built.
        states: what players remember beside their weights, dicts of variables by name: see `states_of`.
        loss_scale: of float16, or None.
        loss_names: of the losses that a step returns.
    """

    def __init__(self, config: Config):
        """Builds the players.

        Raises:
            UserError: for names or sizes that no network has.
        """
        self.config, self.tile = config, image_tile(config)
        self.distance = look_up(DISTANCES, config.cycle_loss, "cycle_loss")
        generators = {name: build_generator(config, name) for name in ("photo_to_monet", "monet_to_photo")}
        self.discriminators = {side: Discriminator(config, f"{side}_discriminator") for side in ("monet", "photo")}
        self.networks = generators | {f"{side}_discriminator": discriminator.network
                                      for side, discriminator in self.discriminators.items()}
        self.tapped = {name: tapped(generator) for name, generator in generators.items()}
        self.optimizers = {name: make_optimizer(config, network, average=name in generators)
                           for name, network in self.networks.items()}
        self.loss_scale = make_loss_scale()
        self.states = states_of({f"{side}_discriminator": discriminator
                                 for side, discriminator in self.discriminators.items()}, self.loss_scale)
        self.loss_names = ("cycle", "identity", *self.networks)

    def losses_and_gradients(self, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor, progress: float = 0.0,
                             share: float = 1.0):
        """Losses of all players on one batch, and their gradients.

        One tape serves both generators: neither's own losses depend on the other's weights except through the cycle,
        which is in both sums, so the gradient of the total is each one's own. Pictures that meet the same weights go
        through them in one call where normalization keeps them apart and a TPU's chip holds them, and the generators'
        large kernels get their gradients of all calls at once. A test compares all this with the straightforward form.

        Args:
            photo: float32 `[batch, height, width, 3]` in [-1, 1].
            monet: the same for paintings.
            seed: int32 `[2]`, of all that is random.
            progress: the part of the run that is over, 0 to 1.
            share: what the gradients are scaled by: this batch's share of the global one.

        Returns:
            `(losses, gradients)`: float32 scalars by name, unscaled, and lists of tensors by network name, in the
            order of its trainable variables.
        """
        photo, monet = (fold(pictures, self.tile) for pictures in (photo, monet))
        calls = {name: Calls(self.networks[name], network) for name, network in self.tapped.items()}
        to_monet, to_photo = calls["photo_to_monet"], calls["monet_to_photo"]
        seeds = split_seed(seed, 10)
        painting, judging = iter(seeds[:6]), iter(seeds[6:])  # no judge's draw may depend on how many calls paint

        def paint(generator, *batches):
            def call(images):
                return generator([images, next(painting)])

            if self.tile > 1 and len(batches) * photo.shape[0] > MOST_TOGETHER:
                return [call(images) for images in batches]
            return apply_apart(call, batches, self.config)

        with tf.GradientTape() as tape:
            fake_monet, same_monet = paint(to_monet, photo, monet)
            fake_photo, same_photo = paint(to_photo, monet, photo)
            [cycled_photo], [cycled_monet] = paint(to_photo, fake_monet), paint(to_monet, fake_photo)
            losses = {
                "cycle": self.config.cycle_weight * (self.cycle_distance("photo", photo, cycled_photo, progress)
                                                     + self.cycle_distance("monet", monet, cycled_monet, progress)),
                "identity": self.config.identity_weight * (self.distance(photo, same_photo)
                                                           + self.distance(monet, same_monet)),
                "photo_to_monet": self.discriminators["monet"].fooling_loss(fake_monet, next(judging)),
                "monet_to_photo": self.discriminators["photo"].fooling_loss(fake_photo, next(judging)),
            }
            # What falls over the run falls here only: a history of falling weights would say nothing of the errors.
            weights = {name: 1.0 - self.config.cycle_fall * progress for name in ("cycle", "identity")}
            total = share * tf.add_n([weights.get(name, 1.0) * loss for name, loss in losses.items()])
        found = tape.gradient(total, {name: generator.sources() for name, generator in calls.items()})
        gradients = {name: generator.gradients(found[name]) for name, generator in calls.items()}
        for side, real, fake in (("monet", monet, fake_monet), ("photo", photo, fake_photo)):
            found = self.discriminators[side].loss_and_gradients(real, fake, next(judging), share)
            losses[f"{side}_discriminator"], gradients[f"{side}_discriminator"] = found
        return losses, gradients

    def cycle_distance(self, side: str, images: tf.Tensor, cycled: tf.Tensor, progress: float) -> tf.Tensor:
        """How far images are from what came back of them, the later the more in the eyes of their discriminator.

        By features as in Wang & Lin, "CycleGAN with Better Cycles" (2018).
        """
        pixels = self.distance(images, cycled)
        if not self.config.feature_cycle:
            return pixels
        features = self.discriminators[side].features
        part = self.config.feature_cycle * progress
        seen = self.distance(tf.cast(features(images, training=True), tf.float32),
                             tf.cast(features(cycled, training=True), tf.float32))
        return (1.0 - part) * pixels + part * seen
