"""Where the training data comes from, and the download: the real kaggle client against a stand-in on loopback."""

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

import pytest
from find_data import default_data
from kaggle_site.client import client_folder, find_credentials
from kaggle_site.download import run_client
from PIL import Image
from support.kaggle_stand_in import API_HOST, FILE_HOST, Answer, client_environment, dead_port, stand_in
from support.settings import TOOLS

from monet.core.errors import UserError
from monet.data.validation import find_data
from monet.data.writing import write_records

KEY = "KGAT_0123456789abcdef-dummy"  # a made-up token
DOWNLOAD = "competitions.CompetitionApiService/DownloadDataFiles"
CHUNK = 2**20  # the client writes so many bytes at a time: what came of a broken chunk is lost
RULES = "https://www.kaggle.com/competitions/gan-getting-started/rules"


def jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((32, 32), 20 + number).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def write_data(root: Path, monet: int = 2, photo: int = 3) -> Path:
    for side, count in (("monet", monet), ("photo", photo)):
        (root / f"{side}_tfrec").mkdir(parents=True)
        rows = [(f"{number:010x}", jpeg(number)) for number in range(count)]
        write_records(str(root / f"{side}_tfrec" / f"{side}00-{count}.tfrec"), rows, side)
    return root


@pytest.fixture(scope="module")
def competition_zip(tmp_path_factory) -> bytes:
    """What Kaggle serves: the TFRecords, the same as JPGs, and (as a wicked site might) paths that lead out."""
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
def project(tmp_path) -> Path:
    """A project of its own, so that its data/ is too: the real programs, and a home with nothing in it."""
    (tmp_path / "project/tools").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    for path in TOOLS.glob("*.py"):
        shutil.copy(path, tmp_path / "project/tools")
    return tmp_path / "project"


def start(project: Path, environment: dict, *arguments: str) -> subprocess.Popen:
    environment = {"MONET_KAGGLE_INPUT": str(project / "no-mount"), **environment}
    # Tests that run in the background have Ctrl-C ignored, and children inherit that.
    return subprocess.Popen([sys.executable, "tools/find_data.py", *arguments], cwd=project, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def find(project: Path, environment: dict, *arguments: str) -> tuple[int, str, str]:
    """Runs find_data.py: (exit status, stdout, stderr). The key must never be seen."""
    process = start(project, environment, *arguments)
    out, err = process.communicate(timeout=200)
    assert KEY not in out + err and "signed-address" not in out + err
    assert "Traceback" not in err
    return process.returncode, out, err


def home_of(project: Path) -> Path:
    return project.parent / "home"


def test_download_is_unpacked_counted_and_the_zip_removed(project, competition_zip):
    with stand_in() as kaggle:
        kaggle.serve_file(competition_zip)
        status, out, err = find(project, kaggle.environment(home_of(project), KAGGLE_API_TOKEN=KEY), "--download")
        assert (status, out) == (0, f"{project}/data/gan-getting-started\n"), err
        assert [call.json() for call in kaggle.called(DOWNLOAD)] == [{"competitionName": "gan-getting-started"}]
        assert kaggle.called(DOWNLOAD)[0].headers["Authorization"] == f"Bearer {KEY}"
        assert {call.host for call in kaggle.calls} == {API_HOST, FILE_HOST}
    assert "2 paintings and 3 photos" in err
    assert sorted(path.name for path in (project / "data").iterdir()) == ["gan-getting-started"]
    below = sorted(str(path.relative_to(project / "data")) for path in (project / "data").rglob("*.*"))
    assert below == [f"gan-getting-started/{name}" for name in
                     ("monet_tfrec/monet00-2.tfrec", "photo_tfrec/photo00-3.tfrec")]
    assert not list(project.parent.rglob("escaped*")) and not Path("/tmp/escaped.tfrec").exists()


def test_broken_connection_is_resumed_by_the_client(project, competition_zip):
    with stand_in() as kaggle:
        kaggle.serve_file(competition_zip, cut_first=2 * CHUNK + 500)
        status, out, err = find(project, kaggle.environment(home_of(project), KAGGLE_API_TOKEN=KEY))
        ranges = [call.headers.get("Range") for call in kaggle.called("/bundle/archive.zip")]
    assert status == 0, err
    assert ranges == [None, f"bytes={2 * CHUNK}-"]
    assert find_data(out.strip()).photo.count == 3


def test_stopped_download_goes_on_in_the_next_run(project, competition_zip):
    part = 2 * CHUNK
    zip_path = project / "data/gan-getting-started.zip"
    with stand_in() as kaggle:
        kaggle.serve_file(competition_zip, hang_first=part + 500)
        environment = kaggle.environment(home_of(project), KAGGLE_API_TOKEN=KEY)
        first = start(project, environment, "--download")
        until = time.monotonic() + 100
        while not (zip_path.exists() and zip_path.stat().st_size == part) and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGINT)  # what Ctrl-C does
        assert "goes on from there next time" in first.communicate(timeout=100)[1] and first.returncode == 130
        assert zip_path.stat().st_size == part
        status, out, err = find(project, environment, "--download")
        ranges = [call.headers.get("Range") for call in kaggle.called("/bundle/archive.zip")]
    assert status == 0 and "Going on with the download" in err, err
    assert ranges[0] is None and ranges[-1] == f"bytes={part}-"
    assert find_data(out.strip()).monet.count == 2


def test_download_that_stalls_is_given_up(tmp_path, competition_zip, monkeypatch):
    with stand_in() as kaggle:
        kaggle.serve_file(competition_zip, hang_first=0)
        for name, value in kaggle.environment(tmp_path, KAGGLE_API_TOKEN=KEY).items():
            monkeypatch.setenv(name, value)
        status, output = run_client(tmp_path / "gan-getting-started.zip", stall_seconds=2)
    assert status == 1 and "nothing came for 2 seconds" in output


@pytest.mark.parametrize(("answer", "says"), [
    (Answer(403, {"code": 403, "message": "You must accept this competition's rules before you can download."}), RULES),
    (Answer(403, b"Forbidden"), RULES),
    (Answer(401, {"code": 401, "message": "Unauthenticated"}), "KAGGLE_API_TOKEN (401)"),
    (Answer(500, b"oops"), "500 Server Error"),
])
def test_refused_download_is_an_error_that_says_what_to_do(project, answer, says):
    with stand_in() as kaggle:
        kaggle.answers[DOWNLOAD] = lambda call: answer
        status, out, err = find(project, kaggle.environment(home_of(project), KAGGLE_API_TOKEN=KEY), "--download")
        assert len(kaggle.called(DOWNLOAD)) == 1
    assert (status, out) == (2, "") and says in err and "make data" in err


@pytest.mark.parametrize("answer", [Answer(401, b"no"), Answer(403, b"no"), Answer(200, {"active": False})])
def test_wrong_token_is_an_error_that_says_where_it_lies(project, answer):
    token = home_of(project) / ".kaggle/access_token"
    token.parent.mkdir()
    token.write_text(f"{KEY}\n")
    with stand_in() as kaggle:
        kaggle.answers["security.OAuthService/IntrospectToken"] = lambda call: answer
        status, out, err = find(project, kaggle.environment(home_of(project)), "--download")
        assert kaggle.calls and not kaggle.called(DOWNLOAD)
    assert (status, out) == (2, "") and f"{token} (401)" in err and "settings/api" in err


def test_no_credentials_is_an_error_that_names_the_ways_to_give_them(project):
    with stand_in() as kaggle:
        status, out, err = find(project, kaggle.environment(home_of(project)), "--download")
        assert not kaggle.calls
    assert (status, out) == (2, "")
    for way in ("KAGGLE_API_TOKEN", "~/.kaggle/access_token", "KAGGLE_USERNAME", "kaggle.json", RULES):
        assert way in err


def test_no_network_is_an_error(project):
    environment = client_environment(home_of(project), dead_port(), KAGGLE_USERNAME="someone", KAGGLE_KEY=KEY)
    status, out, err = find(project, environment, "--download")
    assert (status, out) == (2, "") and "No connection to Kaggle" in err


def test_key_that_the_client_would_print_is_hidden(project):
    """A token with a line break in it makes the client print it, in the complaint about the header."""
    with stand_in() as kaggle:
        status, _, err = find(project, kaggle.environment(home_of(project), KAGGLE_API_TOKEN=f"{KEY}\n{KEY}",
                                                          VERBOSE="1"), "--download")
    assert status == 2 and "Invalid header value" in err


def test_failed_download_that_nobody_demanded_falls_back_to_the_sample(project):
    (project / "data/sample").mkdir(parents=True)
    (project / "data/sample/SAMPLE").write_text("drawn before")
    with stand_in() as kaggle:
        kaggle.answers[DOWNLOAD] = lambda call: Answer(403, b"Forbidden")
        status, out, err = find(project, kaggle.environment(home_of(project), KAGGLE_API_TOKEN=KEY))
    assert (status, out) == (0, f"{project}/data/sample\n")
    assert RULES in err and "SAMPLE" in err and "no real paintings" in err


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_zip_is_removed_with_a_word(project, competition_zip, damage):
    """A zip that someone put there by hand: cut short, or whole with a wrong byte inside."""
    zip_path = project / "data/gan-getting-started.zip"
    zip_path.parent.mkdir()
    content = bytearray(competition_zip)
    content[200] ^= 0xFF
    zip_path.write_bytes(competition_zip[:2000] if damage == "cut" else bytes(content))
    with stand_in() as kaggle:
        kaggle.serve_file(competition_zip)
        environment = kaggle.environment(home_of(project), KAGGLE_API_TOKEN=KEY)
        status, _, err = find(project, environment, "--download")
        assert "removed" in err
        if damage == "flipped":
            assert status == 2 and "damaged" in err and not kaggle.calls
            status, _, err = find(project, environment, "--download")
        assert status == 0 and [call.headers.get("Range") for call in kaggle.called("/bundle/archive.zip")] == [None]
    assert not zip_path.exists() and (project / "data/gan-getting-started").is_dir()


def test_zip_without_the_data_is_kept_and_named(project):
    zip_path = project / "data/gan-getting-started.zip"
    zip_path.parent.mkdir()
    with zipfile.ZipFile(zip_path, "w") as archive:
        archive.writestr("sales.csv", "1,2")
    status, _, err = find(project, client_environment(home_of(project), dead_port()), "--download")
    assert status == 2 and "does not hold the competition's data" in err and zip_path.exists()
    assert sorted(path.name for path in zip_path.parent.iterdir()) == [zip_path.name]


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
    assert "Kaggle's mount" in capsys.readouterr().err

    own = write_data(folder / "gan-getting-started")
    assert default_data(folder=folder) == str(own)
    assert capsys.readouterr().err == f"Data: {own}.\n"

    assert default_data("gs://bucket/data", folder) == "gs://bucket/data"
    assert default_data("tfds:cycle_gan/horse2zebra", folder) == "tfds:cycle_gan/horse2zebra"
    assert default_data(str(mount), folder) == str(mount)
    assert "as asked for" in capsys.readouterr().err
    with pytest.raises(UserError, match="not a folder"):
        default_data(str(tmp_path / "nowhere"), folder)


def test_data_that_is_there_is_not_downloaded_again(project):
    write_data(project / "data/gan-getting-started")
    status, out, err = find(project, client_environment(home_of(project), dead_port(), KAGGLE_API_TOKEN=KEY),
                            "--download")
    assert (status, out) == (0, f"{project}/data/gan-getting-started\n") and "2 paintings and 3 photos" in err


def test_dry_run_shows_the_download_and_sends_nothing(project):
    with stand_in() as kaggle:
        status, _, err = find(project, kaggle.environment(home_of(project), KAGGLE_API_TOKEN=KEY), "--download",
                              "--dry-run")
        assert not kaggle.calls
    assert status == 0 and "would run: kaggle competitions download gan-getting-started -p data\n" in err
    assert not (project / "data").exists()


def test_missing_folder_is_an_error_without_a_traceback(project):
    status, out, err = find(project, client_environment(home_of(project), dead_port()), "nowhere")
    assert (status, out) == (2, "") and "DATA=nowhere is not a folder" in err


def test_credentials_are_looked_for_where_the_client_looks(tmp_path, monkeypatch):
    """The folder of kaggle.json is compared with the one that the real client reports."""
    for name in [name for name in os.environ if name.startswith(("KAGGLE_", "XDG_"))]:
        monkeypatch.delenv(name)
    for case, (variables, folder) in enumerate({
        "new": ({}, ".config/kaggle"),
        "old": ({}, ".kaggle"),
        "named": ({"KAGGLE_CONFIG_DIR": "elsewhere"}, "elsewhere"),
        "xdg": ({"XDG_CONFIG_HOME": "xdg"}, "xdg/kaggle"),
    }.values()):
        home = tmp_path / str(case)
        (home / folder).mkdir(parents=True)
        with monkeypatch.context() as patch:
            patch.setenv("HOME", str(home))
            for name, value in variables.items():
                patch.setenv(name, str(home / value))
            assert find_credentials() == {}
            (home / folder / "kaggle.json").write_text(json.dumps({"username": "someone", "key": KEY}))
            assert client_folder() == home / folder
            assert find_credentials() == {str(home / folder / "kaggle.json"): [KEY]}
            environment = client_environment(home, dead_port(), **{name: str(home / value)
                                                                   for name, value in variables.items()})
            shown = subprocess.run([sys.executable, "-P", "-m", "kaggle", "config", "view"], env=environment, text=True,
                                   capture_output=True, timeout=60, check=True).stdout
            assert f"Configuration values from {home / folder}" in shown and "someone" in shown


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
