"""The rows that `make bench` adds where there is a TPU or a GPU: number format, XLA, steps a call, batch.

Both sides of a pair are runs in one process, because a TPU belongs to one process, and make a call in turn.
"""

import tempfile
import time

import numpy as np
import tensorflow as tf
from benchmark.rows import PAIRS, Row

from monet.core.config import make_config
from monet.core.presets import resolve_config
from monet.machine.devices import choose_strategy, device_kind
from monet.training.trainer import Trainer

PRESET = "tutorial"
BATCH = 16  # of the rows that are not about it, for each device
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CALL = 25  # steps a call


def has_accelerator() -> bool:
    """Whether a run would train on a TPU or on GPUs here."""
    return device_kind(choose_strategy(make_config())) != "CPU"


class Run:
    """A run of training that only makes calls."""

    def __init__(self, data, folder: str, settings: dict):
        """Builds the networks and makes the first call, which compiles."""
        config = resolve_config({"preset": PRESET, "data": data.root, "out": folder, "resume": False,
                                 "epochs": 1000, "steps_per_epoch": 1000, **settings})
        self.trainer = Trainer(config, data, choose_strategy(config))
        self.seconds_per_step()

    def seconds_per_step(self) -> float:
        """Makes a call, waits for its losses, and returns the seconds for each of its steps."""
        before, started = self.trainer.step, time.monotonic()
        self.trainer.advance()
        np.asarray(self.trainer.unread.pop()[1])
        return (time.monotonic() - started) / (self.trainer.step - before)


def in_turn(data, ours: dict, peer: dict) -> list[tuple[float, float]]:
    """Seconds a step of two runs with different settings, a pair a turn."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        mine, theirs = Run(data, first, ours), Run(data, second, peer)
        return [(mine.seconds_per_step(), theirs.seconds_per_step()) for _ in range(PAIRS)]


def setting_row(data, name: str, claim: str, ours: dict, peer: dict, base: dict) -> Row:
    """One setting against another: seconds a step."""
    mine, theirs = zip(*in_turn(data, {**base, **ours}, {**base, **peer}), strict=True)
    beside = " ".join(f"--{field.replace('_', '-')} {value}" for field, value in peer.items())
    return Row(name, claim, "s", list(mine), beside, theirs)


def batch_rows(data, base: dict, batches: tuple[int, ...], replicas: int) -> list[Row]:
    """Pairs of images a second at each batch a device, beside those at the first."""
    rows, least = [], batches[0] * replicas
    for batch in (size * replicas for size in batches[1:]):
        name, claim = f"batch {batch}", f"pairs a second beside those at batch {least}"
        try:
            turns = in_turn(data, {**base, "batch_size": batch}, {**base, "batch_size": least})
        except tf.errors.ResourceExhaustedError:
            return [*rows, Row(name, claim, "pairs/s", [], "it does not fit into the device's memory")]
        ours, peer = zip(*((batch / mine, least / theirs) for mine, theirs in turns), strict=True)
        rows.append(Row(name, claim, "pairs/s", list(ours), f"batch {least}", peer))
    return rows


def accelerator_rows(data, call: int = CALL, batch: int = BATCH, batches: tuple[int, ...] = BATCHES,
                     **settings) -> list[Row]:
    """All rows; `settings` are fields of the config, for networks other than the tutorial's."""
    replicas = choose_strategy(make_config()).num_replicas_in_sync
    base = {"batch_size": batch * replicas, "steps_per_call": call, **settings}
    return [setting_row(data, "precision", "the device's own number format against float32", {"precision": "auto"},
                        {"precision": "float32"}, base),
            setting_row(data, "xla", "compiled by XLA against not", {"xla": "on"}, {"xla": "off"}, base),
            setting_row(data, "steps-per-call", f"{call} steps a call against 1, at batch {replicas}",
                        {"steps_per_call": call}, {"steps_per_call": 1}, {**base, "batch_size": replicas}),
            *batch_rows(data, base, batches, replicas)]
