"""A stand-in for Google Cloud Storage on loopback: enough of its API for TensorFlow's client to list and read."""

import http.server
import json
import os
import ssl
import threading
import urllib.parse
from pathlib import Path

import trustme

LISTS = "www.googleapis.com"  # host of object lists and metadata (JSON)
OBJECTS = "storage.googleapis.com"  # host of the objects' content
PAGE_SIZE = 1  # names per page of a list: small, so that the client has to fetch several


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection: an HTTP proxy until CONNECT, then the requested host over TLS."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds; an abandoned connection must not outlive the tests
    disable_nagle_algorithm = True  # headers and body are two packets: do not wait for an acknowledgement in between
    host = ""  # from CONNECT; empty before

    def do_CONNECT(self):
        self.host = self.path.rpartition(":")[0]
        if self.host not in (LISTS, OBJECTS):
            self.refuse()
            return
        self.send_response(200)
        self.end_headers()
        self.request = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.setup()  # from here on, read and write through TLS
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
        """Sends one page of the objects below `folder`; with a delimiter, deeper objects only as prefixes."""
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
        stop = start + min(PAGE_SIZE, int(query.get("maxResults", PAGE_SIZE)))
        page = {"items": [{"name": name} for name in names[start:stop]], "prefixes": sorted(prefixes)}
        if stop < len(names):
            page["nextPageToken"] = str(stop)
        self.send_body(json.dumps({key: value for key, value in page.items() if value}).encode())

    def send_metadata(self, path: Path):
        if not path.is_file():
            self.send_error(404, "No such object")
            return
        self.send_body(json.dumps({"size": str(path.stat().st_size), "generation": "1",
                                   "updated": "2026-01-01T00:00:00.000Z"}).encode())

    def send_object(self, path: Path, fault: str):
        """Sends the requested range, or with a fault only its first half before breaking the connection."""
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
        """Announces the whole body and sends its first `sent` bytes."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.wfile.flush()

    def log_message(self, *args):
        pass


class GcsStandIn(http.server.ThreadingHTTPServer):
    """Serves local folders as buckets during a `with` block.

    Args:
        folder: Where to write the certificate.
        buckets: The folder of each bucket, by the bucket's name.
        faults: What is wrong with a bucket, by its name: "forbidden" (403 to everything), "unreadable" (403 to reading,
            not to listing), "cut" (every read breaks off half-way), "cut once" (each object's first read does).
    """

    daemon_threads = True

    def __init__(self, folder: Path, buckets: dict[str, Path], faults: dict[str, str]):
        super().__init__(("127.0.0.1", 0), Handler)
        self.buckets, self.faults = buckets, faults
        self.requests: list[tuple[str, str, str]] = []  # host, path, range
        self.refused: list[str] = []  # requests to other hosts
        self.cut: list[str] = []  # paths of the reads that were cut, in order
        authority = trustme.CA()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(LISTS, OBJECTS).configure_cert(self.tls)
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.certificate)

    def environment(self, home: Path) -> dict[str, str]:
        """Returns the environment for a process whose TensorFlow is to use this stand-in. Set it before the start.

        It shortens TensorFlow's retries: by default it retries a broken read ten times, over minutes.
        """
        kept = {key: value for key, value in os.environ.items()
                if not key.upper().endswith("_PROXY") and not key.startswith(("GCS_", "GOOGLE_"))}
        proxy = f"http://127.0.0.1:{self.server_port}"
        return kept | {
            "https_proxy": proxy, "http_proxy": proxy, "CURL_CA_BUNDLE": str(self.certificate),
            "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(home), "HOME": str(home),  # hide the tester's credentials
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
        """Ignores clients that hang up, as some tests make them do."""
