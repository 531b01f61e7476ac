"""One training step of any system on one device, and the check for broken losses."""

from collections.abc import Callable

import tensorflow as tf

from monet.core.config import Config
from monet.networks.space_to_depth import tile_size, to_tiles

# A mean loss beyond this times the largest weight has diverged. Cycle losses are at most twice their weight;
# adversarial losses get there with logits of a hundred or more.
DIVERGED = 1e4


def make_gradients(system, config: Config, compiled: bool = False) -> Callable:
    """The system's `losses_and_gradients`, for pictures as tf.data gives them.

    Space to depth is applied here, once, where the pictures enter: no loss depends on a pixel's place in a tensor.

    Args:
        system: the one to train, of `monet.gan.systems.SYSTEMS`.
        config: the settled config.
        compiled: compile it with XLA.
    """
    tile = tile_size(config)

    def losses_and_gradients(photo, monet, seed, progress, share):
        return system.losses_and_gradients(to_tiles(photo, tile), to_tiles(monet, tile), seed, progress, share)

    return tf.function(losses_and_gradients, jit_compile=True, autograph=False) if compiled else losses_and_gradients


def train_step(system, gradients_of_batch: Callable, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor,
               progress: float = 0.0, devices: int = 1) -> dict:
    """One step of all players on this device's part of the global batch; the optimizers sum over the devices.

    Args:
        system: the one to train.
        gradients_of_batch: from `make_gradients`.
        photo: float32 `[batch, height, width, 3]` in [-1, 1].
        monet: the same for paintings.
        seed: int32 `[2]`, for all random numbers.
        progress: fraction of the run completed, 0 to 1.
        devices: number sharing the global batch.

    Returns:
        The losses by name, each this device's share of the global mean: their sum over devices is the mean.
    """
    share = 1.0 / devices
    scaled_share = share * system.loss_scale.scale if system.loss_scale else share
    losses, gradients = gradients_of_batch(photo, monet, seed, progress, scaled_share)
    if system.loss_scale:
        gradients = system.loss_scale.unscale(gradients)
    for name, optimizer in system.optimizers.items():
        optimizer.apply_gradients(zip(gradients[name], system.networks[name].trainable_variables, strict=True))
    return {name: share * loss for name, loss in losses.items()}


def broken_loss(losses: dict[str, float], config: Config) -> str:
    """The name of a loss that is NaN, infinite or beyond `DIVERGED` times the largest weight; empty if none is."""
    largest = DIVERGED * max(1.0, config.cycle_weight, config.identity_weight, config.nce_weight)
    return next((name for name, loss in losses.items() if not abs(loss) < largest), "")
