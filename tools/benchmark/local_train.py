"""Rows of `make bench` about a first `make local-train`: drawing the sample, then the whole run."""

import tempfile
import time
from pathlib import Path

from benchmark.measure import seconds_of
from benchmark.process import output_of
from benchmark.rows import Row
from sample.dataset import write_sample


def sample_rows(data) -> list[Row]:
    """Seconds to draw the built-in sample."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = seconds_of(lambda: write_sample(Path(folder) / "sample"))
    return [Row("sample", "drawn in under a minute", "s", [seconds])]


def local_train_rows(data, *arguments: str) -> list[Row]:
    """Minutes and peak memory of `make local-train` without the install; `arguments` are more options of the run."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        output = output_of("benchmark.monet_memory", "run", "--preset", "cpu", "--data", data.root, "--out", folder,
                           *arguments)
        minutes = (time.monotonic() - started) / 60
    return [Row("local-train", "7,000 images in under 15 minutes", "min", [minutes]),
            Row("local-train memory", "at most 4 GiB", "GiB", [float(output.split()[-1])])]


LOCAL_TRAIN_ROWS = {"sample": sample_rows, "local-train": local_train_rows}
