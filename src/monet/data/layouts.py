"""Finds the files of both domains: in a folder, local or on gs://, or in a TensorFlow dataset."""

import contextlib
import os
import re

from monet.core.config import look_up
from monet.core.errors import LOG, UserError
from monet.core.file_names import JPEG_AND_PNG, OTHER_FORMATS, PAINTED_FORMATS, has_suffix, list_names, unread_pictures
from monet.data.storage import is_folder, is_local, list_folder, path_exists
from monet.data.tfds import find_tfds

# (kind of files, folder of the paintings, folder of the photos). The first complete layout is used.
# In the CycleGAN datasets (monet2photo, vangogh2photo), trainA contains the paintings.
LAYOUTS = (
    ("tfrec", "monet_tfrec", "photo_tfrec"),
    ("images", "monet_jpg", "photo_jpg"),
    ("images", "trainA", "trainB"),
)
ARRAYS = ("monet.npy", "photo.npy")  # take precedence over the folders: nobody has such a file by accident
RECORD_NAME = re.compile(r"\.tfrec(ords?)?(-\d+-of-\d+)?$", re.IGNORECASE)
WANTED = {"tfrec": ".tfrec or .tfrecord", "images": ".jpg, .jpeg, .jpe, .jfif or .png"}  # in messages
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")  # lower case
CATALOGUES = {"tfds": find_tfds}  # by the scheme of an address, such as tfds:NAME
DomainFiles = tuple[str, tuple[str, ...]]  # key of FORMATS, and the files


def is_wanted(kind: str, name: str) -> bool:
    """Whether a file of this name is of that kind. Hidden files and folders, which end with a slash, are not."""
    if kind == "images":
        return has_suffix(name, JPEG_AND_PNG)
    return bool(RECORD_NAME.search(name)) and not name.startswith(".")


def list_files(kind: str, folder: str) -> tuple[str, ...]:
    """Returns the files of `kind` in `folder`, sorted; empty if there is no such folder.

    Raises:
        UserError: if some are links to files that do not exist.
    """
    names = [name for name in list_folder(folder) if is_wanted(kind, name)]
    dangling = [name for name in names if is_local(folder) and not os.path.exists(os.path.join(folder, name))]
    if dangling:
        raise UserError(f"{len(dangling):,} of {len(names):,} files in {folder} are links to files that do not exist: "
                        f"{list_names(dangling)}. Mount or restore what they point to, or delete the links to go on "
                        "without them.")
    return tuple(os.path.join(folder, name) for name in names)


def list_subfolder(folder: str) -> list[str]:
    """As `list_folder`, but also empty if the folder may not be read: nobody named it."""
    with contextlib.suppress(PermissionError):
        return list_folder(folder)
    return []


def unread_note(folder: str, read: tuple[str, ...] = JPEG_AND_PNG) -> str:
    """Says which pictures in `folder` are not read, for their format or because they lie in a subfolder; "" if none.

    Args:
        folder: a folder, which may be missing.
        read: the suffixes of the formats that are read.
    """
    names, notes = list_folder(folder), []
    unread = unread_pictures(names, read)
    if unread:
        notes.append(f"{folder} holds pictures of formats that are not read: {unread}. Save them as JPEG or PNG.")
    inner = {name: sum(has_suffix(picture, PAINTED_FORMATS + OTHER_FORMATS)
                       for picture in list_subfolder(os.path.join(folder, name)))
             for name in names if name.endswith("/")}
    deeper = [f"{count:,} in {name}" for name, count in inner.items() if count]
    if deeper:
        notes.append(f"{folder} holds pictures in subfolders, which are not read: {list_names(deeper)}. Move them up.")
    return " ".join(notes)


def layout_names() -> str:
    """Returns the known layouts in words, for messages."""
    folders = [f"{first}/ and {second}/" for _, first, second in LAYOUTS]
    return " or ".join([*folders, " and ".join(ARRAYS)])


def file_error(path: str) -> UserError:
    """Returns the error for a file in place of a folder."""
    if path.lower().endswith(ARCHIVES):
        return UserError(f"{path} is a file, not a folder: unpack it, and give --data the folder that then contains "
                         f"{layout_names()}.")
    if is_wanted("tfrec", os.path.basename(path)):
        return UserError(f"{path} is a file of one of the two sets. Put the paintings' files into monet_tfrec/ and the "
                         "photos' into photo_tfrec/, and give --data the folder above both.")
    return UserError(f"{path} is a file. Give --data the folder that contains {layout_names()}.")


def no_layout_error(root: str) -> UserError:
    """Returns the error for a `root` without a known layout, with a guess at what was meant."""
    if not path_exists(root):
        return UserError(f"There is no folder {root}. Check --data; a TensorFlow dataset is tfds:NAME.")
    if not is_folder(root):
        return file_error(root)
    folders = {folder for _, *pair in LAYOUTS for folder in pair}
    if os.path.basename(root) in folders:
        return UserError(f"{root} is only one of the two sets. Give --data the folder above it.")
    names = list_folder(root)
    children = [os.path.join(root, name.rstrip("/")) for name in names]
    deeper = [os.path.join(child, name.rstrip("/")) for child in children if is_local(root)
              for name in list_subfolder(child)]
    for child in children + deeper:
        if any(path_exists(os.path.join(child, name)) for name in (*folders, *ARRAYS)):
            return UserError(f"{root} contains no images itself, but {child} seems to. Give --data {child}.")
    return UserError(f"{root} contains no images in a known layout. It must contain {layout_names()}, the first with "
                     f"paintings, the second with photos, as {WANTED['tfrec']} files, as {WANTED['images']} images, or "
                     f"each set as one .npy array.{what_is_there(root, names)}")


def what_is_there(root: str, names: list[str]) -> str:
    """Says what the folder `root`, which holds these `names`, has instead of a known layout; "" if that is nothing."""
    archives = [name for name in names if name.lower().endswith(ARCHIVES)]
    if archives:
        return f" Does it have to be unpacked first: {list_names(archives)}?"
    contents = {"./": names} | {name: list_subfolder(os.path.join(root, name)) for name in names if name.endswith("/")}
    counts = {folder: sum(is_wanted("images", name) or is_wanted("tfrec", name) for name in inner)
              for folder, inner in contents.items()}
    found = [f"{count:,} in {folder}" for folder, count in counts.items() if count]
    return f" It does contain files of images, {list_names(found)}: move or rename their folders." if found else ""


def find_domain(root: str, array: str, kind: str, folder: str) -> DomainFiles:
    """Returns the .npy file `array` in `root` if it exists, else the files of `kind` in `folder` there, if any."""
    path = os.path.join(root, array)
    if path_exists(path):
        return "npy", (path,)
    return kind, list_files(kind, os.path.join(root, folder))


def incomplete_error(root: str, kind: str, folders: list[str], domains: list[DomainFiles]) -> UserError | None:
    """Returns the error for a layout with one set only, or with pictures that are not read; None if nothing is there.

    Args:
        root: the folder of the layout.
        kind: the layout's kind of files.
        folders: the layout's folders.
        domains: from `find_domain`, for each folder.
    """
    notes = [unread_note(os.path.join(root, folder)) for folder in folders] if kind == "images" else []
    present = [bool(files) for _, files in domains]
    if not any(present):
        return UserError(f"{root} contains no pictures that can be read. {' '.join(notes)}") if any(notes) else None
    there, missing = present.index(True), present.index(False)
    name = ARRAYS[there] if domains[there][0] == "npy" else f"{folders[there]}/"
    note = f" {notes[missing]}" if any(notes) else ""
    return UserError(f"{root} contains {name}, but {folders[missing]}/ is missing or has no {WANTED[kind]} file, and "
                     f"there is no {ARRAYS[missing]}. Training needs both sets: add the missing one.{note}")


def find_folder(root: str) -> tuple[DomainFiles, DomainFiles]:
    """Returns the paintings and the photos of the first complete layout in the folder `root`.

    Raises:
        UserError: if there is none.
    """
    incomplete = None
    for kind, *folders in LAYOUTS:
        domains = [find_domain(root, array, kind, folder) for array, folder in zip(ARRAYS, folders, strict=True)]
        if all(files for _, files in domains):
            warn_of_unread(root, folders, domains)
            return domains[0], domains[1]
        incomplete = incomplete or incomplete_error(root, kind, folders, domains)
    raise incomplete or no_layout_error(root)


def warn_of_unread(root: str, folders: list[str], domains: list[DomainFiles]) -> None:
    """Logs which pictures in the folders of a layout are left out."""
    for folder, (kind, _) in zip(folders, domains, strict=True):
        note = unread_note(os.path.join(root, folder)) if kind == "images" else ""
        if note:
            LOG.warning("%s", note)


OTHER_LAYOUTS = {"folder": find_folder}  # apart from the competition's, for which a bundle may be made


def find_competition(root: str) -> list[DomainFiles] | None:
    """Returns the paintings and the photos of the competition's TFRecords in `root`; None if it holds others."""
    _, *folders = LAYOUTS[0]
    domains = [("tfrec", list_files("tfrec", os.path.join(root, folder))) for folder in folders]
    has_arrays = any(path_exists(os.path.join(root, array)) for array in ARRAYS)
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
