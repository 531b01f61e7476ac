"""Rows of tools/bench.py about the score: FID's arithmetic beside scipy's sqrtm, and a second run of tools/mifid.py.

python -m benchmark.score ours|sqrtm|truth computes one FID in a process of its own; prints it as JSON, with its
seconds and the process's peak memory. With fill ZIP WEIGHTS it puts features of the zip's images into the cache.
"""

import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from benchmark.memory import peak_memory_gib
from benchmark.rows import PAIRS, Row
from console import TOOLS, module_command, module_environment
from PIL import Image

GENERATED, REFERENCES, WIDTH = 7000, 300, 2048
FACTORS = 400  # of the features, beside noise of their own
FILL = "fill"  # the word for that
PICTURES = 100  # JPEGs that are made for it; 7,000 of other bytes come from them
PART = 256  # images in one file of the cache, as a run leaves them
WEIGHTS_BYTES = 95_628_359  # of the published weights, whose digest each run takes


def made_features() -> tuple[np.ndarray, np.ndarray]:
    """Both sides' features, float32 like the network's: not negative, with a spectrum that falls as theirs does."""
    random = np.random.default_rng(0)
    mixing = random.normal(0, 1, [FACTORS, WIDTH]) * (np.arange(1, FACTORS + 1) ** -0.7)[:, None]
    sides = (random.normal(shift, 1, [count, FACTORS]) @ mixing * 0.1 + random.normal(0.4, 0.03, [count, WIDTH])
             for count, shift in ((GENERATED, 0.05), (REFERENCES, 0.0)))
    return tuple(np.maximum(side, 0).astype(np.float32) for side in sides)


def sqrtm_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """FID as other tools compute it: scipy's square root of the product of the covariances."""
    from scipy.linalg import sqrtm

    generated, real = generated.astype(np.float64), real.astype(np.float64)
    covariances = [np.cov(side, rowvar=False) for side in (generated, real)]
    between = generated.mean(axis=0) - real.mean(axis=0)
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    return float(between @ between + sum(map(np.trace, covariances)) - 2 * np.trace(root))


def true_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """FID in NumPy's long double, 64 bits of mantissa on x86.

    tr sqrt(S_g S_r) is the sum of the square roots of the eigenvalues of B S_g B^T, where S_r = B^T B. LAPACK has no
    long double: the vectors are found in float64, and the values from them as Rayleigh quotients, whose error is the
    square of the vectors' own.
    """
    generated, real = generated.astype(np.longdouble), real.astype(np.longdouble)
    factors = [(side - side.mean(axis=0)) / np.sqrt(np.longdouble(len(side) - 1)) for side in (generated, real)]
    product = factors[0] @ factors[1].T
    inner = product.T @ product
    vectors = np.linalg.eigh(inner.astype(np.float64))[1].astype(np.longdouble)
    values = (vectors * (inner @ vectors)).sum(axis=0) / np.square(vectors).sum(axis=0)
    values = np.sort(values)[1:]  # the centred real images are one fewer in rank
    between = generated.mean(axis=0) - real.mean(axis=0)
    traces = sum(np.square(factor).sum() for factor in factors)
    return float(between @ between + traces - 2 * np.sqrt(np.clip(values, 0, None)).sum())


def our_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """FID by `monet.scoring.mifid`."""
    from monet.scoring.mifid import frechet_distance  # here, so that its import is no part of the others' memory

    return frechet_distance(generated, real)


METHODS = {"ours": our_distance, "sqrtm": sqrtm_distance, "truth": true_distance}


def in_own_process(method: str) -> dict:
    """The FID by a method, its seconds and its process's peak memory in GiB."""
    said = subprocess.run(module_command("benchmark.score", method), env=module_environment(), check=True,
                          capture_output=True, text=True).stdout
    return json.loads(said)


def digits(found: float, truth: float) -> float:
    """How many decimal digits of `found` are right."""
    return float(-np.log10(max(abs(found / truth - 1), 1e-17)))


def fid_rows(data) -> list[Row]:
    """FID of 300 against 7,000 images: seconds, right digits and memory, ours and sqrtm's in turn."""
    truth = in_own_process("truth")["fid"]
    pairs = [(in_own_process("ours"), in_own_process("sqrtm")) for _ in range(PAIRS)]
    ours, peer = zip(*pairs, strict=True)

    def row(name: str, claim: str, unit: str, value) -> Row:
        return Row(name, claim, unit, [value(one) for one in ours], "sqrtm's", tuple(value(one) for one in peer))

    return [row("fid", "at least 50 times as fast as sqrtm (0.02 of its time)", "s", lambda one: one["seconds"]),
            row("fid accuracy", "no less accurate than sqrtm", "digits", lambda one: digits(one["fid"], truth)),
            row("fid memory", "under 1 GiB", "GiB", lambda one: one["memory_gib"])]


def write_submission(path: Path) -> None:
    """A submission of `GENERATED` JPEGs with noise in them, of which no two have the same bytes."""
    random, encoded = np.random.default_rng(0), []
    for _ in range(PICTURES):
        file = io.BytesIO()
        pixels = random.integers(0, 256, [64, 64, 3], np.uint8)
        Image.fromarray(pixels).resize((256, 256)).save(file, "JPEG", quality=95)
        encoded.append(file.getvalue())
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(GENERATED):  # a decoder ignores what follows the picture's end
            archive.writestr(f"{number:04d}.jpg", encoded[number % PICTURES] + number.to_bytes(4, "big"))


def fill_cache(path: Path, weights: Path, features: np.ndarray) -> None:
    """Puts features of the images at `path` into the cache, in parts as a run leaves them."""
    from scoring.cache import FeatureCache
    from scoring.sources import open_source

    from monet.scoring.inception_weights import digest_of

    source, cache = open_source(str(path)), FeatureCache(digest_of(str(weights)))
    for start in range(0, len(source.names), PART):
        part = range(start, min(start + PART, len(source.names)))
        cache.add([source.digest(at) for at in part], features[start:part.stop], [""] * len(part))


def seconds_of_process(command: list[str], environment: dict[str, str]) -> float:
    """How long the command takes."""
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.monotonic() - started


def second_run_row(data) -> Row:
    """Seconds of tools/mifid.py on a submission of 7,000 images that it knows, less those that its start takes."""
    with tempfile.TemporaryDirectory() as name:
        folder, tool = Path(name), TOOLS / "mifid.py"
        environment = module_environment(XDG_CACHE_HOME=name)
        (folder / "weights.pth").write_bytes(np.random.default_rng(0).bytes(WEIGHTS_BYTES))
        np.savez(folder / "real.npz", features=made_features()[1])
        write_submission(folder / "images.zip")
        filling = module_command("benchmark.score", FILL, folder / "images.zip", folder / "weights.pth")
        seconds_of_process(filling, environment)
        run = [sys.executable, str(tool), str(folder / "images.zip"), "--reference", str(folder / "real.npz"),
               "--weights", str(folder / "weights.pth"), "--json"]
        seconds_of_process(run, environment)  # the first run, which checks the zip
        start = statistics.median(seconds_of_process([*run[:2], "--help"], environment) for _ in range(PAIRS))
        seconds = [seconds_of_process(run, environment) - start for _ in range(PAIRS)]
    return Row("second-run", "the same 7,000 images again in under 3 s beyond start-up", "s", seconds)


SCORE_ROWS = {"fid": fid_rows, "second-run": second_run_row}


def main() -> None:
    """Computes one FID, or fills a cache."""
    generated, real = made_features()
    if sys.argv[1] == FILL:
        fill_cache(Path(sys.argv[2]), Path(sys.argv[3]), generated)
        return
    method = METHODS[sys.argv[1]]
    method(generated[:9, :4], real[:9, :4])  # what it imports and starts is no part of the arithmetic
    started = time.monotonic()
    found = method(generated, real)
    print(json.dumps({"fid": found, "seconds": time.monotonic() - started, "memory_gib": peak_memory_gib()}))


if __name__ == "__main__":
    main()
