"""What a trained preset is worth to tools/compare.py: health, losses, scores, and the arrays of its pictures."""

import numpy as np
from comparison.job import Job
from comparison.training import Training
from scoring.features import find_features, load_extractor
from scoring.sources import Source, decode_picture

from monet.core.config import SUBMISSION_SIZE
from monet.core.pixels import float_to_pixels
from monet.data.pipeline import first_images
from monet.data.records import Data, read_examples
from monet.scoring.health import HISTORY_PARTS, find_faults, measure_health
from monet.scoring.inception import extract_features
from monet.scoring.inception_weights import find_weights
from monet.scoring.mifid import frechet_distance, kernel_distance, mifid
from monet.submission.jpegs import JpegEncoder

JUDGED = 32  # photos for the health numbers
SCORED = 128  # photos for FID, MiFID and KID
SHOWN = 2  # photos in the picture: the first and the middle one of those judged
NOT_LOSSES = ("step", "epoch", "seconds_per_step")  # columns of history.csv


def judge(training: Training, job: Job) -> tuple[dict, dict]:
    """Paints with the trained networks and measures the result.

    Returns:
        health, faults, losses, and score if there are weights; and the arrays of pictures.npz.

    Raises:
        UserError: if the weights or the paintings cannot be used.
    """
    training.finish()
    photos = np.asarray(first_images(training.data.photo, JUDGED, SUBMISSION_SIZE))
    painted, history = training.paint(photos), training.loss_rows()
    health = measure_health(photos, painted, history)
    shown = [index * len(photos) // SHOWN for index in range(SHOWN)]
    arrays = {"photos": float_to_pixels(photos[shown]), "painted": float_to_pixels(painted[shown])}
    back = training.paint_back(painted[shown])
    if back is not None:
        arrays["back"] = float_to_pixels(back)
    if job.maps:
        arrays |= patch_maps(training, photos[:1], painted[:1])
    scores = {"score": score(training, job.weights)} if job.weights else {}
    return {"health": health, "faults": find_faults(health), "losses": final_losses(history), **scores}, arrays


def final_losses(history: list[dict]) -> dict:
    """Returns the mean of each loss over the last fifth of the history."""
    rows = history[-max(len(history) // HISTORY_PARTS, 1):]
    return {name: float(np.mean([float(row[name]) for row in rows])) for name in rows[0] if name not in NOT_LOSSES}


def patch_maps(training: Training, photo: np.ndarray, painted: np.ndarray) -> dict:
    """Returns what each discriminator makes of a real and a generated picture.

    Args:
        training: gives the networks and the paintings.
        photo: `[1, height, width, 3]` in [-1, 1].
        painted: the photo, painted.

    Returns:
        For each side `{side}_pictures`, uint8 `[2, height, width, 3]`, real and generated, and `{side}_maps`, their
        logits, float32 `[heads, 2, map height, map width]`.
    """
    monet = np.asarray(first_images(training.data.monet, 1, SUBMISSION_SIZE))
    pairs = {"monet": (monet, painted)}
    fake_photo = training.paint_back(monet)
    if fake_photo is not None:
        pairs["photo"] = (photo, fake_photo)
    arrays = {}
    for side, pair in pairs.items():
        images = np.concatenate(pair)
        arrays[f"{side}_pictures"] = float_to_pixels(images)
        arrays[f"{side}_maps"] = training.discriminate(side, images)
    return arrays


def paintings_source(data: Data) -> Source:
    """Returns the data's paintings, whatever their form, as tools/scoring reads images."""
    examples = [(example["image_name"].numpy().decode("utf-8", "replace"), example["image"].numpy())
                for example in read_examples(data.monet)]
    reads = [lambda image=image: image for _, image in examples]
    return Source(data.root, "pictures", [name for name, _ in examples], reads, decode_picture)


def score(training: Training, weights_path: str) -> dict:
    """Returns FID, MiFID and KID of the first `SCORED` photos, painted, against the data's paintings.

    Args:
        training: has the trained networks.
        weights_path: of the FID Inception's weights.

    Raises:
        UserError: if the weights or the paintings cannot be used.
    """
    weights, paintings = find_weights(weights_path), paintings_source(training.data)
    network = load_extractor(weights)
    positions = list(range(len(paintings.names)))
    real = find_features(paintings, positions, weights, lambda: network, skip=True).features
    images = training.paint(first_images(training.data.photo, SCORED, SUBMISSION_SIZE))
    encoder = JpegEncoder(training.config, training.data.monet)  # as in a submission
    decoded = [decode_picture(encoder.encode(image))[0] for image in images]
    features = extract_features(network, decoded, len(decoded), "Painted")
    return {"fid": frechet_distance(features, real), "mifid": mifid(features, real),
            "kid": kernel_distance(features, real)[0], "count": len(decoded), "note": weights.note}
