"""kernel-metadata.json, which tells Kaggle about the kernel: reads, checks and completes it before it is sent."""

import json
import re
from pathlib import Path

from slugify import slugify  # the kaggle client makes a title's address with it

from monet.core.errors import UserError, suggest_names
from monet.core.files import atomic_write
from monet.machine.kaggle_machine import COMPETITION

MOST_BYTES = 900_000  # size limit of a bundle; Kaggle takes less than 1 MB
FILE_NAME = "kernel-metadata.json"
PLACEHOLDER = "USERNAME"  # stands for the user's name in `id` until it is known
# ACCELERATOR's values and Kaggle's names for them (gpu: two T4s). Kaggle's other machines are retired or restricted.
MACHINE_SHAPES = {"tpu": "TpuV5E8", "gpu": "NvidiaTeslaT4", "none": ""}
# Seconds after which Kaggle is told to stop a run on each of them. These are the competition's own limits.
TIMEOUTS = {"tpu": 10_800, "gpu": 18_000, "none": 18_000}
SMOKE_TIMEOUT = 2_400  # of a smoke run, which ends itself within 25 minutes
# The keys that the user may edit, and their types. The kit fills in the others.
EDITABLE = {"id": str, "title": str, "is_private": bool, "enable_internet": bool, "machine_shape": str,
            "dataset_sources": list, "competition_sources": list, "kernel_sources": list, "model_sources": list,
            "keywords": list}
FILLED_IN = ("code_file", "language", "kernel_type")
REFUSED = {
    "docker_image": "with a pinned image, Kaggle runs a TPU kernel without a TPU",
    "docker_image_pinning_type": "with a pinned image, Kaggle runs a TPU kernel without a TPU",
    "enable_gpu": "Kaggle has replaced it with machine_shape",
    "enable_tpu": "Kaggle has replaced it with machine_shape",
}


def read_metadata(path: Path) -> dict:
    """Reads and checks the file at `path`.

    Raises:
        UserError: if it is missing or not JSON, or Kaggle would refuse or misread it.
    """
    try:
        metadata = json.loads(path.read_bytes())  # of bytes: an editor may add a byte order mark
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}. `git checkout {FILE_NAME}` restores "
                        "it.") from None
    except ValueError as error:
        raise UserError(f"{path.name} is not JSON: {error}. Fix it there.") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{path.name} must hold a JSON object: {{\"id\": …}}")
    check_metadata(metadata)
    return metadata


def check_metadata(metadata: dict) -> None:
    """Raises UserError for the first entry of `metadata` that Kaggle would refuse or misread."""
    for key, why in REFUSED.items():
        if key in metadata:
            raise UserError(f"{FILE_NAME}: remove {key!r}: {why}.")
    for key, value in metadata.items():
        if key not in EDITABLE and key not in FILLED_IN:
            raise UserError(f"{FILE_NAME}: unknown key {key!r}. {suggest_names(key, EDITABLE)}")
        kind = EDITABLE.get(key, str)
        if type(value) is not kind or (kind is list and not all(type(item) is str for item in value)):
            expected = {str: "a string", bool: "true or false", list: "a list of strings"}[kind]
            raise UserError(f"{FILE_NAME}: {key!r} must be {expected}, not {json.dumps(value)}.")
    for key in ("id", "title", "enable_internet"):
        if key not in metadata:
            raise UserError(f"{FILE_NAME}: {key!r} is missing. Add it, or Kaggle will choose it.")
    check_name(metadata["id"], metadata["title"])
    if COMPETITION not in metadata.get("competition_sources", ()):
        raise UserError(f"{FILE_NAME}: \"competition_sources\" must contain \"{COMPETITION}\", or there are no images.")
    accelerator_of(metadata)


def check_name(kernel_id: str, title: str) -> None:
    """Raises UserError if Kaggle would refuse the title, or the kernel's address would differ from `kernel_id`."""
    if not 5 <= len(title) <= 50:
        raise UserError(f"{FILE_NAME}: the title {title!r} has {len(title)} characters. Kaggle takes 5 to 50.")
    if not re.fullmatch(r"[\w-]+/[a-z0-9-]{5,}", kernel_id):
        raise UserError(f"{FILE_NAME}: the id {kernel_id!r} must look like {PLACEHOLDER}/{slugify(title)}, with at "
                        "least 5 characters after the slash.")
    slug = kernel_id.split("/")[1]
    if slug != slugify(title):
        raise UserError(f"{FILE_NAME}: Kaggle turns the title {title!r} into the address {slugify(title)!r}, but the "
                        f"id says {slug!r}. Change one of them.")


def accelerator_of(metadata: dict) -> str:
    """Returns the name that ACCELERATOR has for the metadata's machine.

    Raises:
        UserError: if the machine is unknown.
    """
    shape = metadata.get("machine_shape", MACHINE_SHAPES["none"])
    for accelerator, known in MACHINE_SHAPES.items():
        if shape == known:
            return accelerator
    raise UserError(f"{FILE_NAME}: unknown machine_shape {shape!r}. Choose one of "
                    f"{', '.join(json.dumps(known) for known in MACHINE_SHAPES.values())} (no accelerator).")


def resolve_metadata(metadata: dict, code_file: str, accelerator: str, resume: bool) -> dict:
    """Returns the metadata as Kaggle gets it, except for the user's name.

    Args:
        metadata: from `read_metadata`.
        code_file: name of the bundle; an .ipynb is a notebook.
        accelerator: tpu, gpu or none.
        resume: whether to attach the kernel's own last output.
    """
    sources = metadata.get("kernel_sources", [])
    # A dataset of that name is a copy of the output, for when Kaggle refuses a kernel as its own input.
    copied = any(source.endswith(f"/{metadata['id'].split('/')[1]}-output") for source in
                 metadata.get("dataset_sources", []))
    own = [metadata["id"]] if resume and not copied and metadata["id"] not in sources else []
    return {**metadata, "code_file": code_file, "language": "python",
            "kernel_type": "notebook" if code_file.endswith(".ipynb") else "script",
            "machine_shape": MACHINE_SHAPES[accelerator], "kernel_sources": [*sources, *own]}


def as_smoke(metadata: dict) -> dict:
    """Returns the metadata of the smoke run's kernel. It has an id of its own, so that the kernel's last output, which
    RESUME=1 continues, stays what it is.

    Raises:
        UserError: if the title becomes too long.
    """
    renamed = {**metadata, "id": f"{metadata['id']}-smoke", "title": f"{metadata['title']} smoke"}
    check_name(renamed["id"], renamed["title"])
    return renamed


def with_user(metadata: dict, user: str) -> dict:
    """Returns the metadata with the user's name in place of the placeholder, in the id and in the sources."""
    def named(text: str) -> str:
        return user + text.removeprefix(PLACEHOLDER) if text.startswith(f"{PLACEHOLDER}/") else text

    sources = {key: [named(source) for source in value] for key, value in metadata.items() if key.endswith("_sources")}
    return {**metadata, **sources, "id": named(metadata["id"])}


def metadata_text(metadata: dict) -> str:
    """Returns the text of the file."""
    return json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Writes the file, completely or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    with atomic_write(str(path)) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
