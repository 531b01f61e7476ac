"""Rows of `make bench` about the training step: beside its straightforward form, beside PyTorch, and by itself.

Both sides run in processes of their own (benchmark/step_worker.py), which are alive at once and step in turn.
"""

import json
import statistics
import sys
import tempfile

from console import module_command

from benchmark.measure import seconds_of
from benchmark.peers.python import MISSING_PEERS, peer_python
from benchmark.process import Worker, output_of
from benchmark.rows import PAIRS, Row, paired_row

from monet.core.config import make_config

RECOMMENDED_BATCH = 4  # for the tutorial's networks on a CPU
STEPS = 3  # of each process of the straightforward row
LOOP_STEPS = (50, 450)  # of two runs, whose difference leaves out what a run costs once


def start_worker(name: str, preset: str, batch: int = 1, *settings: str, python: str = sys.executable) -> Worker:
    """Starts a process of benchmark/step_worker.py; returns once it has made its first step."""
    return Worker(module_command("benchmark.step_worker", name, preset, batch, *settings, python=python))


def median_steps(workers: list[Worker]) -> list[float]:
    """Returns the median seconds of `STEPS` steps of each worker, made in turn."""
    rounds = [[worker.repeat() for worker in workers] for _ in range(STEPS)]
    return [statistics.median(seconds) for seconds in zip(*rounds, strict=True)]


def straightforward_rows(data) -> list[Row]:
    """Our step beside the straightforward form's: seconds, peak memory, and seconds to the first step."""
    steps, peaks, firsts = [], [], []
    for _ in range(PAIRS):
        with start_worker("ours", "tutorial") as ours, start_worker("straightforward", "tutorial") as plain:
            steps.append(median_steps([ours, plain]))
            peaks.append((ours.peak_gib, plain.peak_gib))
            firsts.append((ours.first_seconds, plain.first_seconds))
    return [paired_row("step", "tutorial's step: never slower than its straightforward form", "s", "straightforward",
                       steps),
            paired_row("step memory", "its peak memory at most 0.85 x", "GiB", "straightforward", peaks),
            paired_row("first step", "from imports done to the end of the first step at most 0.7 x", "s",
                       "straightforward", firsts)]


def batch_rows(data) -> list[Row]:
    """Pairs of images per second that the tutorial's networks learn from, at the recommended batch and at 1."""
    with start_worker("ours", "tutorial", RECOMMENDED_BATCH) as recommended, start_worker("ours", "tutorial") as single:
        pairs = [(RECOMMENDED_BATCH / recommended.repeat(), 1 / single.repeat()) for _ in range(PAIRS)]
    claim = f"at batch {RECOMMENDED_BATCH} at least 1.25 x the pairs a second of batch 1"
    return [paired_row("batch", claim, "pairs/s", "batch 1", pairs)]


def pytorch_row(preset: str) -> Row:
    """A preset's step beside that of the same networks in PyTorch."""
    name, claim = f"pytorch {preset}", f"{preset}'s step at most 1.0 x PyTorch's"
    python = peer_python()
    with start_worker("ours", preset) as ours:
        if python is None:
            return Row(name, claim, "s", [ours.repeat() for _ in range(PAIRS)], MISSING_PEERS)
        with start_worker("pytorch", preset, python=python) as theirs:
            pairs = [(ours.repeat(), theirs.repeat()) for _ in range(PAIRS)]
    return paired_row(name, claim, "s", "PyTorch", pairs)


def loop_seconds(data, steps: int) -> float:
    """Returns how long `Trainer.fit` takes for `steps` steps of the tutorial that compute nothing.

    The networks have one filter, because fit also paints and saves.
    """
    import tensorflow as tf

    from monet.training.trainer import Trainer

    @tf.function(autograph=False)
    def empty_step(batches, *_):
        photo, monet = next(batches)
        return tf.fill([len(trainer.engine.loss_names)], tf.reduce_mean(photo) + tf.reduce_mean(monet))

    with tempfile.TemporaryDirectory() as folder:
        config = make_config(generator_filters=1, discriminator_filters=1, epochs=1, steps_per_epoch=steps,
                             out=folder, resume=False)
        trainer = Trainer(config, data, tf.distribute.get_strategy())
        trainer.engine.step_function = empty_step
        return seconds_of(trainer.fit)


def loop_rows(data) -> list[Row]:
    """Milliseconds per step of the loop without the networks: input, host and logging."""
    few, many = LOOP_STEPS
    with start_worker("ours", "tutorial") as ours:
        pairs = [(1000 * (loop_seconds(data, many) - loop_seconds(data, few)) / (many - few), 1000 * ours.repeat())
                 for _ in range(PAIRS)]
    return [paired_row("loop", "the loop without the networks under 0.02 of a step", "ms", "the tutorial's step",
                       pairs)]


def equal_rows(data) -> list[Row]:
    """The differences of losses and weights from the straightforward form's, at full size: see benchmark/equal.py."""
    differences = json.loads(output_of("benchmark.equal", data.root))
    claim = "within 1e-4 of the straightforward form's, without dropout"
    return [Row("equal losses", claim, "relative, at most", [differences["losses"]]),
            Row("equal weights", claim, "at most", [differences["weights"]])]


STEP_ROWS = {"step": straightforward_rows, "equal": equal_rows, "batch": batch_rows, "loop": loop_rows,
             "pytorch": lambda data: [pytorch_row("tutorial"), pytorch_row("paper")]}
