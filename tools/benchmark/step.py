"""The rows of `make bench` about the training step: beside its straightforward form, beside PyTorch, and by itself.

Each side is a process of its own (`bench_side.py`), because peak memory and the time to the first step are a process's;
both are alive at once and step in turn, so that a machine that slows down slows both.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time

from benchmark.peers.python import HOW, peer_python
from benchmark.process import Side
from benchmark.rows import PAIRS, Row
from console import module_command, module_environment

from monet.core.config import make_config

# Images a step that the kit recommends for the tutorial's networks on a CPU.
RECOMMENDED_BATCH = 4
STEPS = 3  # in turn, of each pair of processes
LOOP_STEPS = (50, 450)  # two runs of the loop: the difference is free of what a run costs once


def start_side(name: str, preset: str, batch: int = 1, python: str = sys.executable) -> Side:
    """A process of tools/benchmark/step_side.py, after its first step."""
    return Side(module_command("benchmark.step_side", name, preset, batch, python=python))


def straightforward_rows(data) -> list[Row]:
    """The tutorial's step against its straightforward form: seconds, peak memory, and seconds to the first step."""
    ours, peer = [], []
    for _ in range(PAIRS):
        with start_side("ours", "tutorial") as mine, start_side("straightforward", "tutorial") as theirs:
            turns = [(mine.step(), theirs.step()) for _ in range(STEPS)]
            for measured, side, seconds in zip((ours, peer), (mine, theirs), zip(*turns, strict=True), strict=True):
                measured.append((statistics.median(seconds), side.peak, side.first))
    claims = [("step", "tutorial's step: never slower than its straightforward form", "s"),
              ("step memory", "its peak memory at most 0.85 x", "GiB"),
              ("first step", "from imports done to the end of the first step at most 0.7 x", "s")]
    return [Row(*claim, list(mine), "straightforward", theirs)
            for claim, mine, theirs in zip(claims, zip(*ours, strict=True), zip(*peer, strict=True), strict=True)]


def batch_row(data) -> Row:
    """Pairs of images a second that the tutorial's networks learn from, at the recommended batch and at 1."""
    with start_side("ours", "tutorial", RECOMMENDED_BATCH) as many, start_side("ours", "tutorial") as one:
        turns = [(RECOMMENDED_BATCH / many.step(), 1 / one.step()) for _ in range(PAIRS)]
    ours, peer = zip(*turns, strict=True)
    return Row("batch", f"at batch {RECOMMENDED_BATCH} at least 1.25 x the pairs a second of batch 1", "pairs/s",
               list(ours), "batch 1", peer)


def pytorch_row(preset: str) -> Row:
    """A preset's step beside the same networks in PyTorch."""
    claim = f"{preset}'s step at most 1.0 x PyTorch's"
    python = peer_python()
    with start_side("ours", preset) as mine:
        if python is None:
            alone = [mine.step() for _ in range(PAIRS)]
            return Row(f"pytorch {preset}", claim, "s", alone, HOW)
        with start_side("pytorch", preset, python=python) as theirs:
            turns = [(mine.step(), theirs.step()) for _ in range(PAIRS)]
    ours, peer = zip(*turns, strict=True)
    return Row(f"pytorch {preset}", claim, "s", list(ours), "PyTorch", peer)


def loop_seconds(data, steps: int) -> float:
    """How long `Trainer.fit` takes for `steps` steps of the tutorial that compute nothing.

    Its networks are the smallest there are: what is painted and saved once a run should cost little.
    """
    import tensorflow as tf

    from monet.training.trainer import Trainer

    @tf.function(autograph=False)
    def no_step(batches, *_):
        photo, monet = next(batches)
        return tf.fill([len(trainer.system.loss_names)], tf.reduce_mean(photo) + tf.reduce_mean(monet))

    with tempfile.TemporaryDirectory() as folder:
        config = make_config(generator_filters=1, discriminator_filters=1, epochs=1, steps_per_epoch=steps,
                             out=folder, resume=False)
        trainer = Trainer(config, data, tf.distribute.get_strategy())
        trainer.steps_function = no_step
        started = time.monotonic()
        trainer.fit()
        return time.monotonic() - started


def loop_row(data) -> Row:
    """Milliseconds a step that the loop takes without the networks: input, host and logging."""
    few, many = LOOP_STEPS
    ours, peer = [], []
    with start_side("ours", "tutorial") as whole:
        for _ in range(PAIRS):
            loop = (loop_seconds(data, many) - loop_seconds(data, few)) / (many - few)
            ours.append(1000 * loop)
            peer.append(1000 * whole.step())
    return Row("loop", "the loop without the networks under 0.02 of a step", "ms", ours, "the tutorial's step",
               tuple(peer))


def equal_rows(data) -> list[Row]:
    """How far losses and weights are from the straightforward form's, as `bench_equal.py` finds at full size."""
    found = json.loads(subprocess.run(module_command("benchmark.equal", data.root), env=module_environment(),
                                      stdout=subprocess.PIPE, check=True, text=True).stdout)
    return [Row(f"equal {what}", "the straightforward form's within 1e-4, dropout off", unit, [found[what]])
            for what, unit in (("losses", "at most, of each"), ("weights", "at most"))]


STEP_ROWS = {"step": straightforward_rows, "equal": equal_rows, "batch": batch_row, "loop": loop_row,
             "pytorch": lambda data: [pytorch_row("tutorial"), pytorch_row("paper")]}
