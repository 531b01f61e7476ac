"""No run is lost: killed with SIGKILL, told to end, short of time. And its memory does not grow.

All with real processes and real signals.
"""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import numpy as np
import pytest

from monet.core.array_files import read_arrays
from monet.training.checkpoint import META_NAME, list_checkpoints, read_meta

pytestmark = pytest.mark.lengthy

SMALL = [
    "--accelerator", "cpu", "--generator-filters", "2", "--generator-levels", "2", "--discriminator-filters", "2",
    "--image-size", "32", "--discriminator-levels", "1", "--jitter", "40", "--batch-size", "2", "--gamma-mean", "1",
    "--tensorboard", "false",
]
STEPS = 100
KILLS = 3
# Everything that a checkpoint must hold: pools, averages, a falling rate, augmentation, and no dropout.
EVERYTHING = [
    "--dropout", "0", "--image-pool", "4", "--ema-decay", "0.9", "--decay-start", "0.2", "--cycle-fall", "0.9",
    "--diffaugment", "color,translation,cutout", "--epochs", "1", "--steps-per-epoch", str(STEPS),
]


def command(verb, small_root, out, *more):
    return [sys.executable, "-m", "monet", verb, "--data", small_root, "--out", str(out), *SMALL, *more]


def started(*arguments):
    return subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def checkpoints(out):
    return list_checkpoints(str(out / "checkpoints"))


def meta(out):
    return read_meta(checkpoints(out)[0])


def wait_until(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def newest_step(out):
    return int(checkpoints(out)[0][-12:-4]) if checkpoints(out) else -1


@pytest.mark.keras_2
def test_a_run_killed_repeatedly_ends_where_an_unbroken_one_does(small_root, tmp_path):
    """A checkpoint is due at every step, so most kills come while one is being written."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command("train", small_root, whole, *EVERYTHING), check=True, capture_output=True)
    chance, interrupted_writes, seconds = random.Random(0), 0, [0.0]
    for kill in range(KILLS):
        process = started("train", small_root, broken, *EVERYTHING, "--checkpoint-minutes", "0")
        at = newest_step(broken) + chance.randint(5, STEPS // (KILLS + 1) - 1)
        wait_until(lambda step=at: newest_step(broken) >= step, process)
        if kill:  # the first comes at any moment, the others while a file is unfinished
            wait_until(lambda: any(name.endswith(".part") for name in os.listdir(broken / "checkpoints")), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        interrupted_writes += any(name.endswith(".part") for name in os.listdir(broken / "checkpoints"))
        assert 0 < newest_step(broken) < STEPS
        seconds.append(meta(broken).seconds)
    assert interrupted_writes >= 1
    assert seconds == sorted(seconds)  # the clock continues, too
    subprocess.run(command("train", small_root, broken, *EVERYTHING), check=True, capture_output=True)
    assert not any(name.endswith(".part") for name in os.listdir(broken / "checkpoints"))
    assert meta(whole).step == meta(broken).step == STEPS
    expected, found = (read_arrays(checkpoints(out)[0]) for out in (whole, broken))
    assert expected.pop(META_NAME).size and found.pop(META_NAME).size
    assert found.keys() == expected.keys()
    assert found["photo_to_monet/adam/iterations"] == STEPS
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5, rtol=1e-5, err_msg=name)


def images_in(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return len(archive.namelist())


def test_sigterm_ends_training_at_once_and_hands_in(small_root, tmp_path):
    out = tmp_path / "out"
    process = started("run", small_root, out, "--epochs", "100000", "--num-images", "64")
    wait_until(lambda: os.path.exists(out / "history.csv") and os.path.getsize(out / "history.csv") > 200, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Told to terminate" in errors and "Traceback" not in errors
    assert newest_step(out) == meta(out).step > 0
    assert images_in(out / "images.zip") == 64
    assert (out / "photo_to_monet.npz").exists()


def test_a_second_sigterm_kills_and_the_checkpoint_stays(small_root, tmp_path):
    out = tmp_path / "out"
    process = started("run", small_root, out, "--epochs", "100000", "--num-images", "9000")
    wait_until(lambda: newest_step(out) >= 0, process)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: (out / "photo_to_monet.npz").exists(), process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert newest_step(out) >= 0
    assert not (out / "images.zip").exists()


def test_a_deadline_is_met_with_time_to_spare(small_root, tmp_path, minutes=2.0, images=400):
    """With far more steps than fit. The whole process counts, from before TensorFlow loads to its end."""
    out = tmp_path / "out"
    begun = time.monotonic()
    run = subprocess.run(command("run", small_root, out, "--epochs", "100000", "--num-images", str(images),
                                 "--max-minutes", str(minutes)), capture_output=True, text=True)
    taken = time.monotonic() - begun
    assert run.returncode == 0, run.stderr
    assert taken < 0.95 * 60 * minutes, run.stderr
    assert f"within {minutes:g} minutes" in run.stderr
    assert 0 < meta(out).step < 300 * 100_000
    assert images_in(out / "images.zip") == images


def test_a_deadline_that_leaves_no_time_to_train_still_hands_in(small_root, tmp_path):
    """Not even one step fits: what the initial network paints is still a submission."""
    out = tmp_path / "out"
    run = subprocess.run(command("run", small_root, out, "--num-images", "40", "--max-minutes", "0.05"),
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Stopping at step 0 of 7500: " in run.stderr
    assert newest_step(out) == 0
    assert images_in(out / "images.zip") == 40


def test_memory_does_not_grow(tiny, small_root, tmp_path):
    """Over 500 steps with checkpoints, previews and readings, after 100 for what grows only once."""
    code = f"""
        import dataclasses
        import re
        import tensorflow as tf
        from monet.core.config import make_config
        from monet.data.validation import find_data
        from monet.training.trainer import Trainer
        config = make_config(**{vars(tiny(steps_per_epoch=100, epochs=6, checkpoint_epochs=1, preview_minutes=0.05))!r})
        trainer = Trainer(config, find_data(config.data), tf.distribute.get_strategy())
        for total in (100, 600):
            trainer.config = dataclasses.replace(trainer.config, epochs=1, steps_per_epoch=total)
            trainer.fit()
            print(trainer.state.step, int(re.search(r"VmRSS:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024)
        """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    (_, before), (steps, after) = (map(float, line.split()) for line in run.stdout.splitlines())
    assert steps == 600
    assert after - before < 40, run.stdout  # MiB; the whole process has 700 or more
