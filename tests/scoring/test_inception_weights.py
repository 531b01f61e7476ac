"""Where the Inception's weights come from, with a server on loopback in the place of the published address."""

import errno
import hashlib
import http.server
import sys
import threading
from pathlib import Path

import pytest
from support.kaggle_stand_in import dead_port

from monet.core.errors import UserError
from monet.scoring import inception_weights
from monet.scoring.inception_weights import INCEPTION, NOT_COMPARABLE, VARIABLE, Published, cached_path, find_weights

CONTENT = bytes(range(256)) * 10_000  # 2.5 MB: more than one reading
NAME = "pt_inception.pth"


class Server:
    """A server of `CONTENT`, which a test can make behave badly.

    Attributes:
        ranges: whether it sends a part when asked for one.
        breaks_after: bytes of a response after which it closes the connection; None: it sends all.
        content: what it sends.
        asked: the Range of each request, None where there was none.
    """

    def __init__(self):
        self.ranges, self.breaks_after, self.content, self.asked, self.status = True, None, CONTENT, [], None
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.published = Published(f"http://127.0.0.1:{self.server.server_port}/{NAME}", len(CONTENT),
                                   hashlib.sha256(CONTENT).hexdigest())

    def answer(self, request):
        """Sends what was asked for."""
        asked = request.headers.get("Range")
        self.asked.append(asked)
        if self.status:
            request.send_error(self.status)
            return
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        body = self.content[first:]
        request.send_response(206 if first else 200)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:self.breaks_after])


@pytest.fixture
def server():
    served = Server()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine without weights: a cache and a Kaggle input folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.delenv(VARIABLE, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def part_of(server):
    return cached_path(server.published) + ".part"


def test_published_facts():
    assert INCEPTION.address.startswith("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/")
    assert INCEPTION.address.endswith(f"-{INCEPTION.digest[:8]}.pth") and len(INCEPTION.digest) == 64


def test_downloaded_once_with_a_bar(server, machine, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    found = find_weights(published=server.published)
    assert found == (str(machine / "cache/monet" / NAME), server.published.digest, "")
    assert Path(found.path).read_bytes() == CONTENT
    assert "Inception's weights: 100%" in capsys.readouterr().err
    assert find_weights(published=server.published) == found
    assert server.asked == [None]


def test_a_broken_download_goes_on_where_it_stopped(server):
    server.breaks_after = 1_500_000
    with pytest.raises(UserError, match=r"broke off after 1,500,000 of 2,560,000 bytes. Try again, which goes on"):
        find_weights(published=server.published)
    server.breaks_after = None
    assert Path(find_weights(published=server.published).path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1500000-"]


def test_a_server_that_sends_no_parts_sends_all_again(server):
    server.breaks_after = 1_500_000
    with pytest.raises(UserError):
        find_weights(published=server.published)
    server.breaks_after, server.ranges = None, False
    assert Path(find_weights(published=server.published).path).read_bytes() == CONTENT


def test_a_download_killed_before_it_got_its_name(server, machine):
    (machine / "cache/monet").mkdir(parents=True)
    Path(part_of(server)).write_bytes(CONTENT)
    assert Path(find_weights(published=server.published).path).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"!", CONTENT + b"more" * 10**6])
def test_a_wrong_file_is_refused_and_removed(server, machine, content):
    server.content = content
    with pytest.raises(UserError, match="is not the published weights file .*, and was removed") as refused:
        find_weights(published=server.published)
    for word in (server.published.address, server.published.digest, cached_path(server.published), "--weights"):
        assert word in str(refused.value)
    assert list((machine / "cache/monet").iterdir()) == []


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_server_that_refuses(server, status):
    server.status = status
    with pytest.raises(UserError, match=f"{status}.* cannot be downloaded") as refused:
        find_weights(published=server.published)
    for word in (server.published.address, server.published.digest, cached_path(server.published)):
        assert word in str(refused.value)


def test_no_network():
    nobody = Published(f"http://127.0.0.1:{dead_port()}/{NAME}", len(CONTENT), "0" * 64)
    with pytest.raises(UserError, match="refused.* cannot be downloaded.*Download http"):
        find_weights(published=nobody)


def test_a_server_that_stalls(server, monkeypatch):
    monkeypatch.setattr(inception_weights, "STALL", 0.2)
    stalled = threading.Event()
    monkeypatch.setattr(server, "answer", lambda request: stalled.wait(10))
    with pytest.raises(UserError, match="timed out.* cannot be downloaded"):
        find_weights(published=server.published)
    stalled.set()


def test_a_full_disk(server, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(inception_weights, "copy_response", full)
    with pytest.raises(UserError, match="The disk is full"):
        find_weights(published=server.published)


def test_without_a_download_it_says_how_to_get_them(server):
    with pytest.raises(UserError, match="weights are not on this machine. Download http"):
        find_weights(download=False, published=server.published)
    assert server.asked == []


def test_a_damaged_file_in_the_cache_is_not_used(server, machine):
    (machine / "cache/monet").mkdir(parents=True)
    (machine / "cache/monet" / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="is not the published weights file: its SHA-256 is .*Remove it"):
        find_weights(published=server.published)


def test_a_named_file_comes_first_and_says_what_it_is(server, machine, monkeypatch):
    (machine / "mine.pth").write_bytes(b"other")
    (machine / "same.pth").write_bytes(CONTENT)
    digest = hashlib.sha256(b"other").hexdigest()
    assert find_weights(str(machine / "mine.pth"), published=server.published) == (
        str(machine / "mine.pth"), digest, NOT_COMPARABLE)
    monkeypatch.setenv(VARIABLE, str(machine / "mine.pth"))
    assert find_weights(published=server.published).note == NOT_COMPARABLE
    assert find_weights(str(machine / "same.pth"), published=server.published).note == ""
    assert server.asked == []


def test_a_named_file_that_is_not_there(server, machine):
    with pytest.raises(UserError, match="none.pth cannot be read \\(No such file"):
        find_weights(str(machine / "none.pth"), published=server.published)


def test_a_file_attached_to_a_kernel_is_found_by_its_name(server, machine):
    folder = machine / "input/datasets/somebody/fid-weights"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    assert find_weights(published=server.published).path == str(folder / NAME)
    (folder / NAME).write_bytes(b"other")
    with pytest.raises(UserError, match="is not the published weights file"):
        find_weights(published=server.published)
    assert server.asked == []
