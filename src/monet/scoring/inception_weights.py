"""Where the FID Inception's published weights are found on this machine, or how they come here: checked by digest."""

import hashlib
import http.client
import os
import sys
import urllib.request
from typing import NamedTuple

from tqdm import tqdm

from monet.core.errors import LOG, UserError
from monet.core.files import out_of_space
from monet.machine.kaggle_machine import input_folders

VARIABLE = "MONET_INCEPTION_WEIGHTS"  # of the environment: a weights file to use
STALL = 30.0  # seconds without a byte after which a download is given up
CHUNK = 1 << 20  # bytes read at once
NOT_COMPARABLE = "other weights than the published ones: not comparable with Kaggle"


class Published(NamedTuple):
    """A file as it was published."""

    address: str
    size: int  # bytes
    digest: str  # SHA-256, in hexadecimal


class Weights(NamedTuple):
    """A weights file: where it is, its SHA-256, and what there is to say of it; nothing, if it is the published one."""

    path: str
    digest: str
    note: str


# The 2015 Inception that FID is defined with, as PyTorch tensors, by the authors of pytorch-fid.
INCEPTION = Published(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    95_628_359, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2")


def cache_folder() -> str:
    """The folder of what the kit keeps from run to run, in the user's cache directory."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "monet")


def cached_path(published: Published) -> str:
    """Where the file is kept once it was downloaded."""
    return os.path.join(cache_folder(), published.address.rsplit("/", 1)[-1])


def how_to_get(published: Published) -> str:
    """What to do where a download is not possible."""
    return (f"Download {published.address} ({published.size:,} bytes, SHA-256 {published.digest}) elsewhere and put it "
            f"at {cached_path(published)}, or name it with --weights or ${VARIABLE}.")


def digest_of(path: str) -> str:
    """The file's SHA-256, in hexadecimal.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"The weights {path} cannot be read ({error.strerror}). Give --weights or ${VARIABLE} a file "
                        "that can, or leave them out to use the published weights.") from None


def check_digest(path: str, published: Published) -> None:
    """Raises UserError if the file at `path` is not the published one."""
    digest = digest_of(path)
    if digest != published.digest:
        raise UserError(f"{path} is not the published weights file: its SHA-256 is {digest}. Remove it. "
                        f"{how_to_get(published)}")


def copy_response(response, path: str, have: int, published: Published) -> None:
    """Appends what a server sends to the file at `path`, of which there are `have` bytes, with a bar on a terminal."""
    with open(path, "ab") as file, tqdm(
            desc="Inception's weights", total=published.size, initial=have, unit="B", unit_scale=True,
            disable=not sys.stderr.isatty()) as bar:
        while have <= published.size and (chunk := response.read(CHUNK)):
            file.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))


def fetch(published: Published, part: str) -> None:
    """Asks the server for what is missing of the file at `part`; one that does not know how sends all of it again.

    Raises:
        OSError, http.client.HTTPException: as the connection, the server or the disk fails.
    """
    have = os.path.getsize(part) if os.path.exists(part) else 0
    request = urllib.request.Request(published.address, headers={"Range": f"bytes={have}-"} if have else {})
    LOG.info("Downloading Inception's weights, %d of %d MB are here, from %s", have / 1e6, published.size / 1e6,
             published.address)
    with urllib.request.urlopen(request, timeout=STALL) as response:
        goes_on = response.status == http.client.PARTIAL_CONTENT and \
            response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if have and not goes_on:
            os.truncate(part, 0)
            have = 0
        copy_response(response, part, have, published)


def download_weights(published: Published) -> str:
    """Downloads the file into the cache, going on from where an earlier try stopped; returns its path.

    Raises:
        UserError: if it cannot be had, is not what it should be, or cannot be written. What came is kept for the next
            try, unless it is wrong.
    """
    path = cached_path(published)
    part = f"{path}.part"
    try:
        os.makedirs(cache_folder(), exist_ok=True)
        if os.path.exists(part) and os.path.getsize(part) > published.size:
            os.remove(part)
        if not os.path.exists(part) or os.path.getsize(part) < published.size:
            fetch(published, part)
        have = os.path.getsize(part)
    except (OSError, http.client.HTTPException) as error:
        what = "The disk is full, so" if isinstance(error, OSError) and out_of_space(error) else f"{error}:"
        raise UserError(f"{what} Inception's weights cannot be downloaded. Try again, which goes on from there. Or: "
                        f"{how_to_get(published)}") from None
    if have < published.size:
        raise UserError(f"The download of Inception's weights broke off after {have:,} of {published.size:,} bytes. "
                        f"Try again, which goes on from there. Or: {how_to_get(published)}")
    digest = digest_of(part)
    if digest != published.digest:
        os.remove(part)
        raise UserError(f"What came from {published.address} is not the published weights file (its SHA-256 is "
                        f"{digest}), and was removed. {how_to_get(published)}")
    os.replace(part, path)
    return path


def attached_path(published: Published) -> str:
    """The file of that name below Kaggle's input folder, as an attached dataset brings it; empty if there is none."""
    name = os.path.basename(cached_path(published))
    return next((os.path.join(folder, name) for folder, _, _, files in input_folders() if name in files), "")


def find_weights(path: str = "", download: bool = True, published: Published = INCEPTION) -> Weights:
    """The FID Inception's weights: the file that is named, else $MONET_INCEPTION_WEIGHTS, else the cache's, else one
    attached to a kernel on Kaggle, else they are downloaded.

    Args:
        path: of --weights; empty: none was named.
        download: whether to download them.
        published: what they must be.

    Returns:
        The file. One that was named, and is not the published one, has a note that belongs into every output.

    Raises:
        UserError: if there is none, or it is not the published one where that must be: says how to get it.
    """
    named = path or os.environ.get(VARIABLE, "")
    if named:
        digest = digest_of(named)
        return Weights(named, digest, "" if digest == published.digest else NOT_COMPARABLE)
    cached, attached = cached_path(published), attached_path(published)
    found = cached if os.path.exists(cached) else attached
    if found:
        check_digest(found, published)
    elif download:
        found = download_weights(published)
    else:
        raise UserError(f"The FID Inception's weights are not on this machine. {how_to_get(published)}")
    return Weights(found, published.digest, "")
