"""A stand-in for Google Cloud Storage on loopback: enough of it for TensorFlow's own client to list and read."""

import http.server
import json
import os
import ssl
import threading
import urllib.parse
from pathlib import Path

import trustme

LISTS = "www.googleapis.com"  # where the client asks for object lists and metadata (JSON)
OBJECTS = "storage.googleapis.com"  # where it reads the objects themselves
PAGE = 1  # names a page of a list: so few that the client has to turn pages


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: an HTTP proxy until CONNECT, then the host that the client asked for, over TLS."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds; an abandoned connection must not outlive the tests
    disable_nagle_algorithm = True  # head and body go out as two packets: do not wait for the first one's receipt
    host = ""  # what CONNECT asked for; empty: a request without TLS, which the proxy does not pass on

    def do_CONNECT(self):
        self.host = self.path.rpartition(":")[0]
        if self.host not in (LISTS, OBJECTS):
            self.refuse()
            return
        self.send_response(200)
        self.end_headers()
        self.request = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.setup()  # from here on the handler reads and writes through TLS
        self.close_connection = False

    def refuse(self):
        self.server.refused.append(self.path)
        self.close_connection = True
        self.send_error(403, "this proxy leads nowhere else")

    def do_GET(self):
        if not self.host:
            self.refuse()
            return
        url = urllib.parse.urlsplit(self.path)
        self.server.requests.append((self.host, self.path, self.headers.get("Range", "")))
        parts = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        if self.host == LISTS:
            bucket, name = parts[3], "/".join(parts[5:])  # storage/v1/b/BUCKET/o/NAME
        else:
            bucket, name = parts[0], "/".join(parts[1:])
        fault = self.server.faults.get(bucket, "")
        if bucket not in self.server.buckets:
            self.send_error(404, "The specified bucket does not exist")
        elif fault == "forbidden" or (fault == "unreadable" and self.host == OBJECTS):
            self.send_error(403, "Anonymous caller does not have access to the Google Cloud Storage object")
        elif self.host == OBJECTS:
            self.send_object(self.server.buckets[bucket] / name, fault)
        elif name:
            self.send_metadata(self.server.buckets[bucket] / name)
        else:
            self.send_list(self.server.buckets[bucket], dict(urllib.parse.parse_qsl(url.query)))

    def send_list(self, folder: Path, query: dict):
        """One page of the objects below `folder`: with a delimiter, what lies deeper only as a prefix."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        names, prefixes = [], set()
        for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
            if name.startswith(prefix):
                head, deeper, _ = name[len(prefix):].partition(delimiter) if delimiter else (name, "", "")
                if deeper:
                    prefixes.add(prefix + head + deeper)
                else:
                    names.append(name)
        start = int(query.get("pageToken", 0))
        stop = start + min(PAGE, int(query.get("maxResults", PAGE)))
        answer = {"items": [{"name": name} for name in names[start:stop]], "prefixes": sorted(prefixes)}
        if stop < len(names):
            answer["nextPageToken"] = str(stop)
        self.send_body(json.dumps({key: value for key, value in answer.items() if value}).encode())

    def send_metadata(self, path: Path):
        if not path.is_file():
            self.send_error(404, "No such object")
            return
        self.send_body(json.dumps({"size": str(path.stat().st_size), "generation": "1",
                                   "updated": "2026-01-01T00:00:00.000Z"}).encode())

    def send_object(self, path: Path, fault: str):
        """The range that the client asked for; with a fault, only its first half before the connection breaks."""
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        content = path.read_bytes()
        body = content[int(first):int(last) + 1]
        if not body:
            self.send_error(416, "Requested range not satisfiable")
            return
        cut = fault == "cut" or (fault == "cut once" and self.path not in self.server.cut)
        self.send_body(body, 206, len(body) // 2 if cut else len(body))
        if cut:
            self.server.cut.append(self.path)
            self.close_connection = True

    def send_body(self, body: bytes, status: int = 200, sent: int | None = None):
        """Announces all of `body` and sends the first `sent` bytes of it."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()

    def log_message(self, *args):
        pass


class GcsStandIn(http.server.ThreadingHTTPServer):
    """Serves local folders as buckets, for as long as the `with` block runs.

    Args:
        folder: Where the certificate goes.
        buckets: From a bucket's name to the folder it serves.
        faults: From a bucket's name to what is wrong with it: "forbidden" (403 to everything), "unreadable" (403 to
            reading, not to listing), "cut" (every read breaks off half-way), "cut once" (each object's first does).
    """

    daemon_threads = True

    def __init__(self, folder: Path, buckets: dict[str, Path], faults: dict[str, str]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.buckets, self.faults = buckets, faults
        self.requests: list[tuple[str, str, str]] = []  # host, path, range
        self.refused: list[str] = []  # what else the client wanted to reach
        self.cut: list[str] = []  # paths of reads that were cut, once for each time
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(LISTS, OBJECTS).configure_cert(self.tls)
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.certificate)

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of a process whose TensorFlow is to meet this stand-in; must be set before it starts.

        The retries are TensorFlow's own, shortened: by default it tries a broken read eleven times, over minutes.
        """
        kept = {key: value for key, value in os.environ.items()
                if not key.upper().endswith("_PROXY") and not key.startswith(("GCS_", "GOOGLE_"))}
        proxy = f"http://127.0.0.1:{self.server_port}"
        return kept | {
            "https_proxy": proxy, "http_proxy": proxy, "CURL_CA_BUNDLE": str(self.certificate),
            "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(home), "HOME": str(home),  # no credentials of the user's
            "GCS_RETRY_CONFIG_MAX_RETRIES": "2", "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "10000",
            "GCS_RETRY_CONFIG_MAX_DELAY_TIME_US": "100000",
        }

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """Silence: a client that hangs up is what some of the tests are about."""
