"""What Kaggle's machine offers: where the data is mounted and where output goes. Standard library only."""

import os

COMPETITION = "gan-getting-started"
MOUNT_DEPTH = 4  # folders below the input folder that are searched: input/competitions/NAME, input/datasets/OWNER/NAME


def kaggle_input() -> str:
    """The folder that Kaggle mounts data in; $MONET_KAGGLE_INPUT moves it, for tests."""
    return os.environ.get("MONET_KAGGLE_INPUT") or "/kaggle/input"


def kaggle_working() -> str | None:
    """The folder whose files Kaggle keeps as a kernel's output, or None when there is none: not on Kaggle."""
    folder = os.environ.get("MONET_KAGGLE_WORKING") or "/kaggle/working"
    return folder if os.path.isdir(folder) else None


def find_kaggle_mount() -> str | None:
    """The folder below `kaggle_input()` that holds monet_tfrec and photo_tfrec, or None.

    Kaggle has mounted the competition as input/NAME and as input/competitions/NAME. Of several such folders the
    competition's own is taken, then the one nearest the top, then the first by name.
    """
    root = kaggle_input()
    found = []
    for folder, names, _ in os.walk(root):
        depth = 0 if folder == root else os.path.relpath(folder, root).count(os.sep) + 1
        if {"monet_tfrec", "photo_tfrec"} <= set(names):
            found.append((os.path.basename(folder) != COMPETITION, depth, folder))
        if depth >= MOUNT_DEPTH:
            names.clear()  # os.walk goes into what is left here
        names[:] = [name for name in names if not name.endswith(("_tfrec", "_jpg"))]
    return min(found)[2] if found else None
