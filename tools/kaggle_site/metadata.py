"""kernel-metadata.json: what Kaggle is told about the kernel, read, completed and checked before anything is sent."""

import json
import re
from pathlib import Path

from slugify import slugify  # the kaggle client's own, which decides on the slug of a title

from monet.core.errors import UserError, suggest_names
from monet.core.files import atomic_write
from monet.machine.kaggle_machine import COMPETITION

MOST_BYTES = 900_000  # of a bundle: Kaggle takes less than 1 MB
FILE_NAME = "kernel-metadata.json"
PLACEHOLDER = "USERNAME"  # stands for the user's name in `id` until it is known
# What ACCELERATOR may be, and what Kaggle calls it (the second is two T4s); other machines are retired or not for
# everybody.
MACHINE_SHAPES = {"tpu": "TpuV5E8", "gpu": "NvidiaTeslaT4", "none": ""}
# What may be edited, with the type it must have; what the kit fills in stands below.
EDITABLE = {"id": str, "title": str, "is_private": bool, "enable_internet": bool, "machine_shape": str,
            "dataset_sources": list, "competition_sources": list, "kernel_sources": list, "model_sources": list,
            "keywords": list}
FILLED_IN = ("code_file", "language", "kernel_type")
REFUSED = {
    "docker_image": "a pinned image runs a TPU kernel on a machine without one",
    "docker_image_pinning_type": "a pinned image runs a TPU kernel on a machine without one",
    "enable_gpu": "Kaggle has replaced it by machine_shape",
    "enable_tpu": "Kaggle has replaced it by machine_shape",
}


def read_metadata(path: Path) -> dict:
    """The file at `path`, checked.

    Raises:
        UserError: if it is missing, is not JSON, or says something that Kaggle would refuse or misunderstand.
    """
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}. It belongs to the kit: git checkout "
                        f"{FILE_NAME} brings it back.") from None
    except ValueError as error:
        raise UserError(f"{path.name} is not JSON: {error}. Mend it there.") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{path.name} must hold a JSON object, as in {{\"id\": …}}. Mend it.")
    check_metadata(metadata)
    return metadata


def check_metadata(metadata: dict) -> None:
    """Raises UserError for the first thing in `metadata` that Kaggle would refuse, or do otherwise than it seems."""
    for key, reason in REFUSED.items():
        if key in metadata:
            raise UserError(f"{FILE_NAME}: remove {key!r}: {reason}.")
    for key, value in metadata.items():
        if key not in EDITABLE and key not in FILLED_IN:
            raise UserError(f"{FILE_NAME}: there is no {key!r}. {suggest_names(key, EDITABLE)}")
        kind = EDITABLE.get(key, str)
        if type(value) is not kind or (kind is list and not all(type(item) is str for item in value)):
            expected = {str: "a text", bool: "true or false", list: "a list of texts"}[kind]
            raise UserError(f"{FILE_NAME}: {key!r} must be {expected}, and is {json.dumps(value)}.")
    for key in ("id", "title", "enable_internet"):
        if key not in metadata:
            raise UserError(f"{FILE_NAME}: {key!r} is missing. Add it; where it is not said, Kaggle decides.")
    check_name(metadata["id"], metadata["title"])
    if COMPETITION not in metadata.get("competition_sources", ()):
        raise UserError(f"{FILE_NAME}: \"competition_sources\" must hold \"{COMPETITION}\": else there are no images.")
    accelerator_of(metadata)


def check_name(identity: str, title: str) -> None:
    """Raises UserError if Kaggle would refuse the title, or would give the kernel another address than `identity`."""
    if not 5 <= len(title) <= 50:
        raise UserError(f"{FILE_NAME}: the title {title!r} has {len(title)} characters. Kaggle takes 5 to 50.")
    if not re.fullmatch(r"[\w-]+/[a-z0-9-]{5,}", identity):
        raise UserError(f"{FILE_NAME}: the id {identity!r} is not of the form {PLACEHOLDER}/{slugify(title)}, five "
                        "characters or more behind the stroke.")
    if identity.split("/")[1] != slugify(title):
        raise UserError(f"{FILE_NAME}: Kaggle makes the address {slugify(title)!r} of the title {title!r}, but the id "
                        f"says {identity.split('/')[1]!r}. Change one of them.")


def accelerator_of(metadata: dict) -> str:
    """The name that ACCELERATOR has for the metadata's machine.

    Raises:
        UserError: for a machine that there is not.
    """
    shape = metadata.get("machine_shape", MACHINE_SHAPES["none"])
    for accelerator, known in MACHINE_SHAPES.items():
        if shape == known:
            return accelerator
    raise UserError(f"{FILE_NAME}: there is no machine_shape {shape!r} for everybody. Choose one of "
                    f"{', '.join(json.dumps(known) for known in MACHINE_SHAPES.values())} (no accelerator).")


def resolve_metadata(metadata: dict, code_file: str, accelerator: str, resume: bool) -> dict:
    """The metadata as Kaggle gets it, but for the user's name.

    Args:
        metadata: from `read_metadata`.
        code_file: the bundle's name; an .ipynb is a notebook.
        accelerator: tpu, gpu or none.
        resume: attach the kernel's own last output.
    """
    sources = metadata.get("kernel_sources", [])
    own = [metadata["id"]] if resume and metadata["id"] not in sources else []
    return {**metadata, "code_file": code_file, "language": "python",
            "kernel_type": "notebook" if code_file.endswith(".ipynb") else "script",
            "machine_shape": MACHINE_SHAPES[accelerator], "kernel_sources": [*sources, *own]}


def with_user(metadata: dict, user: str) -> dict:
    """The metadata with the user's name in place of the placeholder, also among the sources."""
    def named(text: str) -> str:
        return user + text.removeprefix(PLACEHOLDER) if text.startswith(f"{PLACEHOLDER}/") else text

    sources = {key: [named(source) for source in value] for key, value in metadata.items() if key.endswith("_sources")}
    return {**metadata, **sources, "id": named(metadata["id"])}


def metadata_text(metadata: dict) -> str:
    """The file's text."""
    return json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Writes the file, whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    with atomic_write(str(path)) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
