"""Draws the built-in sample: landscape "photos" and "paintings" of other landscapes, as the competition's TFRecords.

    python tools/sample_data.py FOLDER [--seed N] [--monet N] [--photo N]

For people without data and without a Kaggle account. No photo or painting was used. The same seed draws the same bytes.
"""

import argparse
import sys
from collections.abc import Callable

from console import home_path, run_tool

from sample.dataset import NUM_MONET, NUM_PHOTO, write_sample

from monet.core.errors import UserError


def whole_number(minimum: int) -> Callable[[str], int]:
    """Returns an argparse type: a whole number of at least `minimum`."""
    def parse(text: str) -> int:
        number = int(text)
        if number < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}")
        return number
    return parse


def main(argv: list[str] | None = None) -> None:
    """Draws the sample into the folder given on the command line."""
    parser = argparse.ArgumentParser(description="Draw the built-in sample; it needs no data and no account.")
    parser.add_argument("folder", type=home_path, help="where to write it: a new or empty folder")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="the same seed draws the same pictures")
    parser.add_argument("--monet", type=whole_number(1), default=NUM_MONET, help="paintings (default %(default)s)")
    parser.add_argument("--photo", type=whole_number(1), default=NUM_PHOTO, help="photos (default %(default)s)")
    options = parser.parse_args(argv)
    try:
        write_sample(options.folder, options.seed, options.monet, options.photo)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}. Name a folder that can be written.") from error
    print(f"{options.folder}: {options.monet} paintings and {options.photo} photos, all drawn by this program")


if __name__ == "__main__":
    sys.exit(run_tool(main))
