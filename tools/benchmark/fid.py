"""FID from features, ours and its peers: python -m benchmark.fid ours|sqrtm|exact.

Computes one FID of made-up features; prints it as JSON with its seconds and the process's peak memory.
"""

import json
import sys

from console import run_tool

import numpy as np
from benchmark.measure import peak_memory_gib, seconds_of

GENERATED, REFERENCES, WIDTH = 7000, 300, 2048  # features: images of either side, numbers per image
FACTORS = 400  # that the features of all images share, beside noise of their own


def made_features(generated: int = GENERATED) -> tuple[np.ndarray, np.ndarray]:
    """Returns features of `generated` and of `REFERENCES` images, float32 `[images, WIDTH]`.

    Like the network's, they have a falling spectrum and no negative values.
    """
    random = np.random.default_rng(0)
    mixing = random.normal(0, 1, [FACTORS, WIDTH]) * (np.arange(1, FACTORS + 1) ** -0.7)[:, None]
    sides = (random.normal(shift, 1, [count, FACTORS]) @ mixing * 0.1 + random.normal(0.4, 0.03, [count, WIDTH])
             for count, shift in ((generated, 0.05), (REFERENCES, 0.0)))
    return tuple(np.maximum(side, 0).astype(np.float32) for side in sides)


def sqrtm_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """Returns the FID as other tools compute it, with SciPy's square root of the product of the covariances."""
    from scipy.linalg import sqrtm

    generated, real = generated.astype(np.float64), real.astype(np.float64)
    covariances = [np.cov(side, rowvar=False) for side in (generated, real)]
    shift = generated.mean(axis=0) - real.mean(axis=0)
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    return float(shift @ shift + sum(map(np.trace, covariances)) - 2 * np.trace(root))


def exact_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """Returns the FID in NumPy's long double, which has a 64-bit mantissa on x86.

    tr sqrt(S_g S_r) is the sum of the square roots of the eigenvalues of B S_g B^T, where S_r = B^T B. LAPACK has no
    long double, so the eigenvectors come from float64, and the eigenvalues from them as Rayleigh quotients, whose error
    is the square of the vectors' error.
    """
    generated, real = generated.astype(np.longdouble), real.astype(np.longdouble)
    factors = [(side - side.mean(axis=0)) / np.sqrt(np.longdouble(len(side) - 1)) for side in (generated, real)]
    product = factors[0] @ factors[1].T
    gram = product.T @ product
    vectors = np.linalg.eigh(gram.astype(np.float64))[1].astype(np.longdouble)
    eigenvalues = (vectors * (gram @ vectors)).sum(axis=0) / np.square(vectors).sum(axis=0)
    eigenvalues = np.sort(eigenvalues)[1:]  # centering the real features lowered the rank by one
    shift = generated.mean(axis=0) - real.mean(axis=0)
    traces = sum(np.square(factor).sum() for factor in factors)
    return float(shift @ shift + traces - 2 * np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def our_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """Returns the FID by `monet.scoring.mifid`."""
    from monet.scoring.mifid import frechet_distance  # here, to keep its import out of the peers' memory

    return frechet_distance(generated, real)


METHODS = {"ours": our_distance, "sqrtm": sqrtm_distance, "exact": exact_distance}


def main() -> None:
    """Measures the method that the command line names."""
    distance, (generated, real) = METHODS[sys.argv[1]], made_features()
    distance(generated[:9, :4], real[:9, :4])  # imports and starts what it needs, outside the measurement
    results = []
    seconds = seconds_of(lambda: results.append(distance(generated, real)))
    print(json.dumps({"fid": results[0], "seconds": seconds, "memory_gib": peak_memory_gib()}))


if __name__ == "__main__":
    sys.exit(run_tool(main))
