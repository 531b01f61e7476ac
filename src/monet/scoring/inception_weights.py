"""Finds the FID Inception's published weights on this machine, or downloads them; checks their SHA-256."""

import contextlib
import hashlib
import io
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from monet.core.errors import LOG, UserError
from monet.core.files import out_of_space
from monet.core.process import cache_folder
from monet.machine.kaggle_machine import input_folders

WEIGHTS_VARIABLE = "MONET_INCEPTION_WEIGHTS"  # environment variable that names a weights file to use
DOWNLOAD_TIMEOUT = 30.0  # seconds without a byte before a download fails
NOT_COMPARABLE = "other weights than the published ones: not comparable with Kaggle"


class PublishedFile(NamedTuple):
    """A file on the web."""

    address: str
    size: int  # bytes
    digest: str  # SHA-256, hexadecimal


class WeightsFile(NamedTuple):
    """A weights file on this machine."""

    path: str
    digest: str  # SHA-256, hexadecimal
    note: str  # to be shown with every score; empty for the published weights


# The 2015 Inception that defines FID, as PyTorch tensors, by the authors of pytorch-fid.
INCEPTION_WEIGHTS = PublishedFile(
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    95_628_359, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2")


def cached_path(published: PublishedFile) -> str:
    """Where a downloaded file is kept."""
    return os.path.join(cache_folder(), published.address.rsplit("/", 1)[-1])


def how_to_get(published: PublishedFile) -> str:
    """Advice for a machine that cannot download the file."""
    return (f"Download {published.address} ({published.size:,} bytes, SHA-256 {published.digest}) elsewhere and put it "
            f"at {cached_path(published)}, or name it with --weights or ${WEIGHTS_VARIABLE}.")


def digest_of(path: str) -> str:
    """The file's SHA-256, hexadecimal.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"The weights {path} cannot be read ({error.strerror}). Name a readable file with --weights or "
                        f"${WEIGHTS_VARIABLE}, or neither to use the published weights.") from None


def check_digest(path: str, published: PublishedFile) -> None:
    """Raises UserError if the file at `path` is not the published one."""
    digest = digest_of(path)
    if digest != published.digest:
        raise UserError(f"{path} is not the published weights file: its SHA-256 is {digest}. Remove it. "
                        f"{how_to_get(published)}")


@contextlib.contextmanager
def download_settings() -> Iterator[None]:
    """What `keras.utils.get_file` has no options for: a time limit, and a progress bar on stderr, if at all.

    Standard output is kept for results. Without a terminal the bar would be a new line every few milliseconds.
    """
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr if sys.stderr.isatty() else io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)


def download_weights(published: PublishedFile) -> str:
    """Downloads the file into the cache and returns its path.

    Raises:
        UserError: if the download fails, is not the published file, or cannot be written. Nothing of it is left.
    """
    from tensorflow import keras  # here, because it takes seconds to load

    path = cached_path(published)
    LOG.info("Downloading Inception's weights (%d MB) from %s", published.size / 1e6, published.address)
    try:
        os.makedirs(cache_folder(), exist_ok=True)
        # A killed download must not leave half a file under the final name.
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder, download_settings():
            os.replace(keras.utils.get_file(os.path.basename(path), published.address, file_hash=published.digest,
                                            hash_algorithm="sha256", cache_dir=folder, cache_subdir=""), path)
    except ValueError:  # the digest does not match
        raise UserError(f"What {published.address} sent is cut short or not the published weights file, and was "
                        f"removed. Try again. Or: {how_to_get(published)}") from None
    except Exception as error:  # get_file raises no narrower class when a server refuses
        remedy = "Free some space and try" if isinstance(error, OSError) and out_of_space(error) else "Try"
        raise UserError(f"Inception's weights cannot be downloaded ({error}). {remedy} again. Or: "
                        f"{how_to_get(published)}") from None
    return path


def attached_path(published: PublishedFile) -> str:
    """Where a dataset attached to a Kaggle kernel holds a file of that name; empty if none does."""
    name = os.path.basename(cached_path(published))
    return next((os.path.join(folder, name) for folder, _, _, files in input_folders() if name in files), "")


def find_weights(path: str = "", download: bool = True, published: PublishedFile = INCEPTION_WEIGHTS) -> WeightsFile:
    """Finds the FID Inception's weights.

    In this order: the named file, $MONET_INCEPTION_WEIGHTS, the cache, a dataset attached on Kaggle, a download.

    Args:
        path: value of --weights; may be empty.
        download: whether to download them if need be.
        published: the file to look for.

    Returns:
        The file. One that was named may be other than the published one and then has a note.

    Raises:
        UserError: if there is none, or one that was not named is not the published one.
    """
    named = path or os.path.expanduser(os.environ.get(WEIGHTS_VARIABLE, ""))
    if named:
        digest = digest_of(named)
        return WeightsFile(named, digest, "" if digest == published.digest else NOT_COMPARABLE)
    cached, attached = cached_path(published), attached_path(published)
    existing = cached if os.path.exists(cached) else attached
    if existing:
        check_digest(existing, published)
    elif download:
        existing = download_weights(published)
    else:
        raise UserError(f"The FID Inception's weights are not on this machine. {how_to_get(published)}")
    return WeightsFile(existing, published.digest, "")
