"""Worker of tools/benchmark/step.py: repeats one training step in a process of its own.

    python -m benchmark.step_worker ours|straightforward|pytorch PRESET BATCH [SETTINGS]

SETTINGS, as JSON, are more config fields of `ours`. The first report covers building the networks and the first step,
without the imports; then each line of standard input asks for another step.
"""

import functools
import json
import sys
import time

from console import run_tool

import numpy as np
from benchmark.measure import answer_requests, report


def random_batches(batch: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Returns photos and paintings of noise, float32 `[batch, size, size, 3]` in [-1, 1]."""
    random = np.random.default_rng(0)
    return tuple(random.uniform(-1, 1, [batch, size, size, 3]).astype(np.float32) for _ in range(2))


def load_ours(preset: str, batch: int, settings: str = "{}"):
    """Imports the kit; returns a function that builds its CycleGAN and returns a function that makes one step."""
    import tensorflow as tf

    from monet.core.presets import resolve_config
    from monet.gan.systems import build_system
    from monet.machine.devices import Device
    from monet.training.settled import settled
    from monet.training.train_step import make_gradients, train_step

    config = settled(resolve_config({"preset": preset, "batch_size": batch, **json.loads(settings)}), Device("CPU"))
    photo, monet = (tf.constant(images) for images in random_batches(batch, config.image_size))

    def build():
        system = build_system(config)
        step = tf.function(functools.partial(train_step, system, make_gradients(system, config)), autograph=False)
        seeds = iter(range(10**9))
        return lambda: [float(loss) for loss in step(photo, monet, tf.constant([0, next(seeds)])).values()]

    return build


def load_straightforward(preset: str, batch: int):
    """Does the same for benchmark/peers/plain_tensorflow.py, which has the tutorial's networks only."""
    import tensorflow as tf
    from benchmark.peers.plain_tensorflow import PlainCycleGan

    photo, monet = (tf.constant(images) for images in random_batches(batch))

    def build():
        plain = PlainCycleGan()
        return lambda: [float(loss) for loss in plain.step(photo, monet).values()]

    return build


def load_pytorch(preset: str, batch: int):
    """Does the same for benchmark/peers/pytorch.py."""
    from benchmark.peers.pytorch import TorchCycleGan, configure_torch

    configure_torch()

    def build():
        model = TorchCycleGan(preset)
        photo, monet = (model.to_tensor(images) for images in random_batches(batch))
        return lambda: model.step(photo, monet)

    return build


LOADERS = {"ours": load_ours, "straightforward": load_straightforward, "pytorch": load_pytorch}


def main() -> None:
    """Builds what the command line names, and makes steps until standard input ends."""
    name, preset, batch, *settings = sys.argv[1:]
    build = LOADERS[name](preset, int(batch), *settings)
    started = time.monotonic()
    step = build()
    step()
    report(time.monotonic() - started)
    answer_requests(lambda _: step())


if __name__ == "__main__":
    sys.exit(run_tool(main))
