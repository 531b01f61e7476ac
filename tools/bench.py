"""Measures the figures of tools/README.md, each beside its peer: `make bench`, or python tools/bench.py [ROW …].

Ours and the peer are measured in turn, so that a machine that slows down slows both. The table shows the median of
their ratios, with the lowest and the highest. bench.json holds all values.
"""

import argparse
import functools
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from console import run_tool

from benchmark.features import FEATURE_ROWS
from benchmark.images import IMAGE_ROWS
from benchmark.local_train import LOCAL_TRAIN_ROWS
from benchmark.quality import quality_rows
from benchmark.rows import Row
from benchmark.scaling import SCALING_ROWS
from benchmark.score import SCORE_ROWS
from benchmark.step import STEP_ROWS
from find_data import default_data

from monet.core.errors import UserError, suggest_names

RESULTS = Path("bench.json")


def accelerator_rows(data) -> list[Row]:
    """Returns the rows of a TPU or GPU; without one, a row that says so."""
    from benchmark import accelerator  # here, because TensorFlow takes seconds to load

    if accelerator.has_accelerator():
        return accelerator.accelerator_rows(data)
    return [Row("accelerator", "number formats, XLA, steps a call, batch 1 to 64", "", [], "needs a TPU or GPU")]


ROWS = {**IMAGE_ROWS, **LOCAL_TRAIN_ROWS, **STEP_ROWS, **SCALING_ROWS, **SCORE_ROWS, **FEATURE_ROWS,
        "quality": quality_rows, "accelerator": accelerator_rows}


def measure(names: list[str], data: str, reference: str = "") -> None:
    """Measures rows; prints each and rewrites bench.json as soon as it is measured.

    Args:
        names: of the rows; empty: all.
        data: images to train on; empty: those of `make local-train`.
        reference: of the row `quality`.

    Raises:
        UserError: if a name is unknown or the data cannot be read.
    """
    for name in names:
        if name not in ROWS:
            raise UserError(f"There is no row {name}. {suggest_names(name, ROWS)}")
    root = default_data(data)
    from monet.data.validation import find_data  # here, because TensorFlow takes seconds to load

    images, measured = find_data(root), []
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {images.describe()}\n")
    print("| row | claim | ours | peer | ratio, median (lowest to highest) |\n|---|---|---|---|---|", flush=True)
    rows = {**ROWS, "quality": functools.partial(quality_rows, reference=reference)}
    for name in names or rows:
        for row in rows[name](images):
            measured.append(row)
            print(row.line(), flush=True)
        RESULTS.write_text(json.dumps([asdict(row) for row in measured], indent=2) + "\n", encoding="utf-8")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"any of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--data", type=os.path.expanduser, default="", help="images, as DATA of make local-train "
                        "(default: the same)")
    parser.add_argument("--reference", type=os.path.expanduser, default="", metavar="PATH", help="for the row quality: "
                        "zip or folder of paintings that are not in the data; without it, that row is left out")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measures what the command line `argv` (default: the process's) names.

    Raises:
        UserError: as `measure`.
    """
    options = parse_arguments(argv)
    measure(options.rows, options.data, options.reference)


if __name__ == "__main__":
    sys.exit(run_tool(main, "Interrupted. The rows above are also in bench.json."))
