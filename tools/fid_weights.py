"""Puts the FID Inception's weights into kernel/fid-weights, to upload as a dataset for kernels without internet.

    python tools/fid_weights.py [FOLDER]

They are those in the user's cache, or are downloaded there first. A kernel with `--select-by mifid` recognizes the
dataset below /kaggle/input by the file's name, and checks its digest. With internet it downloads the file by itself.
"""

import argparse
import shutil
import sys
from pathlib import Path

from console import ROOT, home_path, run_tool

from kaggle_site.dataset import describe_dataset

from monet.core.errors import UserError
from monet.core.files import atomic_write
from monet.scoring.inception_weights import INCEPTION_WEIGHTS, PublishedFile, cached_path, find_weights

SLUG = "monet-fid-weights"


def gather(folder: Path, published: PublishedFile = INCEPTION_WEIGHTS) -> None:
    """Copies the weights into `folder` and makes it a dataset.

    Raises:
        UserError: if they cannot be had, or are not the published ones.
    """
    weights = find_weights(published=published)
    if weights.note:
        raise UserError(f"{weights.path} holds {weights.note}. A kernel would refuse it. Name no other weights.")
    with atomic_write(str(folder / Path(cached_path(published)).name)) as temporary:
        shutil.copyfile(weights.path, temporary)
    describe_dataset(folder, SLUG, "Monet FID weights")


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=home_path, default=ROOT / "kernel" / "fid-weights",
                        help="folder for the file (default kernel/fid-weights)")
    gather(parser.parse_args().folder)


if __name__ == "__main__":
    sys.exit(run_tool(main))
