"""Every `auto` but the accelerator's, and every 0 that stands for one, resolved once, before anything is built."""

import dataclasses
import math

from monet.core.config import Config
from monet.core.errors import UserError
from monet.data.records import Data
from monet.machine.devices import Device, precision_for
from monet.machine.restarts import past_hangs
from monet.networks.generators import block_count

ACCELERATOR_STEPS = 25  # steps per call, so that the host's share of the time is negligible


def settled(config: Config, device: Device, data: Data | None = None) -> Config:
    """The config with a value for everything that it leaves to the device, the data or other fields.

    config.json and checkpoints keep the config as asked, so that a run can be repeated on another device. Building,
    training and painting use the settled one.

    Args:
        config: as asked.
        device: what the run computes on.
        data: the images; None if nothing is trained, which leaves steps_per_epoch, diffaugment and penalty_rise as
            they are. With images, penalty_rise becomes a number of steps, so settle only what is as asked.

    Raises:
        UserError: if the device cannot do what the config asks.
    """
    on_accelerator = device.kind != "CPU"
    values = {
        "precision": precision_for(config.precision, device),
        "xla": xla_for(config.xla, device),
        "steps_per_call": config.steps_per_call or (ACCELERATOR_STEPS if on_accelerator else 1),
        "space_to_depth": {"auto": "on" if device.kind == "TPU" else "off"}.get(
            config.space_to_depth, config.space_to_depth),
        "residual_blocks": block_count(config),
    }
    if data is not None:
        check_batch(config, device)
        larger = max(data.monet.count, data.photo.count)
        values["steps_per_epoch"] = config.steps_per_epoch or math.ceil(larger / config.batch_size)
        values["penalty_rise"] = config.penalty_rise * data.monet.count / config.batch_size
        if config.augment_most and data.monet.count > config.augment_most:
            values["diffaugment"] = ""
    return dataclasses.replace(config, **values)


def xla_for(asked: str, device: Device) -> str:
    """Whether XLA compiles the step: 'on' or 'off'. A TPU compiles everything anyway."""
    if "GPU:tensorflow" in past_hangs():
        return "off"
    return ("on" if device.kind == "GPU" else "off") if asked == "auto" else asked


def check_batch(config: Config, device: Device) -> None:
    """Raises UserError if the devices cannot share the batch evenly, or a device's part does not fit into its pool."""
    if config.batch_size % device.count:
        raise UserError(f"--batch-size {config.batch_size} cannot be shared by {device.count} devices: "
                        f"give a multiple of {device.count}.")
    part = config.batch_size // device.count
    if config.image_pool and config.image_pool < part:
        raise UserError(f"--image-pool {config.image_pool} is smaller than a device's batch of {part} (--batch-size "
                        f"{config.batch_size}), which must fit into it. Give a larger pool, or 0 for none.")


def compiles_at_first_call(config: Config, device: Device) -> bool:
    """Whether the first training step takes minutes because it is compiled; `config` is settled."""
    return config.xla == "on" or device.kind == "TPU" or device.engine == "jax"
