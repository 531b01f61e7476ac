"""Rows of `make bench` on a TPU or GPU: number format, XLA, steps per call, batch.

Both sides of a pair train in one process, because a TPU belongs to one process, and make a call in turn.
"""

import time

import numpy as np
import tensorflow as tf
from benchmark.rows import PAIRS, Row, paired_row

from monet.core.config import Config, make_config
from monet.core.presets import resolve_config
from monet.machine.devices import device_of
from monet.training.engines import choose_devices, make_engine
from monet.training.settled import settled

PRESET = "tutorial"
BATCH = 16  # per device, in the rows that are not about the batch
BATCHES = (1, 2, 4, 8, 16, 32, 64)  # per device
STEPS_PER_CALL = 25


def has_accelerator() -> bool:
    """Returns whether training would use a TPU or GPU on this machine."""
    return device_of(choose_devices(make_config())).kind != "CPU"


class TimedTraining:
    """Training whose calls are timed.

    Attributes:
        step: steps done.
    """

    def __init__(self, config: Config, data):
        """Builds the networks and makes the first call, which compiles."""
        devices = choose_devices(config)
        self.config, self.step = settled(config, device_of(devices), data), 0
        self.engine = make_engine(self.config, data, devices)
        self.seconds_per_step()

    def seconds_per_step(self) -> float:
        """Makes a call, waits for its losses, and returns the seconds per step."""
        started, count = time.monotonic(), self.config.steps_per_call
        np.asarray(self.engine.run_steps(self.step, count))
        self.step += count
        return (time.monotonic() - started) / count


def training_config(settings: dict) -> Config:
    """Returns the config of a run that is longer than any measurement."""
    return resolve_config({"preset": PRESET, "epochs": 1000, "steps_per_epoch": 1000, **settings})


def seconds_in_turn(data, ours: dict, peer: dict) -> list[tuple[float, float]]:
    """Returns `PAIRS` pairs of seconds per step, with our settings and with the peer's, measured in turn."""
    ours, peer = (TimedTraining(training_config(settings), data) for settings in (ours, peer))
    return [(ours.seconds_per_step(), peer.seconds_per_step()) for _ in range(PAIRS)]


def setting_row(data, name: str, claim: str, ours: dict, peer: dict, common: dict) -> Row:
    """Seconds per step with one setting beside another; `common` are the settings of both."""
    peer_name = " ".join(f"--{field.replace('_', '-')} {value}" for field, value in peer.items())
    return paired_row(name, claim, "s", peer_name, seconds_in_turn(data, {**common, **ours}, {**common, **peer}))


def batch_rows(data, common: dict, batches: tuple[int, ...], replicas: int) -> list[Row]:
    """Pairs of images per second at each batch per device, beside those at the first."""
    rows, smallest = [], batches[0] * replicas
    for batch in (size * replicas for size in batches[1:]):
        name, claim = f"batch {batch}", f"pairs a second beside those at batch {smallest}"
        try:
            seconds = seconds_in_turn(data, {**common, "batch_size": batch}, {**common, "batch_size": smallest})
        except tf.errors.ResourceExhaustedError:
            return [*rows, Row(name, claim, "pairs/s", [], "does not fit into the device's memory")]
        rates = [(batch / ours, smallest / peer) for ours, peer in seconds]
        rows.append(paired_row(name, claim, "pairs/s", f"batch {smallest}", rates))
    return rows


def accelerator_rows(data, steps_per_call: int = STEPS_PER_CALL, batch: int = BATCH,
                     batches: tuple[int, ...] = BATCHES, **settings) -> list[Row]:
    """Returns all rows; `settings` are config fields, for networks other than the tutorial's."""
    replicas = device_of(choose_devices(make_config())).count
    common = {"batch_size": batch * replicas, "steps_per_call": steps_per_call, **settings}
    return [setting_row(data, "precision", "the device's own number format against float32", {"precision": "auto"},
                        {"precision": "float32"}, common),
            setting_row(data, "xla", "compiled by XLA against not", {"xla": "on"}, {"xla": "off"}, common),
            setting_row(data, "steps-per-call", f"{steps_per_call} steps a call against 1, at batch {replicas}",
                        {"steps_per_call": steps_per_call}, {"steps_per_call": 1}, {**common, "batch_size": replicas}),
            *batch_rows(data, common, batches, replicas)]
