"""Collects the wheels that a TPU kernel without internet installs, in kernel/tpu-wheels, to upload as a dataset.

    python tools/tpu_wheels.py [FOLDER]

The kernel recognizes the dataset below /kaggle/input by tensorflow-tpu's wheel, whatever the dataset's name.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from console import ROOT, home_path, run_tool

from kaggle_site.dataset import describe_dataset

from monet.core.errors import UserError, say
from monet.machine.tpu_environment import LEGACY_KERAS, TPU_PACKAGES

SLUG = "monet-tpu-wheels"
# Kaggle's TPU machine, whatever this one is: tensorflow-tpu has no build for later Pythons.
TARGET = ["--python-version", "3.12", "--implementation", "cp", "--only-binary", ":all:",
          *(word for tag in ("2_31", "2_28", "2_27", "2_17", "2_12", "2_5") for word in ("--platform",
                                                                                         f"manylinux_{tag}_x86_64")),
          "--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64"]


def download_wheels(folder: Path, packages: tuple[str, ...], *options: str) -> None:
    """Downloads the wheels of `packages` into `folder` with pip.

    Raises:
        UserError: if pip fails.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", *options, *TARGET,
               "--dest", str(folder), *packages]
    if subprocess.run(command).returncode:
        raise UserError("pip could not download the wheels, for the reason above. Check the network, then run `make "
                        "tpu-wheels` again.")


def main() -> None:
    """Downloads the wheels, and says how to upload them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=home_path, default=ROOT / "kernel" / "tpu-wheels",
                        help="folder for the wheels (default kernel/tpu-wheels)")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    say(f"Downloading {', '.join(TPU_PACKAGES[:2])} and their dependencies to {folder}, about 500 MB")
    download_wheels(folder, TPU_PACKAGES)
    download_wheels(folder, LEGACY_KERAS, "--no-deps")
    describe_dataset(folder, SLUG, "Monet TPU wheels")


if __name__ == "__main__":
    sys.exit(run_tool(main))
