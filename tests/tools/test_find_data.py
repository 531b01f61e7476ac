"""Where the training data comes from, and its download with the real kaggle client from a stand-in on loopback."""

import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import find_data
import pytest
from find_data import default_data
from kaggle_site.credentials import config_folder, find_credentials
from kaggle_site.download import run_download
from PIL import Image
from support.kaggle_stand_in import (
    API_HOST,
    ARCHIVE,
    DOWNLOAD,
    FILE_HOST,
    INTROSPECT,
    Response,
    client_environment,
    dead_port,
)
from support.programs import run_main
from support.settings import ROOT, TOOLS

from monet.core.errors import UserError
from monet.data import validation
from monet.data.writing import write_records

KEY = "KGAT_0123456789abcdef-dummy"  # a made-up token
CHUNK = 2**20  # bytes that the client writes at a time; it loses what it got of a broken chunk
RULES = "https://www.kaggle.com/competitions/gan-getting-started/rules"


def jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((32, 32), 20 + number).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def write_data(root: Path, monet: int = 2, photo: int = 3) -> Path:
    for domain, count in (("monet", monet), ("photo", photo)):
        (root / f"{domain}_tfrec").mkdir(parents=True)
        rows = [(f"{number:010x}", jpeg(number)) for number in range(count)]
        write_records(str(root / f"{domain}_tfrec" / f"{domain}00-{count}.tfrec"), rows, domain)
    return root


@pytest.fixture(scope="module")
def competition_zip(tmp_path_factory) -> bytes:
    """What Kaggle serves: the TFRecords and JPGs. As a malicious site might, adds paths that lead out of the folder."""
    root = write_data(tmp_path_factory.mktemp("competition"))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(root.rglob("*.tfrec")):
            archive.write(path, path.relative_to(root))
        archive.writestr("monet_jpg/1.jpg", bytes(3 * CHUNK))
        for name in ("../escaped.tfrec", "monet_tfrec/../../escaped.tfrec", "/tmp/escaped.tfrec"):
            archive.writestr(name, b"out")
    return file.getvalue()


@pytest.fixture
def data(tmp_path) -> Path:
    """The folder for downloads and the sample; it does not exist yet."""
    return tmp_path / "project" / "data"


@pytest.fixture
def find(site, data, home, capsys):
    """Runs find_data.py with its data in `data`: (exit status, stdout, stderr). No secret may be printed."""
    data.parent.mkdir()

    def run(*words: str, port: int | None = None, **variables: str) -> tuple[int, str, str]:
        variables = {"MONET_KAGGLE_INPUT": str(data.parent / "no-mount"), **variables}
        environment = client_environment(home, port or site.port, **variables)
        main = functools.partial(find_data.main, list(words), data)
        status, out, err = run_main(main, environment, data.parent, capsys)
        assert KEY not in out + err and "signed-address" not in out + err
        return status, out, err

    return run


def test_download_is_unpacked_counted_and_the_zip_removed(site, find, data, tmp_path, competition_zip):
    site.serve_archive(competition_zip)
    status, out, err = find("--download", KAGGLE_API_TOKEN=KEY)
    assert (status, out) == (0, f"{data}/gan-getting-started\n"), err
    assert [request.json() for request in site.requests_to(DOWNLOAD)] == [{"competitionName": "gan-getting-started"}]
    assert site.requests_to(DOWNLOAD)[0].headers["Authorization"] == f"Bearer {KEY}"
    assert {request.host for request in site.requests} == {API_HOST, FILE_HOST}
    assert "2 paintings and 3 photos" in err
    assert [path.name for path in data.iterdir()] == ["gan-getting-started"]
    files = sorted(str(path.relative_to(data / "gan-getting-started")) for path in data.rglob("*.*"))
    assert files == ["monet_tfrec/monet00-2.tfrec", "photo_tfrec/photo00-3.tfrec"]
    assert not list(tmp_path.rglob("escaped*")) and not Path("/tmp/escaped.tfrec").exists()


def test_broken_connection_is_resumed_by_the_client(site, find, competition_zip):
    site.serve_archive(competition_zip, cut_first=2 * CHUNK + 500)
    status, out, err = find(KAGGLE_API_TOKEN=KEY)
    assert status == 0, err
    assert [request.headers.get("Range") for request in site.requests_to(ARCHIVE)] == [None, f"bytes={2 * CHUNK}-"]
    assert validation.find_data(out.strip()).photo.count == 3


def start_download(project: Path, environment: dict[str, str]) -> subprocess.Popen:
    """Starts find_data.py --download as a process group."""
    # pytest may run in the background with Ctrl-C ignored, and child processes inherit that.
    return subprocess.Popen([sys.executable, "tools/find_data.py", "--download"], cwd=project, env=environment,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def test_interrupted_download_is_resumed_by_the_next_run(site, tmp_path, home, competition_zip):
    """The real program, in a copy of the checkout."""
    shutil.copytree(TOOLS, tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__", "*.jpg"))
    part = 2 * CHUNK
    zip_path = tmp_path / "data/gan-getting-started.zip"
    site.serve_archive(competition_zip, hang_first=part + 500)
    environment = {**site.environment(home, KAGGLE_API_TOKEN=KEY), "PYTHONPATH": str(ROOT / "src")}
    process = start_download(tmp_path, environment)
    deadline = time.monotonic() + 100
    while not (zip_path.exists() and zip_path.stat().st_size == part) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130 and "resumes" in err and "Traceback" not in err
    assert zip_path.stat().st_size == part
    process = start_download(tmp_path, environment)
    out, err = process.communicate(timeout=100)
    ranges = [request.headers.get("Range") for request in site.requests_to(ARCHIVE)]
    assert process.returncode == 0 and "Resuming" in err, err
    assert ranges[0] is None and ranges[-1] == f"bytes={part}-"
    assert out == f"{tmp_path}/data/gan-getting-started\n"
    assert validation.find_data(out.strip()).monet.count == 2


def test_stalled_download_is_stopped(site, home, tmp_path, competition_zip, monkeypatch):
    site.serve_archive(competition_zip, hang_first=0)
    for name, value in site.environment(home, KAGGLE_API_TOKEN=KEY).items():
        monkeypatch.setenv(name, value)
    status, output = run_download(tmp_path / "gan-getting-started.zip", stall_seconds=1)
    assert status == 1 and "ReadTimeout" in output and "1 second" in output


@pytest.mark.parametrize(("response", "message"), [
    (Response(403, {"code": 403, "message": "You must accept this competition's rules before you can download."}),
     RULES),
    (Response(403, b"Forbidden"), RULES),
    (Response(401, {"code": 401, "message": "Unauthenticated"}), "KAGGLE_API_TOKEN (401)"),
    (Response(500, b"oops"), "500 Server Error"),
])
def test_refused_download_is_an_error_that_says_what_to_do(site, find, response, message):
    site.respond(DOWNLOAD, response)
    status, out, err = find("--download", KAGGLE_API_TOKEN=KEY)
    assert len(site.requests_to(DOWNLOAD)) == 1
    assert (status, out) == (2, "") and message in err and "make data" in err


@pytest.mark.parametrize("response", [Response(401, b"no"), Response(403, b"no"), Response(200, {"active": False})])
def test_wrong_token_is_an_error_that_names_its_file(site, find, home, response):
    token = home / ".kaggle/access_token"
    token.parent.mkdir()
    token.write_text(f"{KEY}\n")
    site.respond(INTROSPECT, response)
    status, out, err = find("--download")
    assert site.requests and not site.requests_to(DOWNLOAD)
    assert (status, out) == (2, "") and f"{token} (401)" in err and "settings/api" in err


def test_missing_credentials_are_an_error_that_names_the_ways_to_give_them(site, find):
    status, out, err = find("--download")
    assert (status, out, site.requests) == (2, "", [])
    for way in ("KAGGLE_API_TOKEN", "~/.kaggle/access_token", "KAGGLE_USERNAME", "kaggle.json", RULES):
        assert way in err


def test_missing_network_is_an_error(find):
    status, out, err = find("--download", port=dead_port(), KAGGLE_USERNAME="someone", KAGGLE_KEY=KEY)
    assert (status, out) == (2, "") and "No connection" in err


def test_key_that_the_client_would_print_is_hidden(find):
    """A line break in the token makes the client print it, in its message about the header."""
    status, _, err = find("--download", KAGGLE_API_TOKEN=f"{KEY}\n{KEY}", VERBOSE="1")
    assert status == 2 and "Invalid header value" in err


def test_failed_optional_download_falls_back_to_the_sample(site, find, data):
    (data / "sample").mkdir(parents=True)
    (data / "sample/SAMPLE").write_text("drawn before")
    site.respond(DOWNLOAD, Response(403, b"Forbidden"))
    status, out, err = find(KAGGLE_API_TOKEN=KEY)
    assert (status, out) == (0, f"{data}/sample\n")
    assert RULES in err and "SAMPLE" in err and "no real paintings" in err


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_zip_is_removed_with_a_message(site, find, data, competition_zip, damage):
    """A zip that someone put there by hand: truncated, or complete with a wrong byte inside."""
    zip_path = data / "gan-getting-started.zip"
    zip_path.parent.mkdir()
    content = bytearray(competition_zip)
    content[200] ^= 0xFF
    zip_path.write_bytes(competition_zip[:2000] if damage == "cut" else bytes(content))
    site.serve_archive(competition_zip)
    status, _, err = find("--download", KAGGLE_API_TOKEN=KEY)
    assert "removed" in err
    if damage == "flipped":
        assert status == 2 and "damaged" in err and not site.requests
        status, _, err = find("--download", KAGGLE_API_TOKEN=KEY)
    assert status == 0 and [request.headers.get("Range") for request in site.requests_to(ARCHIVE)] == [None]
    assert not zip_path.exists() and (data / "gan-getting-started").is_dir()


def test_zip_without_the_data_is_kept_and_named(find, data):
    zip_path = data / "gan-getting-started.zip"
    zip_path.parent.mkdir()
    with zipfile.ZipFile(zip_path, "w") as archive:
        archive.writestr("sales.csv", "1,2")
    status, _, err = find("--download", port=dead_port())
    assert status == 2 and str(zip_path) in err and "does not hold" in err
    assert [path.name for path in data.iterdir()] == [zip_path.name]


def test_order_of_the_places(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "data"
    (folder / "sample").mkdir(parents=True)
    (folder / "sample/SAMPLE").write_text("drawn before")
    assert default_data(folder=folder) == str(folder / "sample")
    assert "SAMPLE" in capsys.readouterr().err

    mount = write_data(tmp_path / "input/competitions/gan-getting-started")
    assert default_data(folder=folder) == str(mount)
    assert "mount" in capsys.readouterr().err

    local = write_data(folder / "gan-getting-started")
    assert default_data(folder=folder) == str(local)
    assert capsys.readouterr().err == f"Data: {local}.\n"

    assert default_data("gs://bucket/data", folder) == "gs://bucket/data"
    assert default_data("tfds:cycle_gan/horse2zebra", folder) == "tfds:cycle_gan/horse2zebra"
    assert default_data(str(mount), folder) == str(mount)
    assert "as given" in capsys.readouterr().err
    with pytest.raises(UserError, match="nowhere is not a folder"):
        default_data(str(tmp_path / "nowhere"), folder)


def test_existing_data_is_not_downloaded_again(find, data):
    write_data(data / "gan-getting-started")
    status, out, err = find("--download", port=dead_port(), KAGGLE_API_TOKEN=KEY)
    assert (status, out) == (0, f"{data}/gan-getting-started\n") and "2 paintings and 3 photos" in err


def test_dry_run_shows_the_download_and_sends_nothing(site, find, data):
    status, _, err = find("--download", "--dry-run", KAGGLE_API_TOKEN=KEY)
    assert status == 0 and "would run: kaggle competitions download gan-getting-started -p data\n" in err
    assert not site.requests and not data.exists()


def test_missing_folder_is_an_error(find):
    status, out, err = find("nowhere")
    assert (status, out) == (2, "") and "error: DATA=nowhere" in err


def test_unwritable_folder_is_an_error_that_names_it(find, data):
    data.write_text("a file where the folder belongs")
    status, out, err = find()
    assert (status, out) == (2, "") and f"{data}/sample" in err and "DATA=FOLDER" in err


def test_credentials_are_looked_for_where_the_client_looks(tmp_path, monkeypatch):
    """Compares the folder of kaggle.json with the one that the real client reports."""
    for name in [name for name in os.environ if name.startswith(("KAGGLE_", "XDG_"))]:
        monkeypatch.delenv(name)
    for case, (variables, folder) in enumerate([
        ({}, ".config/kaggle"),
        ({}, ".kaggle"),
        ({"KAGGLE_CONFIG_DIR": "elsewhere"}, "elsewhere"),
        ({"XDG_CONFIG_HOME": "xdg"}, "xdg/kaggle"),
    ]):
        home = tmp_path / str(case)
        (home / folder).mkdir(parents=True)
        variables = {name: str(home / value) for name, value in variables.items()}
        with monkeypatch.context() as patch:
            patch.setenv("HOME", str(home))
            for name, value in variables.items():
                patch.setenv(name, value)
            assert find_credentials() == {}
            (home / folder / "kaggle.json").write_text(json.dumps({"username": "someone", "key": KEY}))
            assert config_folder() == home / folder
            assert find_credentials() == {str(home / folder / "kaggle.json"): [KEY]}
        shown = subprocess.run([sys.executable, "-P", "-m", "kaggle", "config", "view"], text=True, timeout=60,
                               env=client_environment(home, dead_port(), **variables), capture_output=True, check=True)
        assert f"Configuration values from {home / folder}" in shown.stdout and "someone" in shown.stdout


def test_order_of_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle/access_token").write_text("token in a file\n")
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.setenv("KAGGLE_KEY", "old key")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    monkeypatch.delenv("KAGGLE_CONFIG_DIR", raising=False)
    assert list(find_credentials()) == ["KAGGLE_API_TOKEN", f"{tmp_path}/.kaggle/access_token", "KAGGLE_KEY"]
    assert ["token in a file"] in find_credentials().values()


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_folders_name_reaches_make_as_it_is(tmp_path, encoding):
    """Whatever the output's encoding, and if the name has none."""
    folder = os.fsencode(tmp_path) + b"/Bl\xc3\xa4tter-\xff"
    os.mkdir(folder)
    found = subprocess.run([sys.executable, TOOLS / "find_data.py", folder], capture_output=True, timeout=60, env={
        **os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": encoding})
    assert (found.returncode, found.stdout) == (0, folder + b"\n"), found.stderr


def test_a_quoted_tilde_is_the_home_folder(tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    status, out, _ = run_main(lambda: find_data.main(["~/pictures"]), environment, tmp_path, capsys)
    assert (status, out) == (0, f"{tmp_path}/pictures\n")
