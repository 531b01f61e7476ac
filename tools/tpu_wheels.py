"""Gathers the wheels that a TPU kernel without internet installs: kernel/tpu-wheels, to be uploaded as a dataset.

    python tools/tpu_wheels.py [FOLDER]

The kernel finds them below /kaggle/input, whatever the dataset is called, by the name of tensorflow-tpu's wheel.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from console import ROOT
from kaggle_site.client import stored_user
from kaggle_site.metadata import FILE_NAME, PLACEHOLDER, write_text

from monet.core.errors import UserError, say
from monet.machine.tpu_environment import LEGACY_KERAS, TPU_PACKAGES

SLUG = "monet-tpu-wheels"
# What Kaggle's TPU machine takes, whatever this one is: tensorflow-tpu is built for no later Python.
TARGET = ["--python-version", "3.12", "--implementation", "cp", "--only-binary", ":all:",
          *(word for tag in ("2_31", "2_28", "2_27", "2_17", "2_12", "2_5") for word in ("--platform",
                                                                                         f"manylinux_{tag}_x86_64")),
          "--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64"]


def gather(folder: Path, packages: tuple[str, ...], *options: str) -> None:
    """Downloads the wheels of `packages` into `folder` with pip.

    Raises:
        UserError: if pip fails.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", *options, *TARGET,
               "--dest", str(folder), *packages]
    if subprocess.run(command).returncode:
        raise UserError("pip could not download the wheels; it says above why. Check the network, then run `make "
                        "tpu-wheels` again.")


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "kernel" / "tpu-wheels", help="where to")
    folder = parser.parse_args().folder
    identity = f"{stored_user() or PLACEHOLDER}/{SLUG}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        say(f"Downloading {', '.join(TPU_PACKAGES[:2])} and what they need into {folder}, some 500 MB")
        gather(folder, TPU_PACKAGES)
        gather(folder, LEGACY_KERAS, "--no-deps")
        write_text(folder / "dataset-metadata.json", json.dumps(
            {"title": "Monet TPU wheels", "id": identity, "licenses": [{"name": "other"}]}, indent=2) + "\n")
    except UserError as error:
        say(f"error: {error}")
        return 2
    if identity.startswith(PLACEHOLDER):
        say(f"Put your Kaggle user name in place of {PLACEHOLDER} in {folder / 'dataset-metadata.json'}.")
    say(f"Upload them: kaggle datasets create -p {folder}\nThen, in {FILE_NAME}, add \"{identity}\" to "
        "dataset_sources and set enable_internet to false.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
