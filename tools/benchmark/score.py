"""Rows of `make bench` about scoring: FID beside SciPy's sqrtm, and a second run of tools/mifid.py.

    python -m benchmark.score IMAGES.zip WEIGHTS.pth

puts made-up features of the zip's images into the cache of tools/mifid.py.
"""

import io
import json
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from console import TOOLS, module_environment

import numpy as np
from benchmark.fid import GENERATED, made_features
from benchmark.measure import seconds_of
from benchmark.process import output_of
from benchmark.rows import PAIRS, Row, paired_row
from PIL import Image

IMAGES = GENERATED  # of the submission that is scored twice
DISTINCT_IMAGES = 100  # different pictures in it; the bytes of all files differ
CHUNK = 256  # images per file of the cache, as a run of the tool leaves them
WEIGHTS_BYTES = 95_628_359  # size of the published weights, whose digest every run computes


def correct_digits(value: float, exact: float) -> float:
    """Returns how many decimal digits of `value` are right, at most 17."""
    return float(-np.log10(max(abs(value / exact - 1), 1e-17)))


def measure_fid(method: str) -> dict:
    """Returns what benchmark/fid.py prints for a method."""
    return json.loads(output_of("benchmark.fid", method))


def fid_rows(data) -> list[Row]:
    """FID of 300 against 7,000 images, ours and sqrtm's in turn: seconds, correct digits and memory."""
    exact = measure_fid("exact")["fid"]
    pairs = [(measure_fid("ours"), measure_fid("sqrtm")) for _ in range(PAIRS)]

    def row(name: str, claim: str, unit: str, value) -> Row:
        return paired_row(name, claim, unit, "sqrtm's", [(value(ours), value(peer)) for ours, peer in pairs])

    return [row("fid", "at least 50 times as fast as sqrtm (0.02 of its time)", "s", lambda run: run["seconds"]),
            row("fid accuracy", "no less accurate than sqrtm", "digits",
                lambda run: correct_digits(run["fid"], exact)),
            row("fid memory", "under 1 GiB", "GiB", lambda run: run["memory_gib"])]


def write_submission(path: Path, count: int) -> None:
    """Writes a submission of `count` JPEGs of noise, no two with the same bytes."""
    random, encoded = np.random.default_rng(0), []
    for _ in range(min(count, DISTINCT_IMAGES)):
        file = io.BytesIO()
        pixels = random.integers(0, 256, [64, 64, 3], np.uint8)
        Image.fromarray(pixels).resize((256, 256)).save(file, "JPEG", quality=95)
        encoded.append(file.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):  # decoders ignore what follows the end of the image
            archive.writestr(f"{number:04d}.jpg", encoded[number % len(encoded)] + number.to_bytes(4, "big"))


def fill_cache(path: Path, weights: Path) -> None:
    """Puts made-up features of the images at `path` into the cache."""
    from scoring.cache import FeatureCache
    from scoring.sources import open_source

    from monet.scoring.inception_weights import digest_of

    source, cache = open_source(str(path)), FeatureCache(digest_of(str(weights)))
    features = made_features(len(source.names))[0]
    for start in range(0, len(source.names), CHUNK):
        chunk = range(start, min(start + CHUNK, len(source.names)))
        cache.add([source.digest(index) for index in chunk], features[start:chunk.stop], [""] * len(chunk))


def second_run_rows(data, count: int = IMAGES, repeats: int = PAIRS) -> list[Row]:
    """Seconds of tools/mifid.py, start-up apart, on a submission of `count` images that it has scored before."""
    with tempfile.TemporaryDirectory() as name:
        folder, environment = Path(name), module_environment(XDG_CACHE_HOME=name)
        images, weights, reference = folder / "images.zip", folder / "weights.pth", folder / "real.npz"
        weights.write_bytes(np.random.default_rng(0).bytes(WEIGHTS_BYTES))
        np.savez(reference, features=made_features(count)[1])
        write_submission(images, count)
        output_of("benchmark.score", images, weights, XDG_CACHE_HOME=name)

        def run(*arguments) -> float:
            command = [sys.executable, str(TOOLS / "mifid.py"), *map(str, arguments)]
            return seconds_of(lambda: subprocess.run(command, check=True, capture_output=True, env=environment))

        score = (images, "--reference", reference, "--weights", weights, "--json")
        run(*score)  # the first run, which checks the zip
        start_up = statistics.median(run("--help") for _ in range(repeats))
        seconds = [run(*score) - start_up for _ in range(repeats)]
    return [Row("second-run", "the same 7,000 images again in under 3 s beyond start-up", "s", seconds)]


SCORE_ROWS = {"fid": fid_rows, "second-run": second_run_rows}

if __name__ == "__main__":
    fill_cache(Path(sys.argv[1]), Path(sys.argv[2]))
