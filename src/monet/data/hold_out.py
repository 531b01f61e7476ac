"""A share of the paintings is held out from training, so that overfitting is seen: `--hold-out`."""

import dataclasses

import numpy as np

from monet.core.config import Config
from monet.core.errors import UserError
from monet.data.records import Data, ImageSet


def part_of(images: ImageSet, chosen) -> ImageSet:
    """The part of a set with the usable images at the positions `chosen`, counted from 0 in reading order."""
    rows = np.arange(images.count + len(images.skipped) + len(images.apart))
    usable = np.setdiff1d(rows, (*images.skipped, *images.apart))
    apart = np.setdiff1d(usable, usable[chosen])
    return dataclasses.replace(images, count=len(chosen), apart=(*images.apart, *apart.tolist()))


def shuffled_positions(count: int, seed: int) -> np.ndarray:
    """The numbers below `count` in an order that the seed decides, the same with every release of NumPy."""
    return np.random.RandomState(seed).permutation(count)  # frozen, unlike default_rng's


def whole_monet(data: Data) -> ImageSet:
    """All paintings, held out or not."""
    return data.monet if data.held_out is None else dataclasses.replace(
        data.monet, count=data.monet.count + data.held_out.count, apart=())


def split_data(data: Data, config: Config) -> Data:
    """Holds out `config.hold_out` of the paintings, rounded, but at least one if it is not 0.

    Which ones depends on their number, the share and `config.seed` alone; a larger share adds to those of a smaller
    one. An earlier split of the data is undone first.

    Raises:
        UserError: if nothing would be left to train on.
    """
    whole = whole_monet(data)
    if not config.hold_out:
        return dataclasses.replace(data, monet=whole, held_out=None)
    held = max(1, round(config.hold_out * whole.count))
    if held >= whole.count:
        raise UserError(f"--hold-out {config.hold_out:g} of {whole.count} painting(s) leaves nothing to train on. "
                        "Give more paintings, or --hold-out 0.")
    order = shuffled_positions(whole.count, config.seed)
    return dataclasses.replace(data, monet=part_of(whole, order[held:]), held_out=part_of(whole, order[:held]))
