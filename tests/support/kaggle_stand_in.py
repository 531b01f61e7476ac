"""A stand-in for Kaggle's site on loopback, for the real `kaggle` client: no test ever reaches the real one.

    with stand_in() as kaggle:
        kaggle.answers["competitions.CompetitionApiService/DownloadDataFiles"] = lambda call: Answer(403)
        subprocess.run([...], env=kaggle.environment(home))
        assert kaggle.called("security.OAuthService/IntrospectToken")

The client takes it for its proxy and Kaggle for http://localhost. What is sent to any other host is refused, and
fails the test when the `with` block ends.
"""

import contextlib
import json
import os
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

API_HOST, FILE_HOST = "localhost", "files.localhost"  # the API, and where it redirects downloads to
ETAG, MODIFIED = '"first-edition"', "Wed, 01 Jan 2025 00:00:00 GMT"


@dataclass(frozen=True)
class Call:
    """One request of the client."""

    method: str
    host: str
    path: str  # with the query
    headers: dict[str, str]
    body: bytes

    @property
    def name(self) -> str:
        """`<Service>/<Method>` of an API call; the path of any other request."""
        return self.path.removeprefix("/api/v1/")

    def json(self) -> dict:
        """The camelCase arguments of an API call."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class Answer:
    """What the stand-in replies; a dict as body goes out as JSON."""

    status: int = 200
    body: bytes | dict = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None  # the connection breaks after so many bytes of the body
    hang_at: int | None = None  # nothing more comes after so many bytes, until the stand-in closes


def introspect(call: Call) -> Answer:
    """Every token is good."""
    return Answer(body={"active": True, "username": "someone"})


def redirect_download(call: Call) -> Answer:
    """Downloads come from another host, by an address that is signed."""
    return Answer(302, headers={"Location": f"http://{FILE_HOST}/bundle/archive.zip?signature=signed-address"})


def take_submission(call: Call) -> Answer:
    """Every submission is taken."""
    return Answer(body={"message": "Successfully submitted to I’m Something of a Painter Myself", "ref": 1})


def submission_limits(call: Call) -> Answer:
    """Four are left today."""
    return Answer(body={"numAllowedNow": 4})


def save_kernel(call: Call) -> Answer:
    """Every push becomes version 7."""
    slug = call.json()["slug"]
    return Answer(body={"ref": f"/code/{slug}", "url": f"https://www.kaggle.com/code/{slug}", "versionNumber": 7})


def unknown_kernel(call: Call) -> Answer:
    """What Kaggle says of a kernel that was never pushed."""
    return Answer(403, {"code": 403, "message": "Permission 'kernels.get' was denied"})


@dataclass
class StandIn:
    """The server's address, its answers by API method or path, and what it was asked."""

    port: int
    answers: dict[str, Callable[[Call], Answer]] = field(default_factory=lambda: {
        "security.OAuthService/IntrospectToken": introspect,
        "competitions.CompetitionApiService/DownloadDataFiles": redirect_download,
        "competitions.CompetitionApiService/CreateCodeSubmission": take_submission,
        "competitions.CompetitionApiService/GetSubmissionLimits": submission_limits,
        "kernels.KernelsApiService/SaveKernel": save_kernel,
        "kernels.KernelsApiService/GetKernelSessionStatus": unknown_kernel,
    })
    calls: list[Call] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)  # requests for any other host: there must be none
    closing: threading.Event = field(default_factory=threading.Event)

    def called(self, name: str) -> list[Call]:
        """The calls of an API method or a path (without query), in order."""
        return [call for call in self.calls if call.name.split("?")[0] == name]

    def environment(self, home: Path, **variables: str) -> dict[str, str]:
        """A whole environment for a subprocess: nothing of the tester's own account is in it."""
        return client_environment(home, self.port, **variables)

    def serve_status(self, *words: str, message: str = "") -> None:
        """Answers questions for the kernel's status with one word after the other, then always with the last."""
        left = list(words)

        def answer(call: Call) -> Answer:
            word = left.pop(0) if len(left) > 1 else left[0]
            return Answer(body={"status": word, "failureMessage": message if word == "ERROR" else ""})

        self.answers["kernels.KernelsApiService/GetKernelSessionStatus"] = answer

    def serve_output(self, files: dict[str, Answer], log: str = "") -> None:
        """Offers a kernel's output files by name, and its log."""
        listed = [{"fileName": name, "url": f"http://{FILE_HOST}/output/{name}?signature=signed-address"}
                  for name in files]
        self.answers["kernels.KernelsApiService/ListKernelSessionOutput"] = lambda call: Answer(
            body={"files": listed, "log": log})
        for name, file in files.items():
            self.answers[f"/output/{name}"] = lambda call, file=file: file

    def serve_file(self, content: bytes, cut_first: int | None = None, hang_first: int | None = None) -> None:
        """Offers `content` for download, with ranges; the first transfer breaks or hangs after so many bytes."""
        def answer(call: Call) -> Answer:
            first = len(self.called("/bundle/archive.zip")) == 1
            headers = {"Accept-Ranges": "bytes", "ETag": ETAG, "Last-Modified": MODIFIED,
                       "Content-Type": "application/zip"}
            asked = call.headers.get("Range")
            if asked and call.headers.get("If-Range") in (None, ETAG):
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                return Answer(206, content[start:], headers)
            return Answer(200, content, headers, cut_first if first else None, hang_first if first else None)

        self.answers["/bundle/archive.zip"] = answer


def client_environment(home: Path, port: int, **variables: str) -> dict[str, str]:
    """An environment in which the kaggle client knows only `home` and the proxy at `port`, for http and https."""
    proxy = f"http://127.0.0.1:{port}"
    found = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**found, "HOME": str(home), "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": proxy,
            "https_proxy": proxy, "TF_CPP_MIN_LOG_LEVEL": "2", **variables}


def dead_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Handler(BaseHTTPRequestHandler):
    """Takes a proxy's requests (absolute addresses), looks the answer up, and sends it."""

    protocol_version = "HTTP/1.1"
    site: StandIn  # set by stand_in()

    def reply(self) -> None:
        """Records the request and answers it."""
        address = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if address.scheme != "http" or address.netloc not in (API_HOST, FILE_HOST):
            self.site.strangers.append(f"{self.command} {self.path}")
            self.send_answer(Answer(502))
            return
        path = address.path + (f"?{address.query}" if address.query else "")
        call = Call(self.command, address.netloc, path, dict(self.headers), body)
        self.site.calls.append(call)
        answer = self.site.answers.get(call.name.split("?")[0])
        self.send_answer(answer(call) if answer else Answer(404, {"code": 404, "message": f"no {call.name} here"}))

    def handle(self) -> None:
        """All requests of one connection; a client that is killed, as some tests do, hangs up in between."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    do_GET = do_POST = do_PUT = do_HEAD = do_CONNECT = reply

    def send_answer(self, answer: Answer) -> None:
        """Sends it, whole or as far as it says."""
        as_json = isinstance(answer.body, dict)
        body = json.dumps(answer.body).encode() if as_json else answer.body
        headers = {"Content-Type": "application/json"} if as_json else {}
        self.send_response(answer.status)
        for name, value in {**headers, **answer.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        stop = next((at for at in (answer.cut_at, answer.hang_at) if at is not None), len(body))
        with contextlib.suppress(ConnectionError):  # a client may hang up when it has read the headers
            self.wfile.write(body[:stop])
        if answer.hang_at is not None:
            self.site.closing.wait(60)
        if stop < len(body):
            self.close_connection = True

    def log_message(self, *arguments) -> None:
        """Nothing on the tests' stderr."""


@contextlib.contextmanager
def stand_in() -> Iterator[StandIn]:
    """Runs a stand-in for as long as the `with` block lasts; afterwards, asserts that no other host was asked for."""
    handler = type("SiteHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.site = site = StandIn(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
    assert not site.strangers, f"requests to other hosts: {site.strangers}"
