"""Trains and judges one preset for tools/compare.py: python -m comparison.train_preset JOB, where JOB is JSON.

Writes result.json, its measurements, and pictures.npz, what it painted, into the job's folder.
"""

import json
import os
import sys

from console import run_tool

import numpy as np
import tensorflow as tf
from benchmark.measure import peak_memory_gib
from comparison.job import Job, job_config
from comparison.judge import judge
from comparison.training import Training

from monet.core.files import atomic_write
from monet.data.hold_out import split_data
from monet.data.validation import find_data
from monet.machine.devices import devices_found
from monet.training.engines import choose_devices


def peak_memory() -> dict:
    """Returns the peak memory of this process, and of its GPU or None, in GiB."""
    device = (tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30
              if tf.config.list_logical_devices("GPU") else None)
    return {"memory_gib": peak_memory_gib(), "device_memory_gib": device}


def run(job: Job) -> None:
    """Does the job and writes its files.

    Raises:
        UserError: if the data or the settings cannot be used, or a loss is not finite.
    """
    config, _ = job_config(job, accelerated=True)
    devices = choose_devices(config)
    accelerated = any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
    config, reduced = job_config(job, accelerated)
    training = Training(config, split_data(find_data(config.data, config.swap_sides), config), devices)
    result = {"preset": job.preset, "system": config.system, "device": devices_found(), "reduced": reduced,
              "batch_size": config.batch_size, **training.train(job.seconds), **peak_memory()}
    judgement, arrays = judge(training, job)
    pictures_path, result_path = (os.path.join(job.out, name) for name in ("pictures.npz", "result.json"))
    with atomic_write(pictures_path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    with atomic_write(result_path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump({**result, **judgement}, file, indent=2)


if __name__ == "__main__":
    sys.exit(run_tool(lambda: run(Job(**json.loads(sys.argv[1])))))
