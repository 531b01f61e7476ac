"""One side of a training step that tools/benchmark/step.py measures, in a process of its own.

    python -m benchmark.step_side ours|straightforward|pytorch PRESET BATCH

Prints a line of JSON after the first step, and one after each line that it reads, for which it makes another step:
the seconds (the first: from before the networks are built, imports apart), and the process's peak memory so far in GiB,
as Linux tells it.
"""

import functools
import json
import os
import sys
import time

import numpy as np
from benchmark.memory import peak_memory_gib

SIZE = 256


def batches(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Random photos and paintings, float32 `[batch, SIZE, SIZE, 3]` in [-1, 1]: what they show costs nothing."""
    draw = np.random.default_rng(0)
    return tuple(draw.uniform(-1, 1, [batch, SIZE, SIZE, 3]).astype(np.float32) for _ in range(2))


def load_ours(preset: str, batch: int):
    """A function that builds the kit's system and returns its step."""
    import tensorflow as tf

    from monet.core.presets import resolve_config
    from monet.gan.cyclegan import CycleGan
    from monet.training.train_step import train_step

    photo, monet = (tf.constant(images) for images in batches(batch))

    def build():
        system = CycleGan(resolve_config({"preset": preset, "batch_size": batch}))
        step = tf.function(functools.partial(train_step, system), autograph=False)
        seeds = iter(range(10**9))
        return lambda: [float(loss) for loss in step(photo, monet, tf.constant([0, next(seeds)])).values()]

    return build


def load_straightforward(preset: str, batch: int):
    """The same of `peer_tensorflow`, which knows the tutorial only."""
    import tensorflow as tf
    from benchmark.peers.plain_tensorflow import Peer

    photo, monet = (tf.constant(images) for images in batches(batch))

    def build():
        peer = Peer()
        return lambda: [float(loss) for loss in peer.step(photo, monet).values()]

    return build


def load_pytorch(preset: str, batch: int):
    """The same of `peer_torch`."""
    import torch
    from benchmark.peers.pytorch import Peer, prepared

    torch.set_num_threads(os.cpu_count())
    torch.set_flush_denormal(True)  # as TensorFlow does; without, a vanishing gradient slows it several times

    def build():
        peer = Peer(preset)
        photo, monet = (prepared(images, peer) for images in batches(batch))
        return lambda: peer.step(photo, monet)

    return build


SIDES = {"ours": load_ours, "straightforward": load_straightforward, "pytorch": load_pytorch}


def report(seconds: float) -> None:
    """Prints one line of the protocol."""
    print(json.dumps({"seconds": seconds, "peak": peak_memory_gib()}), flush=True)


def main() -> None:
    """The program; it ends when there is nothing more to read."""
    side, preset, batch = sys.argv[1:]
    build = SIDES[side](preset, int(batch))
    started = time.monotonic()
    step = build()
    step()
    report(time.monotonic() - started)
    for _ in sys.stdin:
        started = time.monotonic()
        step()
        report(time.monotonic() - started)


if __name__ == "__main__":
    main()
