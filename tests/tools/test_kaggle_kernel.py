"""Pushing the kernel, following it and submitting: the real kaggle client against a stand-in on loopback."""

import contextlib
import csv
import functools
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import kaggle_kernel
import pytest
from bundle import bundle
from kaggle_site.client import client_output, explain_error
from kaggle_site.metadata import check_metadata, read_metadata
from kaggle_site.output import fetch_output
from kaggle_site.session import KERNEL_ERRORS, Session
from PIL import Image
from support.kaggle_stand_in import (
    API_HOST,
    FILE_HOST,
    INTROSPECT,
    OUTPUT,
    SAVE,
    STATUS,
    SUBMISSION,
    SUBMISSIONS,
    SUBMIT,
    Response,
    client_environment,
    dead_port,
    save_kernel,
)
from support.programs import run_main
from support.settings import ROOT, TOOLS

from monet.core.errors import UserError

pytestmark = pytest.mark.lengthy

KEY = "KGAT_0123456789abcdef-dummy"  # made-up secrets
OLDER_KEY = {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "0123456789-dummy-key"}
KERNEL = "someone/monet-cyclegan"
RULES = "https://www.kaggle.com/competitions/gan-getting-started/rules"
URL = f"https://www.kaggle.com/code/{KERNEL}"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> Path:
    """A checkout after `make kernel`."""
    root = tmp_path_factory.mktemp("bundled") / "checkout"
    root.mkdir()
    (root / "src").symlink_to(ROOT / "src")
    shutil.copy(ROOT / "kernel-metadata.json", root)
    (root / "ruff.toml").write_text('exclude = ["kernel", "tools"]\nlint.select = ["F"]\n')
    bundle(["--resume-last"], root)
    return root


@pytest.fixture
def checkout(bundled, tmp_path) -> Path:
    """A copy of it."""
    shutil.copytree(bundled, tmp_path / "checkout", symlinks=True)
    return tmp_path / "checkout"


def record_push(checkout: Path, at: float = 1.0) -> None:
    """Writes what a push of version 7 at that time leaves."""
    record = {"id": KERNEL, "version": 7, "url": URL, "time": at}
    (checkout / "kernel/pushed.json").write_text(json.dumps(record))


@pytest.fixture
def pushed(checkout) -> Path:
    """The same after a push of version 7."""
    record_push(checkout)
    return checkout


@pytest.fixture
def kernel(site, checkout, home, capsys):
    """Runs kaggle_kernel.py in `checkout`: (exit status, stdout, stderr). No secret may be printed or written."""
    def run(*words: str, port: int | None = None, **variables: str) -> tuple[int, str, str]:
        environment = client_environment(home, port or site.port, **(variables or {"KAGGLE_API_TOKEN": KEY}))
        main = functools.partial(kaggle_kernel.main, list(words), checkout)
        status, out, err = run_main(main, environment, checkout, capsys)
        written = "".join(path.read_text() for path in (checkout / "kernel").glob("*.json"))
        for secret in (KEY, OLDER_KEY["KAGGLE_KEY"], "signed-address"):
            assert secret not in out + err + written
        return status, out, err

    return run


@pytest.fixture
def client(site, home):
    """Runs the client with `KERNEL_ERRORS`: its output."""
    def run(*words: str, **options) -> str:
        with mock.patch.dict(os.environ, site.environment(home, KAGGLE_API_TOKEN=KEY), clear=True):
            return client_output([*words], "make again", KERNEL_ERRORS, **options)

    return run


def test_client_without_the_stand_ins_environment_asks_this_machine():
    program = "from kagglesdk.kaggle_env import get_endpoint, get_env; print(get_endpoint(get_env()))"
    endpoint = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert endpoint == "http://localhost\n"


# Pushing.


def test_push_sends_the_bundle_with_the_resolved_metadata(site, checkout, kernel):
    status, _, err = kernel("push")
    assert status == 0, err
    assert {request.host for request in site.requests} == {API_HOST}
    [request] = site.requests_to(SAVE)
    sent = request.json()
    assert sent.pop("text") == (checkout / "kernel/monet_cyclegan.py").read_text()
    assert sent == {"slug": KERNEL, "newTitle": "Monet CycleGAN", "language": "python", "kernelType": "script",
                    "isPrivate": True, "enableGpu": False, "enableTpu": False, "enableInternet": True,
                    "machineShape": "TpuV5E8", "sessionTimeoutSeconds": 10800,
                    "competitionDataSources": ["gan-getting-started"], "kernelDataSources": [KERNEL]}
    for line in (f"version 7: {URL}", "TpuV5E8, internet on", f"gan-getting-started, {KERNEL}", "tools/bundle.py"):
        assert line in err
    assert json.loads((checkout / "kernel/kernel-metadata.json").read_text())["id"] == KERNEL
    record = json.loads((checkout / "kernel/pushed.json").read_text())
    assert (record["id"], record["version"], record["url"]) == (KERNEL, 7, URL)
    assert (record["preset"], record["commit"], record["smoke"]) == ("tpu", "from no git checkout", False)


def test_push_with_internet_says_what_that_may_cost_and_how_to_do_without(site, checkout, kernel):
    assert "make fid-weights" in kernel("push")[2]
    path = checkout / "kernel/kernel-metadata.json"
    path.write_text(path.read_text().replace('"enable_internet": true', '"enable_internet": false'))
    status, _, err = kernel("push")
    assert status == 0 and "internet off" in err and "fid-weights" not in err


@pytest.mark.parametrize(("accelerator", "minutes", "most"), [
    ("tpu", 200, 180), ("gpu", 301, 300), ("none", 400.5, 300)])
def test_time_limit_that_kaggle_would_cut_short_is_refused(site, checkout, kernel, accelerator, minutes, most):
    bundle(["--accelerator", accelerator, "--max-minutes", str(minutes)], checkout)
    status, _, err = kernel("push")
    assert status == 2 and f"--max-minutes {minutes}" in err and f"the {most} minutes" in err
    assert not site.requests
    bundle(["--accelerator", accelerator, "--max-minutes", str(most)], checkout)
    assert kernel("push")[0] == 0
    assert site.requests_to(SAVE)[0].json()["sessionTimeoutSeconds"] == 60 * most


def test_smoke_run_has_a_kernel_of_its_own_and_cannot_be_submitted(site, checkout, kernel):
    """So that the last output of the other, which RESUME=1 continues, stays what it is."""
    bundle(["--smoke", "--accelerator", "gpu"], checkout)
    status, _, err = kernel("push")
    assert status == 0 and "a smoke run" in err, err
    sent = site.requests_to(SAVE)[0].json()
    assert (sent["slug"], sent["newTitle"]) == (f"{KERNEL}-smoke", "Monet CycleGAN smoke")
    assert sent["sessionTimeoutSeconds"] < 3600 and sent["machineShape"] == "NvidiaTeslaT4"
    assert "try_on_kaggle(SETTINGS)" in sent["text"]
    site.serve_status("COMPLETE")
    status, _, err = kernel("submit", "--message", "a", "--yes")
    assert status == 2 and "smoke run" in err and not site.requests_to(SUBMIT)


def test_file_that_is_no_bundle_is_refused(site, checkout, kernel):
    (checkout / "kernel/monet_cyclegan.py").write_text("SETTINGS = make()\n")
    status, _, err = kernel("push")
    assert status == 2 and "`make kernel`" in err and not site.requests


def test_user_name_comes_from_the_older_keys_too(site, kernel):
    status, _, err = kernel("push", **{**OLDER_KEY, "KAGGLE_USERNAME": "else"})
    assert (status, site.requests_to(SAVE)[0].json()["slug"]) == (0, "else/monet-cyclegan"), err


@pytest.mark.parametrize(("response", "parts"), [
    (Response(200, {"error": "Maximum batch GPU session count of 2 reached."}), ["Maximum batch GPU", "kaggle quota"]),
    (Response(200, {"error": "You have exceeded your weekly TPU quota."}), ["kaggle quota", "another ACCELERATOR"]),
    (Response(200, {"error": "The title 'Monet CycleGAN' is already in use."}), ["title and id"]),
    (Response(409, b"Conflict"), ["409 Client Error", "title and id"]),
    (Response(200, {"error": "Your phone number must be verified to use this accelerator."}), ["kaggle.com/settings"]),
    (Response(200, {"error": "Please verify your identity."}), ["kaggle.com/settings"]),
    (Response(200, {"error": "Notebook not found"}), ["id in kernel-metadata.json"]),
    (Response(200, {"error": "The source is too large."}), ["too large"]),
    (Response(413, b""), ["too large"]),
    (Response(403, {"code": 403, "message": "You must accept the rules of this competition"}), [RULES]),
    (Response(403, b"Forbidden"), ["(403)", RULES, "KAGGLE_API_TOKEN"]),
    (Response(403, {"code": 403, "message": "Permission 'kernels.create' was denied"}), ["(403)"]),
    (Response(401, {"code": 401, "message": "Unauthenticated"}), ["KAGGLE_API_TOKEN (401)", "settings/api"]),
    (Response(200, b'{"versionNumber": 8}', JSON, cut_at=9), ["connection broke", "make kernel-status"]),
    (Response(500, b"oops"), ["500 Server Error", "make again"]),
    (Response(200, {"error": "Something new."}), ["Kernel push error: Something new."]),
])
def test_failed_push_says_what_to_do(site, checkout, client, response, parts):
    """Even where the client exits with 0."""
    site.respond(SAVE, response)
    with pytest.raises(UserError) as error:
        client("kernels", "push", "-p", str(checkout / "kernel"))
    assert len(site.requests_to(SAVE)) == 1
    assert all(part in str(error.value) for part in parts), error.value
    assert KEY not in str(error.value)


def test_client_that_is_too_old_is_named_as_the_cause():
    usage = "usage: kaggle competitions submit [-k KERNEL]\nkaggle: error: unrecognized arguments: --wait 1800"
    assert "`make setup`" in explain_error(usage, "make again", KERNEL_ERRORS)


def test_failed_push_is_not_recorded(site, checkout, kernel):
    site.respond(SAVE, Response(200, {"error": "Maximum batch GPU session count of 2 reached."}))
    status, _, err = kernel("push")
    assert len(site.requests_to(SAVE)) == 1
    assert status == 2 and "error: " in err and "session count of 2" in err
    assert not (checkout / "kernel/pushed.json").exists()


def test_invalid_source_is_an_error_although_it_was_pushed(site, kernel):
    site.respond(SAVE, Response(body={"versionNumber": 8, "url": URL, "invalidDatasetSources": ["a/b"]}))
    status, _, err = kernel("push")
    assert status == 2 and "not valid dataset sources and could not be added to the kernel: ['a/b']" in err
    assert "Version 8" in err and URL in err


@pytest.mark.parametrize("body", [
    {"versionNumber": 8, "url": URL, "invalidKernelSources": [KERNEL]},
    {"error": "A notebook cannot have itself as a data source."}])
def test_kernel_that_kaggle_refuses_as_its_own_source_can_go_on_from_a_dataset(site, checkout, kernel, body):
    site.respond(SAVE, Response(body=body))
    status, _, err = kernel("push")
    assert status == 2 and all(words in err for words in ("its own input", "New Dataset", "-output", "RESUME=1"))
    assert ("Version 8" in err and URL in err) is ("versionNumber" in body)
    path = checkout / "kernel-metadata.json"
    path.write_text(path.read_text().replace('"dataset_sources": []',
                                             '"dataset_sources": ["USERNAME/monet-cyclegan-output"]'))
    assert 'RESUME_FROM = "monet-cyclegan"' in bundle(["--resume-last"], checkout).read_text()
    site.handlers[SAVE] = save_kernel
    assert kernel("push")[0] == 0
    sent = site.requests_to(SAVE)[-1].json()
    assert sent["datasetDataSources"] == ["someone/monet-cyclegan-output"] and "kernelDataSources" not in sent


def test_invalid_tag_is_a_warning(site, kernel):
    site.respond(SAVE, Response(body={"versionNumber": 8, "url": URL, "invalidTags": ["paint"]}))
    status, _, err = kernel("push")
    assert status == 0 and "not valid tags and could not be added to the kernel: ['paint']" in err


@pytest.mark.parametrize(("accelerator", "shape"), [("gpu", "NvidiaTeslaT4"), ("none", "")])
def test_other_machines_are_requested_by_kaggles_names(site, checkout, kernel, accelerator, shape):
    bundle(["--accelerator", accelerator, "--notebook"], checkout)
    status, _, err = kernel("push")
    assert status == 0, err
    sent = site.requests_to(SAVE)[0].json()
    assert (sent["machineShape"], sent["kernelType"]) == (shape, "notebook")
    assert (sent["enableGpu"], sent["enableTpu"]) == (False, False)
    assert json.loads(sent["text"]) == json.loads((checkout / "kernel/monet_cyclegan.ipynb").read_text())


def test_busy_site_is_asked_again(site, client, capsys):
    def busy_once(request):
        return Response(429, b"") if len(site.requests_to(STATUS)) == 1 else Response(body={"status": "RUNNING"})

    site.handlers[STATUS] = busy_once
    assert "RUNNING" in client("kernels", "status", KERNEL, delays=(0.1, 600))
    assert len(site.requests_to(STATUS)) == 2
    err = capsys.readouterr().err
    assert "(429)" in err and "0.1 seconds" in err


def test_site_that_stays_busy_is_an_error(site, client):
    site.respond(STATUS, Response(429, {"code": 429, "message": "Too many requests"}))
    with pytest.raises(UserError, match="429.*`make again`"):
        client("kernels", "status", KERNEL, delays=(0.1, 0.1))
    assert len(site.requests_to(STATUS)) == 3


@pytest.mark.parametrize("response", [Response(401, b"no"), Response(403, b"no"), Response(200, {"active": False})])
def test_wrong_key_is_an_error_that_names_its_file(site, kernel, home, response):
    token = home / ".kaggle/access_token"
    token.parent.mkdir()
    token.write_text(f"{KEY}\n")
    site.respond(INTROSPECT, response)
    status, _, err = kernel("push", LANG="C")
    assert not site.requests_to(SAVE)
    assert status == 2 and f"{token} (401)" in err and "settings/api" in err


@pytest.mark.parametrize("command", ["push", "status", "log", "output"])
def test_wrong_older_key_is_named_beside_the_kernel(site, kernel, command):
    """The client prints that the kernel does not exist, whether Kaggle answers 403 or 401."""
    for name in (SAVE, STATUS, OUTPUT):
        site.respond(name, Response(401, {"code": 401, "message": "Unauthenticated"}))
    status, _, err = kernel(command, **OLDER_KEY)
    assert status == 2 and "the key in KAGGLE_KEY" in err and "kaggle.com/settings/api" in err


@pytest.mark.parametrize("command", ["push", "status", "log", "output"])
def test_missing_credentials_are_an_error_that_names_the_ways_to_give_them(site, kernel, command):
    status, _, err = kernel(command, LANG="C")
    assert status == 2 and not site.requests
    for way in ("KAGGLE_API_TOKEN", "~/.kaggle/access_token", "KAGGLE_KEY", "kaggle.json", f"kernel-{command}"):
        assert way in err


def test_missing_network_is_an_error(kernel):
    status, _, err = kernel("push", port=dead_port(), **OLDER_KEY)
    assert status == 2 and "No connection" in err and "`make kernel-push`" in err


def test_push_beside_a_running_version_needs_a_yes(site, kernel):
    site.serve_status("RUNNING")
    status, _, err = kernel("push")
    assert status == 2 and f"{KERNEL} is still RUNNING" in err and "YES=1" in err
    assert not site.requests_to(SAVE)
    status, _, err = kernel("push", "--yes")
    assert status == 0 and len(site.requests_to(SAVE)) == 1
    site.serve_status("ERROR")
    assert kernel("push")[0] == 0


def test_push_of_code_that_fails_lint_needs_a_yes(site, checkout, kernel):
    (checkout / "bad.py").write_text("import os\n")
    status, _, err = kernel("push")
    assert status == 2 and "`make lint` fails: bad.py:1:8: F401" in err and not site.requests_to(SAVE)
    assert kernel("push", "--yes")[0] == 0


@contextlib.contextmanager
def terminal(answer: str) -> Iterator[io.TextIOBase]:
    """A terminal on which the user has typed `answer`."""
    master, slave = pty.openpty()
    os.write(master, answer.encode())
    with open(slave) as file:
        yield file
    os.close(master)


@pytest.mark.parametrize(("answer", "accepted"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False),
                                                  ("\x04", False)])
def test_only_a_yes_continues(monkeypatch, capsys, answer, accepted):
    """The last answer is Ctrl-D. The question is printed although stderr is not a terminal."""
    with terminal(answer) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with contextlib.nullcontext() if accepted else pytest.raises(UserError, match="Nothing was sent"):
            Session("make again").confirm("Careful.")
    assert capsys.readouterr().err == "Careful.\nGo on? [y/N] "


@pytest.mark.parametrize(("words", "kernel_status", "request_name"), [
    (["push"], "QUEUED", SAVE), (["submit", "--message", "a try"], "COMPLETE", SUBMIT)])
@pytest.mark.parametrize(("answer", "status", "sent"), [("y\n", 0, 1), ("n\n", 2, 0)])
def test_command_asks_on_a_terminal(site, pushed, home, words, kernel_status, request_name, answer, status, sent):
    """The real program, in a copy of the checkout."""
    shutil.copytree(TOOLS, pushed / "tools", ignore=shutil.ignore_patterns("__pycache__", "*.jpg"))
    site.serve_status(kernel_status)
    environment = {**site.environment(home, KAGGLE_API_TOKEN=KEY), "PYTHONPATH": str(ROOT / "src")}
    with terminal(answer) as stdin:
        run = subprocess.run([sys.executable, "tools/kaggle_kernel.py", *words], cwd=pushed, env=environment,
                             stdin=stdin, capture_output=True, text=True, timeout=60)
    assert (run.returncode, len(site.requests_to(request_name))) == (status, sent), run.stderr
    assert "[y/N]" in run.stderr and "Traceback" not in run.stderr


def test_dry_run_shows_every_command_and_sends_nothing(site, pushed, kernel):
    shown = {}
    for words in (["push"], ["status", "--watch"], ["log", "--watch"], ["output"], ["submit", "--message", "a try"],
                  ["scores"]):
        status, _, shown[words[0]] = kernel(*words, "--dry-run")
        assert status == 0, shown
    assert not site.requests
    for words in ("config view", "kernels status USERNAME/monet-cyclegan", "kernels push -p kernel --timeout 10800"):
        assert f"would run: kaggle {words}\n" in shown["push"]
    assert f"would run: kaggle kernels status {KERNEL}" in shown["status"]
    assert f"would run: kaggle kernels logs {KERNEL} --follow\n" in shown["log"]
    assert f"would run: kaggle kernels output {KERNEL} -p " in shown["output"]
    assert (f"would run: kaggle competitions submit gan-getting-started -k {KERNEL} -v 7 -f images.zip -m 'a try' "
            "--wait" in shown["submit"])
    assert "would run: kaggle competitions submissions gan-getting-started --csv" in shown["scores"]
    assert not (pushed / "submission").exists()


@pytest.mark.parametrize("gone", ["*", "monet_cyclegan.py"])
def test_missing_bundle_is_an_error(site, checkout, kernel, gone):
    for path in (checkout / "kernel").glob(gone):
        path.unlink()
    status, _, err = kernel("push")
    assert status == 2 and "`make kernel`" in err and not site.requests


# The metadata.


@pytest.mark.parametrize(("change", "parts"), [
    ({"title": "Mone"}, ["4 characters", "5 to 50"]),
    ({"title": "M" * 51}, ["51 characters"]),
    ({"title": "Monet Cycle GAN"}, ["'monet-cycle-gan'", "'monet-cyclegan'"]),
    ({"id": "monet-cyclegan"}, ["USERNAME/monet-cyclegan"]),
    ({"competition_sources": []}, ['"competition_sources"', '"gan-getting-started"']),
    ({"enable_internet": None}, ["'enable_internet'", "true or false", "null"]),
    ({"enable_internet": "true"}, ["'enable_internet'", "true or false"]),
    ({"dataset_sources": "a/b"}, ["'dataset_sources'", "list"]),
    ({"docker_image": "x"}, ["remove 'docker_image'"]),
    ({"enable_gpu": True}, ["remove 'enable_gpu'", "machine_shape"]),
    ({"machine_shape": "NvidiaTeslaP100"}, ["machine_shape 'NvidiaTeslaP100'"]),
    ({"titel": "x"}, ["'titel'", "title?"]),
])
def test_metadata_that_kaggle_would_refuse_is_refused_here(change, parts):
    metadata = read_metadata(ROOT / "kernel-metadata.json")
    with pytest.raises(UserError) as error:
        check_metadata({**metadata, **change})
    assert all(part in str(error.value) for part in ["kernel-metadata.json", *parts]), error.value


@pytest.mark.parametrize("missing", ["enable_internet", "title", "id", "competition_sources"])
def test_metadata_that_leaves_the_choice_to_kaggle_is_refused(missing):
    metadata = read_metadata(ROOT / "kernel-metadata.json")
    metadata.pop(missing)
    with pytest.raises(UserError, match=missing):
        check_metadata(metadata)


@pytest.mark.parametrize(("text", "part"), [("{'id': 1}", "not JSON"), ("[]", "JSON object"), (None, "cannot be read"),
                                            ("\udcff", "not JSON")])
def test_metadata_that_is_not_json_is_refused(site, checkout, kernel, text, part):
    path = checkout / "kernel-metadata.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"kernel-metadata.json.*{part}"):
        bundle([], checkout)
    status, _, err = kernel("status")
    assert status == 2 and part in err and not site.requests


# Following the kernel.


def test_status_once(site, kernel):
    site.serve_status("RUNNING")
    status, _, err = kernel("status")
    assert (status, len(site.requests_to(STATUS))) == (0, 1) and f"{KERNEL}: RUNNING" in err
    site.handlers.pop(STATUS)
    assert kernel("status")[0] == 2


def test_status_is_watched_to_the_end_with_the_time_since_the_push(site, checkout, kernel):
    record_push(checkout, time.time() - 3700)
    site.serve_status("QUEUED", "RUNNING", "RUNNING", "COMPLETE")
    status, _, err = kernel("status", "--watch", "--every", "0.1")
    assert (status, len(site.requests_to(STATUS))) == (0, 4)
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        f"{state}, 1 h 1 min since the push" for state in ("QUEUED", "RUNNING", "COMPLETE")]


def test_failed_kernel_is_a_failure_with_its_message(site, kernel):
    site.serve_status("RUNNING", "ERROR", message='Ran out of "memory"')
    status, _, err = kernel("status", "--watch", "--every", "0.1")
    assert status == 1 and 'Ran out of "memory"' in err and "make kernel-log" in err


def test_lost_connection_does_not_end_watching(site, kernel):
    """The second and the third response break off."""
    site.serve_status("RUNNING", "COMPLETE")
    good = site.handlers[STATUS]
    broken = Response(200, b'{"status": "RUNNING"}', JSON, cut_at=4)
    site.handlers[STATUS] = lambda request: broken if len(site.requests_to(STATUS)) in (2, 3) else good(request)
    status, _, err = kernel("status", "--watch", "--every", "0.1")
    assert (status, len(site.requests_to(STATUS))) == (0, 4), err
    assert [line.split()[1] for line in err.splitlines()] == ["RUNNING,", "COMPLETE,"]


@pytest.mark.parametrize("command", ["status", "log", "output"])
def test_kernel_that_was_never_pushed_is_an_error(site, kernel, command):
    site.handlers[OUTPUT] = site.handlers[STATUS]
    status, _, err = kernel(command)
    assert status == 2 and "no such kernel" in err


def test_log_is_what_the_kernel_printed(site, kernel):
    pieces = [{"stream_name": "stderr", "time": 1.5, "data": "Training tpu\n"}, {"data": f"odd {KEY} line\n"},
              {"data": "error: The TPU …\n"}]
    site.serve_output({}, log=json.dumps(pieces))
    status, out, _ = kernel("log")
    assert (status, out) == (0, "Training tpu\nodd … line\nerror: The TPU …\n")
    stream = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: END_OF_LOG\n\n"
    site.respond(f"kernels/logs/stream/{KERNEL}", Response(200, stream.encode(), {"Content-Type": "text/event-stream"}))
    status, out, err = kernel("log", "--watch")
    assert (status, out) == (0, "Training tpu\nodd … line\nerror: The TPU …\n"), err


# Fetching the output.


def images_zip(count: int) -> bytes:
    """Returns a submission of `count` different pictures."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(count):
            picture = io.BytesIO()
            bits = bytes(255 * (number >> bit & 1) for bit in range(16))
            Image.frombytes("L", (4, 4), bits).resize((256, 256), Image.NEAREST).convert("RGB").save(picture, "JPEG")
            archive.writestr(f"{number:04d}.jpg", picture.getvalue())
    return file.getvalue()


@pytest.fixture(scope="module")
def good_zip() -> bytes:
    return images_zip(7000)


def test_output_is_fetched_and_checked(site, checkout, kernel, good_zip):
    wanted = {"images.zip": good_zip, "history.csv": b"step\n", "preview.jpg": b"x", "photo_to_monet.npz": b"x",
              "config.json": b"{}", "report.html": b"page", "report.json": b"{}", "run.log": b"log",
              "previews/step-00000000.jpg": b"x"}
    (checkout / "submission/previews").mkdir(parents=True)
    (checkout / "submission/previews/step-00000025.jpg").write_bytes(b"of the run before")
    others = {"checkpoints/step-1.npz": b"large", "../images.zip": b"out"}
    site.serve_output({name: Response(200, content) for name, content in {**wanted, **others}.items()}, log="[]")
    status, _, err = kernel("output", "--out", "submission")
    assert status == 0, err
    assert {request.host for request in site.requests} == {API_HOST, FILE_HOST}
    assert not any(site.requests_to(f"/output/{name}") for name in others)
    out = checkout / "submission"
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()} == wanted
    assert "tools/mifid.py submission/" in err and "make kernel-submit MSG" in err


def test_output_of_a_smoke_run_is_its_table(site, checkout, kernel):
    (checkout / "submission").mkdir()
    report = {"rows": [["device", "8 TPU"], ["a step", "92 ms"]], "options": "--max-minutes 69"}
    site.serve_output({"smoke.json": Response(200, json.dumps(report).encode()), "run.log": Response(200, b"log")})
    status, out, err = kernel("output", "--out", "submission")
    assert (status, out) == (0, "device  8 TPU\na step  92 ms\n") and 'ARGS="--max-minutes 69"' in err
    assert not any((checkout / "submission").iterdir())
    site.serve_output({"smoke.json": Response(200, b"[]")})
    assert kernel("output")[0] == 2


@pytest.mark.parametrize(("response", "part"), [
    (Response(404, b"gone"), "no longer valid"),
    (Response(200, images_zip(3)), "images is 3"),
])
def test_invalid_output_replaces_nothing(site, checkout, kernel, response, part):
    (checkout / "submission").mkdir()
    (checkout / "submission/images.zip").write_text("an earlier one")
    site.serve_output({"images.zip": response})
    status, _, err = kernel("output", "--out", "submission")
    assert status == 2 and part in err
    assert (checkout / "submission/images.zip").read_text() == "an earlier one"


def test_output_that_breaks_off_is_resumed(site, checkout, kernel, good_zip):
    site.serve_output({"images.zip": Response(200, good_zip)})
    site.serve_archive(good_zip, cut_first=len(good_zip) // 2, path="/output/images.zip")
    status, _, err = kernel("output", "--out", "submission")
    assert status == 0, err
    assert (checkout / "submission/images.zip").read_bytes() == good_zip


def test_output_without_a_zip_is_an_error(site, checkout, kernel):
    site.serve_output({"history.csv": Response(200, b"step\n")})
    status, _, err = kernel("output", "--out", "submission")
    assert status == 2 and "no images.zip" in err and "make kernel-log" in err
    assert not (checkout / "submission").exists()


def test_output_may_take_longer_than_a_question_and_sets_a_local_run_aside(site, pushed, home, good_zip, monkeypatch):
    """The client cannot even start within the time for questions."""
    for name, value in site.environment(home, KAGGLE_API_TOKEN=KEY).items():
        monkeypatch.setenv(name, value)
    out = pushed / "submission"
    (out / "checkpoints").mkdir(parents=True)
    (out / "images.zip").write_text("mine")
    site.serve_output({"images.zip": Response(200, good_zip)})
    session = Session("make again", root=pushed, timeout=0.01)
    with pytest.raises(UserError, match="No connection"):
        session.kernel_status(KERNEL)
    fetch_output(session, out)
    assert (out / "images.zip").read_bytes() == good_zip
    assert (out / "previous-1/images.zip").read_text() == "mine" and (out / "previous-1/checkpoints").is_dir()


# Submitting.


def submissions_of(checkout: Path) -> list[dict]:
    with (checkout / "submission/submissions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_submission_is_the_version_that_was_pushed_and_its_score_is_kept(site, checkout, kernel):
    assert kernel("push")[0] == 0
    site.serve_status("COMPLETE")
    status, _, err = kernel("submit", "--message", "tpu, 'first'", "--yes")
    assert status == 0, err
    assert [request.json() for request in site.requests_to(SUBMIT)] == [{
        "competitionName": "gan-getting-started", "kernelOwner": "someone", "kernelSlug": "monet-cyclegan",
        "kernelVersion": 7, "fileName": "images.zip", "submissionDescription": "tpu, 'first'"}]
    assert "Successfully submitted" in err and "4 submissions remaining today" in err
    [row] = submissions_of(checkout)
    assert row.pop("time")
    assert row == {"ref": "1", "kernel": KERNEL, "version": "7", "commit": "from no git checkout", "preset": "tpu",
                   "message": "tpu, 'first'", "status": "COMPLETE", "public_score": "53.25", "private_score": ""}


@pytest.mark.parametrize(("response", "state", "parts"), [
    (Response(403, {"code": 403, "message": "Permission denied"}), "PENDING",
     ["Submission 1 is accepted", "make scores"]),
    (Response(body={"ref": 1, "status": "ERROR", "errorDescription": "Evaluation Exception: bad zip"}), "ERROR",
     ["could not score", "Evaluation Exception"]),
])
def test_submission_is_kept_even_if_its_score_does_not_come(site, pushed, kernel, response, state, parts):
    site.serve_status("COMPLETE")
    site.respond(SUBMISSION, response)
    status, _, err = kernel("submit", "--message", "a", "--yes")
    assert status == 2 and all(part in err for part in parts), err
    assert [(row["ref"], row["status"]) for row in submissions_of(pushed)] == [("1", state)]
    assert len(site.requests_to(SUBMIT)) == 1


def test_scores_are_those_of_kaggle_and_of_all_submissions(site, pushed, kernel):
    site.serve_status("COMPLETE")
    site.respond(SUBMISSION, Response(403, {"code": 403, "message": "Permission denied"}))
    kernel("submit", "--message", "a", "--yes")
    listed = [{"ref": 2, "date": "2026-01-02T03:04:05Z", "description": "by hand, on the site", "status": "PENDING"},
              {"ref": 1, "date": "2026-01-01T03:04:05Z", "description": "a", "status": "COMPLETE",
               "publicScore": "61.5", "privateScore": "60"}]
    site.respond(SUBMISSIONS, Response(body={"submissions": listed}))
    status, out, err = kernel("scores")
    assert status == 0, err
    assert [(row["ref"], row["version"], row["status"], row["public_score"], row["message"])
            for row in submissions_of(pushed)] == [("1", "7", "COMPLETE", "61.5", "a"),
                                                   ("2", "", "PENDING", "", "by hand, on the site")]
    assert out.splitlines()[0].startswith("ref  time") and "61.5" in out and "by hand" in out
    site.respond(SUBMISSIONS, Response(500, b"oops"))
    status, out, err = kernel("scores")
    assert status == 2 and "61.5" in out  # what is known is shown all the same


def test_damaged_list_of_submissions_is_told_before_anything_is_sent(site, pushed, kernel):
    site.serve_status("COMPLETE")
    (pushed / "submission").mkdir()
    (pushed / "submission/submissions.csv").write_bytes(b"ref\n\xff\n")
    status, _, err = kernel("submit", "--message", "a", "--yes")
    assert status == 2 and "submissions.csv cannot be read" in err and not site.requests_to(SUBMIT)


def test_scores_before_any_submission(site, kernel):
    site.respond(SUBMISSIONS, Response(body={"submissions": []}))
    status, out, err = kernel("scores")
    assert (status, out) == (0, "") and "Nothing was submitted" in err


def test_submission_needs_an_answer_a_message_a_push_and_a_complete_run(site, pushed, kernel):
    site.serve_status("COMPLETE")
    assert "YES=1" in kernel("submit", "--message", "a try")[2]
    assert 'MSG="' in kernel("submit", "--yes")[2]
    site.serve_status("RUNNING")
    assert f"{KERNEL} is RUNNING" in kernel("submit", "--message", "a", "--yes")[2]
    (pushed / "kernel/pushed.json").unlink()
    assert "`make kernel-push`" in kernel("submit", "--message", "a", "--yes")[2]
    assert not site.requests_to(SUBMIT)


@pytest.mark.parametrize(("response", "parts"), [
    (Response(200, {"message": "Submission not allowed: daily limit."}), ["Submission not allowed: daily limit."]),
    (Response(403, {"code": 403, "message": "You must accept this competition's rules"}), [RULES]),
    (Response(400, {"code": 400, "message": "Notebook output file not found"}), ["Notebook output file not found"]),
    (Response(403, {"code": 403, "message": "Permission 'kernelSessions.get' was denied"}),
     ["kernelSessions.get", URL, "Submit"]),
    (Response(400, b"Bad Request"), ["(400)", "today's submissions", "internet", URL, "Submit"]),
    (Response(400, {"code": 400, "message": ""}), ["(400)", URL, "Submit"]),
    (Response(404, {"code": 404, "message": "Not found"}), ["(404)", "still runs", "once more", URL, "Submit"]),
    (Response(404, b"Not Found"), ["(404)", "still runs", URL]),
    (Response(200, b'{"message": "Successfully"}', JSON, cut_at=9), ["did not arrive", "make scores"]),
])
def test_refused_submission_is_an_error_with_the_way_out(site, pushed, kernel, response, parts):
    site.serve_status("COMPLETE")
    site.respond(SUBMIT, response)
    status, _, err = kernel("submit", "--message", "a", "--yes")
    assert status == 2 and all(part in err for part in parts), err
    assert not (pushed / "submission").exists()


def test_busy_site_is_not_sent_a_submission_twice(site, pushed, kernel):
    site.serve_status("COMPLETE")
    site.respond(SUBMIT, Response(429, b""))
    status, _, err = kernel("submit", "--message", "a", "--yes")
    assert status == 2 and "(429)" in err and len(site.requests_to(SUBMIT)) == 1
