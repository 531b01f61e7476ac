"""CycleGAN (Zhu et al. 2017): two generators, two discriminators, and their losses on one batch."""

import tensorflow as tf

from monet.core.config import Config, look_up
from monet.core.random_numbers import named_seeds
from monet.gan.discriminator import Discriminator, collect_states
from monet.gan.loss_scale import make_loss_scale
from monet.gan.losses import DISTANCES
from monet.gan.optimizers import make_optimizer, own_rate, run_length
from monet.networks.build import build_generator
from monet.networks.step_calls import StepGenerator, gradients_of

SEEDS = ("to_monet", "to_photo", "back_to_photo", "back_to_monet",
         "fool_monet", "fool_photo", "judge_monet", "judge_photo")


class CycleGan:
    """The four players of CycleGAN. Build it inside the scope of the strategy that trains it.

    Every system offers these attributes to the engine:

    Attributes:
        networks: models by name; `photo_to_monet` is the one that paints.
        length: steps of the whole run, from `run_length`.
        optimizers: one for each network, by the same name, with all its variables built.
        states: the players' state besides their weights: dicts of variables by name (see `collect_states`).
        loss_scale: for float16; None for other precisions.
        loss_names: names of the losses of a step, in order.
    """

    def __init__(self, config: Config):
        """Builds the players.

        Raises:
            UserError: for an unknown name, or a size that a network cannot take.
        """
        self.config = config
        self.distance = look_up(DISTANCES, config.cycle_loss, "cycle_loss")
        networks = {name: build_generator(config, name) for name in ("photo_to_monet", "monet_to_photo")}
        self.generators = {name: StepGenerator(network, config) for name, network in networks.items()}
        self.discriminators = {side: Discriminator(config, f"{side}_discriminator") for side in ("monet", "photo")}
        by_name = {f"{side}_discriminator": discriminator for side, discriminator in self.discriminators.items()}
        self.networks = networks | {name: discriminator.network for name, discriminator in by_name.items()}
        self.length = run_length(config)
        self.optimizers = {name: make_optimizer(own_rate(config, name), network, self.length,
                                                average=name in self.generators)
                           for name, network in self.networks.items()}
        self.loss_scale = make_loss_scale(config)
        self.states = collect_states(by_name, self.loss_scale)
        self.loss_names = ("cycle", "identity", *self.networks)

    def losses_and_gradients(self, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor, progress: float = 0.0,
                             share: float = 1.0):
        """Losses of all players on one batch, and their gradients.

        One tape serves both generators. They interact only through the cycle losses, which both objectives contain, so
        the gradient of the total is each generator's own.

        Args:
            photo: float32 `[batch, height, width, 3]` in [-1, 1]; with space to depth, in tiles.
            monet: the same for paintings.
            seed: int32 `[2]`, for all random numbers.
            progress: fraction of the run completed, 0 to 1.
            share: factor on the gradients: this batch's share of the global batch.

        Returns:
            `(losses, gradients)`: float32 scalars by name, not scaled by `share`; and lists of tensors by network
            name, in the order of its trainable variables.
        """
        seeds = named_seeds(seed, SEEDS)
        to_monet, to_photo = (generator.new_step() for generator in self.generators.values())
        with tf.GradientTape() as tape:
            # The generators paint: across, back again, and images of their own side.
            fake_monet, same_monet = to_monet(photo, monet, seed=seeds["to_monet"])
            fake_photo, same_photo = to_photo(monet, photo, seed=seeds["to_photo"])
            cycled_photo = to_photo(fake_monet, seed=seeds["back_to_photo"])
            cycled_monet = to_monet(fake_photo, seed=seeds["back_to_monet"])
            # The discriminators judge, and the losses are summed.
            losses = {
                "cycle": self.config.cycle_weight * (self.cycle_distance("photo", photo, cycled_photo, progress)
                                                     + self.cycle_distance("monet", monet, cycled_monet, progress)),
                "identity": self.config.identity_weight * (self.distance(monet, same_monet)
                                                           + self.distance(photo, same_photo)),
                "photo_to_monet": self.discriminators["monet"].generator_loss(
                    fake_monet, seeds["fool_monet"], progress),
                "monet_to_photo": self.discriminators["photo"].generator_loss(
                    fake_photo, seeds["fool_photo"], progress),
            }
            total = share * tf.add_n([self.fade(name, progress) * loss for name, loss in losses.items()])
        # Gradients: of the generators, then of each discriminator.
        gradients = dict(zip(self.generators, gradients_of(tape, total, [to_monet, to_photo]), strict=True))
        for side, real, fake in (("monet", monet, fake_monet), ("photo", photo, fake_photo)):
            name = f"{side}_discriminator"
            losses[name], gradients[name] = self.discriminators[side].loss_and_gradients(
                real, fake, seeds[f"judge_{side}"], share, progress, self.optimizers[name].iterations)
        return losses, gradients

    def fade(self, name: str, progress: float) -> float:
        """The factor on a loss at this point of the run: `cycle_fall` makes the cycle and identity losses fade.

        It affects only the total. A faded loss in the log would say nothing about the error.
        """
        return 1.0 - self.config.cycle_fall * progress if name in ("cycle", "identity") else 1.0

    def cycle_distance(self, side: str, images: tf.Tensor, cycled: tf.Tensor, progress: float) -> tf.Tensor:
        """The distance between images and their reconstructions, a float32 scalar.

        With `feature_cycle`, a part that grows over the run is measured on the discriminator's features instead of on
        pixels (Wang & Lin 2018, "CycleGAN with Better Cycles").
        """
        pixels = self.distance(images, cycled)
        if not self.config.feature_cycle:
            return pixels
        part = self.config.feature_cycle * progress
        discriminator = self.discriminators[side]
        features = self.distance(discriminator.features(images), discriminator.features(cycled))
        return (1.0 - part) * pixels + part * features
