"""Kaggle's machine: mounted data, output folder, time limit, TPU detection. Standard library only."""

import contextlib
import glob
import os
import socket
from collections.abc import Iterator

from monet.core.errors import UserError

COMPETITION = "gan-getting-started"
MOUNT_DEPTH = 4  # folder levels searched below the input folder: input/competitions/NAME, input/datasets/OWNER/NAME
TPU_VARIABLES = ("TPU_NAME", "TPU_ACCELERATOR_TYPE", "ISTPUVM")  # any of them is set on a machine with a TPU
GOOGLE_VENDOR = "0x1ae0"  # Google's PCI vendor ID, on TPUs
# Time limit of a run in minutes, images.zip included. Kaggle stops a run after 3 hours on a TPU and 5 hours elsewhere,
# including the time to start the machine.
TPU_MINUTES, OTHER_MINUTES = 170.0, 285.0
SMOKE_REPORT = "smoke.json"  # output file of a smoke run
INTERNET_SECONDS = 5.0  # for another machine to answer


def kaggle_input() -> str:
    """Returns the folder that Kaggle mounts data in; tests move it with $MONET_KAGGLE_INPUT."""
    return os.environ.get("MONET_KAGGLE_INPUT") or "/kaggle/input"


def kaggle_working() -> str | None:
    """Returns the folder that Kaggle keeps as the kernel's output, or None if it does not exist (not on Kaggle)."""
    folder = os.environ.get("MONET_KAGGLE_WORKING") or "/kaggle/working"
    return folder if os.path.isdir(folder) else None


def input_folders() -> Iterator[tuple[str, int, list[str], list[str]]]:
    """Walks `kaggle_input()` down to `MOUNT_DEPTH`, without folders of images.

    Yields:
        Tuples of (path, depth, names of subfolders, names of files).
    """
    root = kaggle_input()
    for folder, names, files in os.walk(root, followlinks=True):
        depth = 0 if folder == root else os.path.relpath(folder, root).count(os.sep) + 1
        yield folder, depth, list(names), files
        if depth >= MOUNT_DEPTH:
            names.clear()  # os.walk descends only into the folders that remain in this list
        names[:] = [name for name in names if not name.endswith(("_tfrec", "_jpg"))]


def find_kaggle_mount() -> str | None:
    """Returns the folder below `kaggle_input()` that contains monet_tfrec and photo_tfrec, or None.

    Kaggle has mounted the competition both as input/NAME and as input/competitions/NAME. Of several such folders, the
    one with the competition's name wins, then the one closest to the top, then the first in alphabetical order.
    """
    candidates = [(os.path.basename(folder) != COMPETITION, depth, folder)
                  for folder, depth, names, _ in input_folders() if {"monet_tfrec", "photo_tfrec"} <= set(names)]
    return min(candidates)[2] if candidates else None


def find_bucket() -> str | None:
    """Returns the gs:// address of the competition's data from Kaggle's `kaggle_datasets` package.

    None if the package is not installed or returns no bucket (on a TPU VM it returns the mount).

    Raises:
        UserError: if the package fails.
    """
    try:
        from kaggle_datasets import KaggleDatasets  # only installed on Kaggle's images
    except ImportError:
        return None
    try:
        address = KaggleDatasets().get_gcs_path(COMPETITION)
    except Exception as error:  # the package documents no exceptions
        raise UserError(f"There are no images below {kaggle_input()}, and KaggleDatasets().get_gcs_path() failed "
                        f"({error}). Attach the competition: competition_sources in kernel-metadata.json.") from error
    return address if address.startswith("gs://") else None


def find_kaggle_data() -> str:
    """Returns the folder or gs:// address of the competition's images on Kaggle.

    Raises:
        UserError: if there are none.
    """
    data = find_kaggle_mount() or find_bucket()
    if not data:
        raise UserError(f"No folder below {kaggle_input()} contains monet_tfrec and photo_tfrec. Attach the "
                        f"competition's data: \"competition_sources\": [\"{COMPETITION}\"] in kernel-metadata.json, or "
                        "Add Input on the kernel's page.")
    return data


def vfio_vendors(group: str, groups_root: str) -> set[str]:
    """Returns the PCI vendor IDs of the devices behind the device file vfio/`group`, as far as Linux lists them."""
    vendors = set()
    for path in glob.glob(os.path.join(groups_root, group, "devices", "*", "vendor")):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            vendors.add(file.read().strip())
    return vendors


def tpu_devices(root: str = "/dev", groups_root: str = "/sys/kernel/iommu_groups") -> list[str]:
    """Returns the device files of the TPU's chips: accel0, ... or vfio/0, ...

    A vfio device whose vendors are known and do not include Google is something else, such as a graphics card that is
    passed through to a virtual machine. The folder accel/ belongs to other vendors' accelerators, as in many laptops.

    Args:
        root: folder of the device files; tests move it.
        groups_root: folder of the IOMMU groups; tests move it.
    """
    chips = glob.glob(os.path.join(root, "accel[0-9]*"))
    for path in glob.glob(os.path.join(root, "vfio", "*")):
        group = os.path.basename(path)
        if group.isdigit():
            vendors = vfio_vendors(group, groups_root)
            if not vendors or GOOGLE_VENDOR in vendors:
                chips.append(path)
    return sorted(chips)


def has_tpu(root: str = "/dev") -> bool:
    """Returns whether environment variables or device files below `root` indicate a TPU."""
    return any(os.environ.get(name) for name in TPU_VARIABLES) or bool(tpu_devices(root))


def time_limit(minutes: float) -> float:
    """Returns the time limit of a run on Kaggle: `minutes`, or the accelerator's limit if that is 0."""
    return minutes or (TPU_MINUTES if has_tpu() else OTHER_MINUTES)


def has_internet() -> bool:
    """Returns whether the kernel's internet is on; tests name another machine in $MONET_INTERNET_HOST, as host:port."""
    host, _, port = (os.environ.get("MONET_INTERNET_HOST") or "github.com:443").partition(":")
    try:
        socket.create_connection((host, int(port)), INTERNET_SECONDS).close()
    except OSError:
        return False
    return True


def table_text(rows: list[list[str]]) -> str:
    """Returns rows of a name and a text as lines with the texts below each other."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)
