"""Finds the files of both domains: in a folder, local or on gs://, or in a TensorFlow dataset."""

import os
import re

import tensorflow as tf

from monet.core.config import look_up
from monet.core.errors import UserError
from monet.data.tfds import find_tfds

# (kind of files, folder of the paintings, folder of the photos). The first complete layout is used.
# In the CycleGAN datasets (monet2photo, vangogh2photo), trainA contains the paintings.
LAYOUTS = (
    ("tfrec", "monet_tfrec", "photo_tfrec"),
    ("images", "monet_jpg", "photo_jpg"),
    ("images", "trainA", "trainB"),
)
ARRAYS = ("monet.npy", "photo.npy")  # take precedence over the folders: nobody has such a file by accident
SUFFIXES = {"tfrec": (".tfrec",), "images": (".jpg", ".jpeg", ".png")}  # lower case
CATALOGUES = {"tfds": find_tfds}  # by the scheme of an address, such as tfds:NAME
DomainFiles = tuple[str, tuple[str, ...]]  # key of FORMATS, and the files


def list_files(kind: str, folder: str) -> tuple[str, ...]:
    """Returns the files of `kind` in `folder`, sorted, without hidden files; empty if there is no such folder."""
    pattern = tf.io.gfile.join(re.sub(r"([*?\[\\])", r"\\\1", folder), "*")
    paths = sorted(tf.io.gfile.glob(pattern))
    return tuple(path for path in paths
                 if path.lower().endswith(SUFFIXES[kind]) and not os.path.basename(path).startswith("."))


def layout_names() -> str:
    """Returns the known layouts in words, for messages."""
    folders = [f"{first}/ and {second}/" for _, first, second in LAYOUTS]
    return " or ".join([*folders, " and ".join(ARRAYS)])


def no_layout_error(root: str) -> UserError:
    """Returns the error for a `root` without a known layout, with a guess at what was meant."""
    if not tf.io.gfile.exists(root):
        return UserError(f"There is no folder {root}. Check --data; a TensorFlow dataset is tfds:NAME.")
    if not tf.io.gfile.isdir(root):
        return UserError(f"{root} is a file. Give --data the folder that contains {layout_names()}.")
    folders = {folder for _, *pair in LAYOUTS for folder in pair}
    if os.path.basename(root) in folders:
        return UserError(f"{root} is only one of the two sets. Give --data the folder above it.")
    children = (tf.io.gfile.join(root, child.rstrip("/")) for child in sorted(tf.io.gfile.listdir(root)))
    for child in children:
        if any(tf.io.gfile.exists(tf.io.gfile.join(child, name)) for name in (*folders, *ARRAYS)):
            return UserError(f"{root} contains no images itself, but {child} seems to. Give --data {child}.")
    return UserError(f"{root} contains no images in a known layout. It must contain {layout_names()}, the first with "
                     f"paintings, the second with photos, as .tfrec files, as .jpg, .jpeg or .png images, or each set "
                     "as one .npy array.")


def find_domain(root: str, array: str, kind: str, folder: str) -> DomainFiles:
    """Returns the .npy file `array` in `root` if it exists, else the files of `kind` in `folder` there, if any."""
    path = tf.io.gfile.join(root, array)
    if tf.io.gfile.exists(path):
        return "npy", (path,)
    return kind, list_files(kind, tf.io.gfile.join(root, folder))


def find_folder(root: str) -> tuple[DomainFiles, DomainFiles]:
    """Returns the paintings and the photos of the first complete layout in the folder `root`.

    Raises:
        UserError: if there is none.
    """
    incomplete = None
    for kind, *folders in LAYOUTS:
        domains = [find_domain(root, array, kind, folder) for array, folder in zip(ARRAYS, folders, strict=True)]
        present = [bool(files) for _, files in domains]
        if all(present):
            return domains[0], domains[1]
        if any(present) and incomplete is None:
            there, missing = present.index(True), present.index(False)
            name = ARRAYS[there] if domains[there][0] == "npy" else f"{folders[there]}/"
            incomplete = UserError(f"{root} contains {name}, but {folders[missing]}/ is missing or has no "
                                   f"{' or '.join(SUFFIXES[kind])} file, and there is no {ARRAYS[missing]}. Training "
                                   "needs both sets: add the missing one.")
    raise incomplete or no_layout_error(root)


OTHER_LAYOUTS = {"folder": find_folder}  # apart from the competition's, for which a bundle may be made


def find_competition(root: str) -> list[DomainFiles] | None:
    """Returns the paintings and the photos of the competition's TFRecords in `root`; None if it holds others."""
    _, *folders = LAYOUTS[0]
    domains = [("tfrec", list_files("tfrec", tf.io.gfile.join(root, folder))) for folder in folders]
    has_arrays = any(tf.io.gfile.exists(tf.io.gfile.join(root, array)) for array in ARRAYS)
    return domains if all(files for _, files in domains) and not has_arrays else None


def find_layout(root: str) -> tuple[str, DomainFiles, DomainFiles]:
    """Returns the folder that `root` stands for, its paintings and its photos.

    Args:
        root: a folder with one of `LAYOUTS` or `ARRAYS`, or the address of a TensorFlow dataset.

    Raises:
        UserError: if there is nothing to train on, or this is a bundle that cannot read it; as `find_tfds`.
    """
    scheme = root.partition(":")[0]
    if scheme in CATALOGUES:
        folder, paintings, photos = look_up(CATALOGUES, scheme, "data")(root)
        return folder, (scheme, paintings), (scheme, photos)
    return root, *(find_competition(root) or look_up(OTHER_LAYOUTS, "folder", "data")(root))
