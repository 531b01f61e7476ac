"""A stand-in for Kaggle's site on loopback, for the real `kaggle` client. No test ever reaches the real site.

    with kaggle_stand_in() as site:
        site.handlers["competitions.CompetitionApiService/DownloadDataFiles"] = lambda request: Response(403)
        subprocess.run([...], env=site.environment(home))
        assert site.requests_to("security.OAuthService/IntrospectToken")

Two guards: the client believes that Kaggle is http://localhost, and the stand-in is its proxy for every host. Requests
to other hosts are refused, and fail the test when the `with` block ends.
"""

import contextlib
import json
import os
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

API_HOST, FILE_HOST = "localhost", "files.localhost"  # the API, and the host that it redirects downloads to
ETAG, MODIFIED = '"first-edition"', "Wed, 01 Jan 2025 00:00:00 GMT"
DOWNLOAD = "competitions.CompetitionApiService/DownloadDataFiles"
INTROSPECT = "security.OAuthService/IntrospectToken"
LIMITS = "competitions.CompetitionApiService/GetSubmissionLimits"
OUTPUT = "kernels.KernelsApiService/ListKernelSessionOutput"
SAVE = "kernels.KernelsApiService/SaveKernel"
STATUS = "kernels.KernelsApiService/GetKernelSessionStatus"
SUBMISSION = "competitions.CompetitionApiService/GetSubmission"
SUBMISSIONS = "competitions.CompetitionApiService/ListSubmissions"
SUBMIT = "competitions.CompetitionApiService/CreateCodeSubmission"
ARCHIVE = "/bundle/archive.zip"  # path on the file host


@dataclass(frozen=True)
class Request:
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
        """Returns the camelCase arguments of an API call."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True)
class Response:
    """What the stand-in sends back. A dict is sent as JSON."""

    status: int = 200
    body: bytes | dict = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None  # break the connection after this many bytes of the body
    hang_at: int | None = None  # send nothing more after this many bytes


def accept_token(request: Request) -> Response:
    """Accepts every token."""
    return Response(body={"active": True, "username": "someone"})


def redirect_download(request: Request) -> Response:
    """Redirects to a signed address on another host, as Kaggle does."""
    return Response(302, headers={"Location": f"http://{FILE_HOST}{ARCHIVE}?signature=signed-address"})


def accept_submission(request: Request) -> Response:
    """Accepts every submission."""
    return Response(body={"message": "Successfully submitted to I’m Something of a Painter Myself", "ref": 1})


def scored_submission(request: Request) -> Response:
    """Has scored every submission."""
    return Response(body={"ref": request.json()["ref"], "status": "COMPLETE", "publicScore": "53.25"})


def submission_limits(request: Request) -> Response:
    """Allows four more submissions today."""
    return Response(body={"numAllowedNow": 4})


def save_kernel(request: Request) -> Response:
    """Makes every push version 7."""
    slug = request.json()["slug"]
    return Response(body={"ref": f"/code/{slug}", "url": f"https://www.kaggle.com/code/{slug}", "versionNumber": 7})


def unknown_kernel(request: Request) -> Response:
    """Responds as Kaggle does for a kernel that was never pushed."""
    return Response(403, {"code": 403, "message": "Permission 'kernels.get' was denied"})


@dataclass
class KaggleStandIn:
    """The server's port, its handlers by API method or path, and the requests that it got."""

    port: int
    handlers: dict[str, Callable[[Request], Response]] = field(default_factory=lambda: {
        INTROSPECT: accept_token, DOWNLOAD: redirect_download, SUBMIT: accept_submission, LIMITS: submission_limits,
        SAVE: save_kernel, STATUS: unknown_kernel, SUBMISSION: scored_submission})
    requests: list[Request] = field(default_factory=list)
    foreign_requests: list[str] = field(default_factory=list)  # to other hosts: there must be none
    closing: threading.Event = field(default_factory=threading.Event)

    def requests_to(self, name: str) -> list[Request]:
        """Returns the requests to an API method or a path (without query), in order."""
        return [request for request in self.requests if request.name.split("?")[0] == name]

    def environment(self, home: Path, **variables: str) -> dict[str, str]:
        """Returns a complete environment for the client, without the tester's own account."""
        return client_environment(home, self.port, **variables)

    def respond(self, name: str, response: Response) -> None:
        """Sends `response` to every request to an API method or a path."""
        self.handlers[name] = lambda request: response

    def serve_status(self, *states: str, message: str = "") -> None:
        """Reports these states of the kernel, one per request, and the last one from then on."""
        remaining = list(states)

        def handler(request: Request) -> Response:
            state = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            return Response(body={"status": state, "failureMessage": message if state == "ERROR" else ""})

        self.handlers[STATUS] = handler

    def serve_output(self, files: dict[str, Response], log: str = "") -> None:
        """Offers a kernel's output files by name, and its log."""
        listing = [{"fileName": name, "url": f"http://{FILE_HOST}/output/{name}?signature=signed-address"}
                   for name in files]
        self.respond(OUTPUT, Response(body={"files": listing, "log": log}))
        for name, response in files.items():
            self.respond(f"/output/{name}", response)

    def serve_archive(self, content: bytes, cut_first: int | None = None, hang_first: int | None = None,
                      path: str = ARCHIVE) -> None:
        """Offers `content` for download, with ranges. The first transfer breaks or hangs after that many bytes."""
        def handler(request: Request) -> Response:
            first = len(self.requests_to(path)) == 1
            headers = {"Accept-Ranges": "bytes", "ETag": ETAG, "Last-Modified": MODIFIED,
                       "Content-Type": "application/zip"}
            requested = request.headers.get("Range")
            if requested and request.headers.get("If-Range") in (None, ETAG):
                start = int(requested.removeprefix("bytes=").rstrip("-"))
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                return Response(206, content[start:], headers)
            return Response(200, content, headers, cut_first if first else None, hang_first if first else None)

        self.handlers[path] = handler


def client_environment(home: Path, port: int, **variables: str) -> dict[str, str]:
    """Returns a complete environment with `home` and both guards: Kaggle's local site, and the proxy at `port`."""
    proxy = f"http://127.0.0.1:{port}"
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**inherited, "HOME": str(home), "KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": proxy,
                   "https_proxy": proxy, "TF_CPP_MIN_LOG_LEVEL": "2", **variables}
    check_guards(environment)
    return environment


def check_guards(environment: dict[str, str]) -> None:
    """Asserts that a client with this environment can reach nothing but loopback."""
    assert environment["KAGGLE_API_ENVIRONMENT"] == "LOCALHOST"
    assert all(re.fullmatch(r"http://127\.0\.0\.1:\d+", environment[name]) for name in ("http_proxy", "https_proxy"))
    assert not any(name.lower() in ("no_proxy", "all_proxy") for name in environment)


def dead_port() -> int:
    """Returns a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Handler(BaseHTTPRequestHandler):
    """Takes a proxy's requests (absolute addresses) and sends the stand-in's responses."""

    protocol_version = "HTTP/1.1"
    site: KaggleStandIn  # set by kaggle_stand_in()

    def reply(self) -> None:
        """Records the request and responds to it."""
        address = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if address.scheme != "http" or address.netloc not in (API_HOST, FILE_HOST):
            self.site.foreign_requests.append(f"{self.command} {self.path}")
            self.send(Response(502))
            return
        path = address.path + (f"?{address.query}" if address.query else "")
        request = Request(self.command, address.netloc, path, dict(self.headers), body)
        self.site.requests.append(request)
        handler = self.site.handlers.get(request.name.split("?")[0])
        self.send(handler(request) if handler else Response(404, {"code": 404, "message": f"no {request.name} here"}))

    def handle(self) -> None:
        """Handles one connection. Some tests kill the client, which then hangs up."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    do_GET = do_POST = do_PUT = do_HEAD = do_CONNECT = reply

    def send(self, response: Response) -> None:
        """Sends the response, or its beginning if it is to break off or hang."""
        as_json = isinstance(response.body, dict)
        body = json.dumps(response.body).encode() if as_json else response.body
        headers = {"Content-Type": "application/json"} if as_json else {}
        self.send_response(response.status)
        for name, value in {**headers, **response.headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        end = next((at for at in (response.cut_at, response.hang_at) if at is not None), len(body))
        with contextlib.suppress(ConnectionError):  # a client may hang up after the headers
            self.wfile.write(body[:end])
        if response.hang_at is not None:
            self.site.closing.wait(60)
        if end < len(body):
            self.close_connection = True

    def log_message(self, *arguments) -> None:
        """Keeps the tests' stderr clean."""


@contextlib.contextmanager
def kaggle_stand_in() -> Iterator[KaggleStandIn]:
    """Runs a stand-in during the `with` block; then asserts that no other host was asked for."""
    handler = type("SiteHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.site = site = KaggleStandIn(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
    assert not site.foreign_requests, f"requests to other hosts: {site.foreign_requests}"
