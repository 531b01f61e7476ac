"""Trains and judges one preset for tools/compare.py, in a process of its own.

Writes result.json (what it measured) and pictures.npz (what it painted) into the job's folder.
"""

import json
import os
import sys
import time

import numpy as np
import tensorflow as tf
from benchmark.memory import peak_memory_gib
from comparison.job import Job, job_config
from scoring.features import find_features, make_network
from scoring.sources import Source, decode_picture
from tqdm import tqdm

from monet.core.config import SUBMISSION_SIZE
from monet.core.errors import UserError
from monet.core.files import atomic_write
from monet.core.pixels import encode_jpeg, float_to_pixels
from monet.core.progress import Interval
from monet.data.pipeline import first_images
from monet.data.records import read_examples
from monet.data.validation import find_data
from monet.gan.optimizers import copy_averaged
from monet.machine.devices import choose_strategy, devices_found
from monet.networks.build import build_generator
from monet.scoring.health import FIFTH, find_faults, measure_health
from monet.scoring.inception import extract_features
from monet.scoring.inception_weights import find_weights
from monet.scoring.mifid import frechet_distance, kernel_distance, mifid
from monet.submission.painter import make_painter
from monet.training.history import kept_rows
from monet.training.trainer import READ_EVERY, Broken, Trainer

READINGS = 40  # of the losses in a run, so that its fifths have several each
JUDGED = 32  # photos that the health numbers are made from
SCORED = 128  # photos that FID, MiFID and KID are made from, if there are weights for them
PAINTED_AT_ONCE = 4
SHOWN = 2  # photos in the picture: the first and the one in the middle of those judged
NO_LOSSES = ("step", "epoch", "seconds_per_step")  # columns of history.csv


def train(trainer: Trainer, seconds: float) -> dict:
    """Trains for `seconds`, or to the run's end, and records the losses as `Trainer.fit` does.

    The first call, in which the networks are traced, comes before the clock starts.

    Returns:
        steps (without those of the first call), seconds_per_step, and start_seconds, what the first call took.

    Raises:
        Broken: if a loss is no longer finite.
    """
    begun, never = time.monotonic(), Interval(float("inf"))
    with tqdm(disable=True) as bar:
        trainer.advance()
        trainer.read_losses(bar, never)
        first = trainer.step
        started, read_due = time.monotonic(), Interval(seconds / READINGS)
        while time.monotonic() - started < seconds and trainer.step < trainer.total:
            trainer.advance()
            if read_due.due() or len(trainer.unread) == READ_EVERY:
                trainer.read_losses(bar, never)
        trainer.read_losses(bar, never)
        ended = time.monotonic()
    steps = trainer.step - first
    return {"steps": steps, "seconds_per_step": (ended - started) / max(steps, 1), "start_seconds": started - begun}


def peak_memory() -> dict:
    """The most memory this process and its GPU, if there is one, have held so far, in GiB."""
    device = (tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30
              if tf.config.list_logical_devices("GPU") else None)
    return {"memory_gib": peak_memory_gib(), "device_memory_gib": device}


def in_parts(paint, images) -> np.ndarray:
    """`paint` of `images`, float32 `[count, height, width, 3]`, a few at a time."""
    parts = range(0, len(images), PAINTED_AT_ONCE)
    return np.concatenate([np.asarray(paint(images[at:at + PAINTED_AT_ONCE]), np.float32) for at in parts])


def last_losses(rows: list[dict]) -> dict:
    """The mean of each loss over the last fifth of the history."""
    part = rows[-max(len(rows) // FIFTH, 1):]
    return {name: float(np.mean([float(row[name]) for row in part])) for name in rows[0] if name not in NO_LOSSES}


def patch_maps(discriminator, real, painted) -> np.ndarray:
    """The logits of a real and a painted picture: float32 `[heads, 2, map height, map width]`."""
    heads = tf.nest.flatten(discriminator(tf.concat([real, painted], 0), training=False))
    return np.stack([np.asarray(logits, np.float32)[..., 0] for logits in heads])


def judged_pictures(trainer: Trainer, photo, painted, back_paint) -> dict:
    """For each discriminator `{side}_pictures`, a real and a painted one, and `{side}_maps`, what it makes of them.

    Args:
        trainer: gives the networks and the paintings.
        photo: `[1, height, width, 3]` in [-1, 1].
        painted: the same painted.
        back_paint: paints paintings as photos; None if the system has no such network.
    """
    monet = first_images(trainer.data.monet, 1, SUBMISSION_SIZE)
    shown = {"monet": (monet, painted)}
    if back_paint:
        shown["photo"] = (photo, in_parts(back_paint, monet))
    arrays = {}
    for side, pair in shown.items():
        arrays[f"{side}_pictures"] = float_to_pixels(np.concatenate(pair))
        arrays[f"{side}_maps"] = patch_maps(trainer.system.networks[f"{side}_discriminator"], *pair)
    return arrays


def paintings_of(trainer: Trainer) -> Source:
    """The run's paintings, in whatever form, for tools/scoring/features.py."""
    examples = [(example["image_name"].numpy().decode("utf-8", "replace"), example["image"].numpy())
                for example in read_examples(trainer.data.monet)]
    reads = [lambda image=image: image for _, image in examples]
    return Source(trainer.data.root, "pictures", [name for name, _ in examples], reads, decode_picture)


def score(trainer: Trainer, path: str) -> dict:
    """FID, MiFID and KID of the first `SCORED` photos as painted, against the run's paintings.

    Args:
        trainer: with the weights that paint.
        path: of the FID Inception's weights.

    Raises:
        UserError: for weights or paintings that cannot be used.
    """
    weights, paintings = find_weights(path), paintings_of(trainer)
    network = make_network(weights)
    real = find_features(paintings, list(range(len(paintings.names))), weights, lambda: network, skip=True).features
    painted = [decode_picture(encode_jpeg(image, trainer.config))[0]  # as they would be handed in
               for image in in_parts(trainer.paint, first_images(trainer.data.photo, SCORED, SUBMISSION_SIZE))]
    features = extract_features(network, painted, len(painted), "Painted")
    return {"fid": frechet_distance(features, real), "mifid": mifid(features, real),
            "kid": kernel_distance(features, real)[0], "count": len(painted), "note": weights.note}


def judge(trainer: Trainer, job: Job) -> tuple[dict, dict]:
    """What the trained networks are worth: health, faults and losses; and the arrays for the pictures."""
    photos = first_images(trainer.data.photo, JUDGED, SUBMISSION_SIZE)
    trainer.preview()  # gives the weights so far, or their moving average, to the network that paints
    painted = in_parts(trainer.paint, photos)
    rows = kept_rows(trainer.files.history, trainer.step)
    health = measure_health(np.asarray(photos), painted, rows)
    chosen = [index * len(photos) // SHOWN for index in range(SHOWN)]
    arrays = {"photos": float_to_pixels(np.asarray(photos)[chosen]), "painted": float_to_pixels(painted[chosen])}
    back_paint = None
    if "monet_to_photo" in trainer.system.networks:
        back = build_generator(trainer.config, "monet_to_photo")
        copy_averaged(trainer.system.networks[back.name], trainer.system.optimizers[back.name], back)
        back_paint = make_painter(back, trainer.config.paint_margin)
    if back_paint:
        arrays["back"] = float_to_pixels(in_parts(back_paint, painted[chosen]))
    if job.maps:
        arrays.update(judged_pictures(trainer, photos[:1], painted[:1], back_paint))
    scored = {"score": score(trainer, job.weights)} if job.weights else {}
    return {"health": health, "faults": find_faults(health), "losses": last_losses(rows), **scored}, arrays


def run(job: Job) -> None:
    """Does the job and leaves its files.

    Raises:
        UserError: for data or settings that cannot be used, or a loss that is no longer finite.
    """
    config, _ = job_config(job, accelerated=True)
    strategy = choose_strategy(config)
    accelerated = any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
    config, reduced = job_config(job, accelerated)
    trainer = Trainer(config, find_data(config.data, config.swap_sides), strategy)
    found = {"preset": job.preset, "system": config.system, "device": devices_found(), "reduced": reduced,
             "batch_size": config.batch_size, **train(trainer, job.seconds), **peak_memory()}
    judged, arrays = judge(trainer, job)
    with atomic_write(os.path.join(job.out, "pictures.npz")) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    result = os.path.join(job.out, "result.json")
    with atomic_write(result) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump({**found, **judged}, file, indent=2)


def main() -> int:
    """Does the job that the command line names; returns the exit status."""
    try:
        run(Job(**json.loads(sys.argv[1])))
    except (UserError, Broken) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
