"""What Kaggle's machine offers: data mounts, working folder, time limit, TPU. Standard library only."""

import contextlib
import glob
import os
from collections.abc import Iterator

from monet.core.errors import UserError

COMPETITION = "gan-getting-started"
MOUNT_DEPTH = 4  # folders below the input folder that are searched: input/competitions/NAME, input/datasets/OWNER/NAME
TPU_VARIABLES = ("TPU_NAME", "TPU_ACCELERATOR_TYPE", "ISTPUVM")  # any of them says that the machine has a TPU
GOOGLE = "0x1ae0"  # the maker of TPUs among PCI's vendors
# Minutes that a run may take, images.zip included: Kaggle stops it after 3 hours on a TPU and 5 hours elsewhere, the
# time to start the machine included.
TPU_MINUTES, OTHER_MINUTES = 170.0, 285.0


def kaggle_input() -> str:
    """The folder that Kaggle mounts data in; $MONET_KAGGLE_INPUT moves it, for tests."""
    return os.environ.get("MONET_KAGGLE_INPUT") or "/kaggle/input"


def kaggle_working() -> str | None:
    """The folder whose files Kaggle keeps as a kernel's output, or None when there is none: not on Kaggle."""
    folder = os.environ.get("MONET_KAGGLE_WORKING") or "/kaggle/working"
    return folder if os.path.isdir(folder) else None


def input_folders() -> Iterator[tuple[str, int, list[str], list[str]]]:
    """The folders below `kaggle_input()`, to `MOUNT_DEPTH`, but for those of images: (path, depth, names of the folders
    in it, names of the files in it)."""
    root = kaggle_input()
    for folder, names, files in os.walk(root, followlinks=True):
        depth = 0 if folder == root else os.path.relpath(folder, root).count(os.sep) + 1
        yield folder, depth, list(names), files
        if depth >= MOUNT_DEPTH:
            names.clear()  # os.walk goes into what is left here
        names[:] = [name for name in names if not name.endswith(("_tfrec", "_jpg"))]


def find_kaggle_mount() -> str | None:
    """The folder below `kaggle_input()` that holds monet_tfrec and photo_tfrec, or None.

    Kaggle has mounted the competition as input/NAME and as input/competitions/NAME. Of several such folders the
    competition's own is taken, then the one nearest the top, then the first by name.
    """
    found = [(os.path.basename(folder) != COMPETITION, depth, folder)
             for folder, depth, names, _ in input_folders() if {"monet_tfrec", "photo_tfrec"} <= set(names)]
    return min(found)[2] if found else None


def find_bucket() -> str | None:
    """The gs:// address of the competition's data, as Kaggle's own `kaggle_datasets` says it; None where there is no
    such package, or it names no bucket (on a TPU VM it names the mount).

    Raises:
        UserError: if the package is there and fails.
    """
    try:
        from kaggle_datasets import KaggleDatasets  # here, because it is on Kaggle's images only
    except ImportError:
        return None
    try:
        address = KaggleDatasets().get_gcs_path(COMPETITION)
    except Exception as error:  # the package documents none of its own
        raise UserError(f"No images are below {kaggle_input()}, and KaggleDatasets().get_gcs_path() failed ({error}). "
                        "Attach the competition: competition_sources in kernel-metadata.json.") from error
    return address if address.startswith("gs://") else None


def find_kaggle_data() -> str:
    """The folder or gs:// address of the competition's images on Kaggle.

    Raises:
        UserError: if there are none.
    """
    found = find_kaggle_mount() or find_bucket()
    if not found:
        raise UserError(f"No folder below {kaggle_input()} holds monet_tfrec and photo_tfrec. Attach the competition's "
                        f"data: \"competition_sources\": [\"{COMPETITION}\"] in kernel-metadata.json, or Add Input on "
                        "the kernel's page.")
    return found


def of_another_maker(group: str, groups: str) -> bool:
    """Whether the kernel says, below `groups`, that none of the devices behind the file vfio/`group` is Google's: a
    graphics card, say, that is lent to a virtual machine."""
    vendors = []
    for path in glob.glob(os.path.join(groups, group, "devices", "*", "vendor")):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            vendors.append(file.read().strip())
    return bool(vendors) and GOOGLE not in vendors


def tpu_devices(root: str = "/dev", groups: str = "/sys/kernel/iommu_groups") -> list[str]:
    """The device files of the TPU's chips, accel0 or vfio/0 and so on; `root` and `groups` move the folders of the
    machine's devices, for tests. (The folder accel/ is that of other makers' accelerators, as in many laptops.)"""
    numbered = [path for path in glob.glob(os.path.join(root, "vfio", "*"))
                if os.path.basename(path).isdigit() and not of_another_maker(os.path.basename(path), groups)]
    return sorted(glob.glob(os.path.join(root, "accel[0-9]*")) + numbered)


def tpu_expected(root: str = "/dev") -> bool:
    """Whether this machine, by its environment and its device files below `root`, has a TPU."""
    return any(os.environ.get(name) for name in TPU_VARIABLES) or bool(tpu_devices(root))


def time_limit(minutes: float) -> float:
    """The minutes that a run on Kaggle gets: `minutes`, or if that is 0, what the machine's accelerator allows."""
    return minutes or (TPU_MINUTES if tpu_expected() else OTHER_MINUTES)
