"""Which files hold the paintings and which the photos: in a folder, local or on gs://, or in a TensorFlow dataset."""

import os
import re

import tensorflow as tf

from monet.core.errors import UserError
from monet.data.tfds import TFDS, find_tfds

# Kind of files, folder of the paintings, folder of the photos; the first complete one is taken.
# The CycleGAN data sets (monet2photo, vangogh2photo) have the paintings in trainA.
LAYOUTS = (
    ("tfrec", "monet_tfrec", "photo_tfrec"),
    ("images", "monet_jpg", "photo_jpg"),
    ("images", "trainA", "trainB"),
)
ARRAYS = ("monet.npy", "photo.npy")  # each is taken before the folders of its side: nobody has one there by chance
SUFFIXES = {"tfrec": (".tfrec",), "images": (".jpg", ".jpeg", ".png")}  # compared in lower case
Side = tuple[str, tuple[str, ...]]  # the kind of the files ("tfrec", "images", "npy" or "tfds"), and the files


def list_files(kind: str, folder: str) -> tuple[str, ...]:
    """The files of `kind` in `folder`, sorted; hidden ones, and a folder that is not there, give none."""
    pattern = tf.io.gfile.join(re.sub(r"([*?\[\\])", r"\\\1", folder), "*")
    paths = sorted(tf.io.gfile.glob(pattern))
    return tuple(path for path in paths
                 if path.lower().endswith(SUFFIXES[kind]) and not os.path.basename(path).startswith("."))


def layout_names() -> str:
    """The known layouts in words, for messages."""
    folders = [f"{first}/ and {second}/" for _, first, second in LAYOUTS]
    return " or ".join([*folders, " and ".join(ARRAYS)])


def nothing_found(root: str) -> UserError:
    """The reason why no layout was found below `root`, and what may have been meant."""
    if not tf.io.gfile.exists(root):
        return UserError(f"There is no folder {root}. Check --data; a TensorFlow dataset is {TFDS}NAME.")
    if not tf.io.gfile.isdir(root):
        return UserError(f"{root} is a file. Give --data the folder that holds {layout_names()}.")
    folders = {folder for _, *pair in LAYOUTS for folder in pair}
    if os.path.basename(root) in folders:
        return UserError(f"{root} is one side of the data only. Give --data the folder above it.")
    children = (tf.io.gfile.join(root, child.rstrip("/")) for child in sorted(tf.io.gfile.listdir(root)))
    for child in children:
        if any(tf.io.gfile.exists(tf.io.gfile.join(child, name)) for name in (*folders, *ARRAYS)):
            return UserError(f"{root} holds no images itself, but {child} seems to. Give --data {child}.")
    return UserError(f"{root} holds no images in a known layout. It must hold {layout_names()}, the first with "
                     f"paintings, the second with photos, as .tfrec files, as .jpg, .jpeg or .png pictures, or each "
                     "side as one .npy array.")


def find_side(root: str, array: str, kind: str, folder: str) -> Side:
    """The .npy file `array` in `root`, if it is there, else the files of `kind` in `folder` there, perhaps none."""
    path = tf.io.gfile.join(root, array)
    if tf.io.gfile.exists(path):
        return "npy", (path,)
    return kind, list_files(kind, tf.io.gfile.join(root, folder))


def find_folder(root: str) -> tuple[Side, Side]:
    """The paintings and the photos of the first complete layout in the folder `root`.

    Raises:
        UserError: if there is none.
    """
    half = None
    for kind, *folders in LAYOUTS:
        sides = [find_side(root, array, kind, folder) for array, folder in zip(ARRAYS, folders, strict=True)]
        present = [bool(files) for _, files in sides]
        if all(present):
            return sides[0], sides[1]
        if any(present) and half is None:
            there, missing = present.index(True), present.index(False)
            name = ARRAYS[there] if sides[there][0] == "npy" else f"{folders[there]}/"
            half = UserError(f"{root} holds {name}, but {folders[missing]}/ is missing or holds no "
                             f"{' or '.join(SUFFIXES[kind])} file, and there is no {ARRAYS[missing]}. Training needs "
                             "both sides: add it.")
    raise half or nothing_found(root)


def find_layout(root: str) -> tuple[str, Side, Side]:
    """The folder that `root` stands for, its paintings and its photos.

    Args:
        root: A folder that holds one of `LAYOUTS` or `ARRAYS`, or the address of a TensorFlow dataset.

    Raises:
        UserError: if there is nothing to train on; as `find_tfds`.
    """
    if root.startswith(TFDS):
        folder, paintings, photos = find_tfds(root)
        return folder, ("tfds", paintings), ("tfds", photos)
    return root, *find_folder(root)
