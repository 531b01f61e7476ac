"""Where the Inception's weights come from; a server on loopback stands in for the published address."""

import errno
import hashlib
import http.server
import io
import socket
import sys
import threading
from pathlib import Path

import pytest
from support.kaggle_stand_in import dead_port
from tensorflow import keras

from monet.core.errors import UserError
from monet.scoring import inception_weights
from monet.scoring.inception_weights import (
    INCEPTION_WEIGHTS,
    NOT_COMPARABLE,
    WEIGHTS_VARIABLE,
    PublishedFile,
    cached_path,
    find_weights,
)

CONTENT = bytes(range(256)) * 1000
NAME = "pt_inception.pth"


class WeightsServer:
    """Serves `CONTENT`, or misbehaves.

    Attributes:
        content: what it sends.
        sends: bytes of the body after which it closes the connection; None: all.
        status: an error status to answer with; None: it sends the content.
        stalls: whether it sends nothing until the test ends.
        requests: paths requested so far.
    """

    def __init__(self):
        self.content, self.sends, self.status, self.stalls, self.requests = CONTENT, None, None, False, []
        self.ended = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.published = PublishedFile(f"http://127.0.0.1:{self.server.server_port}/{NAME}", len(CONTENT),
                                       hashlib.sha256(CONTENT).hexdigest())

    def answer(self, request):
        """Answers one request."""
        self.requests.append(request.path)
        if self.stalls:
            self.ended.wait(60)
        elif self.status:
            request.send_error(self.status)
        else:
            request.send_response(200)
            request.send_header("Content-Length", str(len(self.content)))
            request.end_headers()
            request.wfile.write(self.content[:self.sends])


@pytest.fixture
def server():
    served = WeightsServer()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.ended.set()
    served.server.shutdown()
    served.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine without weights or a proxy: the cache and Kaggle's input folder are the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def cached_files(machine):
    return list((machine / "cache/monet").iterdir())


def refusal(published):
    """The message that a download fails with, which says how to get the file."""
    with pytest.raises(UserError) as refused:
        find_weights(published=published)
    message = str(refused.value)
    for word in (published.address, published.digest, cached_path(published), "--weights", WEIGHTS_VARIABLE):
        assert word in message
    return message


def test_published_facts():
    address, _, digest = INCEPTION_WEIGHTS
    assert address.startswith("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/")
    assert address.endswith(f"-{digest[:8]}.pth") and len(digest) == 64


def test_weights_are_downloaded_once_into_the_cache(server, machine, capsys):
    weights = find_weights(published=server.published)
    assert weights == (str(machine / "cache/monet" / NAME), server.published.digest, "")
    assert Path(weights.path).read_bytes() == CONTENT
    assert cached_files(machine) == [machine / "cache/monet" / NAME]
    assert find_weights(published=server.published) == weights
    assert server.requests == [f"/{NAME}"]
    said = capsys.readouterr()
    assert said.out == "" and said.err == ""  # no terminal, no bar


def test_the_progress_bar_is_on_stderr(server, capsys, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    find_weights(published=server.published)
    assert f"{len(CONTENT)}/{len(CONTENT)}" in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("sent", [0, len(CONTENT) // 2, len(CONTENT) - 1])
def test_a_broken_download_leaves_nothing_and_is_repeated(server, machine, sent):
    server.sends = sent
    assert "Try again" in refusal(server.published)
    assert cached_files(machine) == []
    server.sends = None
    assert Path(find_weights(published=server.published).path).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT + b"more"])
def test_a_wrong_file_is_refused_and_removed(server, machine, content):
    server.content = content
    assert "removed" in refusal(server.published)
    assert cached_files(machine) == []


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_server_that_refuses(server, status):
    server.status = status
    assert str(status) in refusal(server.published)


def test_no_network():
    nobody = PublishedFile(f"http://127.0.0.1:{dead_port()}/{NAME}", len(CONTENT), "0" * 64)
    assert "refused" in refusal(nobody)


def test_a_server_that_stalls(server, machine, monkeypatch):
    monkeypatch.setattr(inception_weights, "DOWNLOAD_TIMEOUT", 0.2)
    before = socket.getdefaulttimeout()
    server.stalls = True
    assert "timed out" in refusal(server.published)
    assert cached_files(machine) == []
    assert socket.getdefaulttimeout() == before


def test_a_full_disk(server, machine, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.utils, "get_file", full)
    assert "Free some space" in refusal(server.published)
    assert cached_files(machine) == []


def test_a_cache_that_cannot_be_written(server, machine, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nope")
    assert "/proc/nope" in refusal(server.published)
    assert server.requests == []


def test_without_a_download_it_says_how_to_get_them(server):
    with pytest.raises(UserError, match=f"not on this machine.*{server.published.address}"):
        find_weights(download=False, published=server.published)
    assert server.requests == []


def test_a_damaged_file_in_the_cache_is_refused(server, machine):
    (machine / "cache/monet").mkdir(parents=True)
    (machine / "cache/monet" / NAME).write_bytes(CONTENT[:-1])
    assert "Remove it" in refusal(server.published)
    assert server.requests == []


def test_a_named_file_comes_first_and_is_compared_with_the_published_one(server, machine, monkeypatch):
    (machine / "mine.pth").write_bytes(b"other")
    (machine / "same.pth").write_bytes(CONTENT)
    digest = hashlib.sha256(b"other").hexdigest()
    assert find_weights(str(machine / "mine.pth"), published=server.published) == (
        str(machine / "mine.pth"), digest, NOT_COMPARABLE)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(machine / "mine.pth"))
    assert find_weights(published=server.published).note == NOT_COMPARABLE
    assert find_weights(str(machine / "same.pth"), published=server.published).note == ""
    assert server.requests == []


def test_a_named_file_that_does_not_exist(server, machine):
    with pytest.raises(UserError, match=r"none\.pth.*No such file"):
        find_weights(str(machine / "none.pth"), published=server.published)


def test_a_file_attached_to_a_kernel_is_found_by_its_name(server, machine):
    folder = machine / "input/datasets/somebody/fid-weights"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    assert find_weights(published=server.published).path == str(folder / NAME)
    (folder / NAME).write_bytes(b"other")
    assert str(folder / NAME) in refusal(server.published)
    assert server.requests == []
