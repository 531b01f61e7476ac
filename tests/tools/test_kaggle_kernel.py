"""Pushing the kernel and looking after it: the real kaggle client against a stand-in on loopback."""

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from bundle import bundle
from kaggle_site.calls import REASONS
from kaggle_site.client import ask_client
from kaggle_site.metadata import check_metadata, read_metadata
from PIL import Image
from support.kaggle_stand_in import API_HOST, FILE_HOST, Answer, StandIn, client_environment, dead_port, stand_in
from support.settings import ROOT

from monet.core.errors import UserError

pytestmark = pytest.mark.lengthy

KEY = "KGAT_0123456789abcdef-dummy"  # a made-up token
KERNEL = "someone/monet-cyclegan"
SAVE, STATUS = "kernels.KernelsApiService/SaveKernel", "kernels.KernelsApiService/GetKernelSessionStatus"
SUBMIT = "competitions.CompetitionApiService/CreateCodeSubmission"
RULES = "https://www.kaggle.com/competitions/gan-getting-started/rules"
URL = f"https://www.kaggle.com/code/{KERNEL}"


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> Path:
    """A checkout in which `make kernel` has just run."""
    root = tmp_path_factory.mktemp("bundled") / "checkout"
    root.mkdir()
    (root / "src").symlink_to(ROOT / "src")
    shutil.copytree(ROOT / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__", "*.jpg"))
    shutil.copy(ROOT / "kernel-metadata.json", root)
    (root / "ruff.toml").write_text('exclude = ["kernel"]\nlint.select = ["F"]\n')
    bundle(["--resume-last"], root)
    return root


@pytest.fixture
def checkout(bundled, tmp_path) -> Path:
    """A copy of it, beside a home with nothing in it."""
    (tmp_path / "home").mkdir()
    shutil.copytree(bundled, tmp_path / "checkout", symlinks=True)
    return tmp_path / "checkout"


@pytest.fixture
def pushed(checkout) -> Path:
    """The same, from which version 7 was pushed."""
    (checkout / "kernel/pushed.json").write_text(json.dumps({"id": KERNEL, "version": 7, "url": URL, "time": 1.0}))
    return checkout


def environment_of(site: StandIn | int, checkout: Path, **variables: str) -> dict[str, str]:
    """The environment for a client that can only reach the stand-in: looked at once more before it is used."""
    home, variables = checkout.parent / "home", variables or {"KAGGLE_API_TOKEN": KEY}
    environment = (client_environment(home, site, **variables) if isinstance(site, int)
                   else site.environment(home, **variables))
    assert environment["KAGGLE_API_ENVIRONMENT"] == "LOCALHOST"
    assert all(re.fullmatch(r"http://127\.0\.0\.1:\d+", environment[name]) for name in ("http_proxy", "https_proxy"))
    assert not any(name.lower() == "no_proxy" for name in environment)
    return environment


def command_of(checkout: Path, *words: str) -> list[str]:
    return [sys.executable, str(checkout / "tools/kaggle_kernel.py"), *words]


def kernel(site: StandIn | int, checkout: Path, *words: str, **variables: str) -> tuple[int, str, str]:
    """Runs kaggle_kernel.py: (exit status, stdout, stderr). No key is ever seen in what it prints and writes."""
    environment = environment_of(site, checkout, **variables)
    run = subprocess.run(command_of(checkout, *words), cwd=checkout, env=environment, stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=200)
    written = "".join(path.read_text() for path in (checkout / "kernel").glob("*.json"))
    for secret in (KEY, "signed-address", variables.get("KAGGLE_KEY", KEY)):
        assert secret not in run.stdout + run.stderr + written
    assert "Traceback" not in run.stderr, run.stderr
    return run.returncode, run.stdout, run.stderr


def test_client_that_is_not_kept_in_asks_this_machine():
    program = "from kagglesdk.kaggle_env import get_endpoint, get_env; print(get_endpoint(get_env()))"
    asked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert asked == "http://localhost\n"


# Pushing.


def test_push_sends_the_bundle_with_the_resolved_metadata(checkout):
    with stand_in() as site:
        status, _, err = kernel(site, checkout, "push")
        assert status == 0, err
        assert {call.host for call in site.calls} == {API_HOST}
        sent = site.called(SAVE)[0].json()
        assert len(site.called(SAVE)) == 1
    assert sent.pop("text") == (checkout / "kernel/monet_cyclegan.py").read_text()
    assert sent == {"slug": KERNEL, "newTitle": "Monet CycleGAN", "language": "python", "kernelType": "script",
                    "isPrivate": True, "enableGpu": False, "enableTpu": False, "enableInternet": True,
                    "machineShape": "TpuV5E8", "competitionDataSources": ["gan-getting-started"],
                    "kernelDataSources": [KERNEL]}
    assert f"Pushed version 7: {URL}" in err
    for line in ("machine   TpuV5E8, internet on", f"inputs    gan-getting-started, {KERNEL}", "tools/bundle.py"):
        assert line in err
    assert json.loads((checkout / "kernel/kernel-metadata.json").read_text())["id"] == KERNEL
    pushed = json.loads((checkout / "kernel/pushed.json").read_text())
    assert (pushed["id"], pushed["version"], pushed["url"]) == (KERNEL, 7, URL)


def test_user_name_comes_from_the_older_keys_too(checkout):
    with stand_in() as site:
        status, _, err = kernel(site, checkout, "push", KAGGLE_USERNAME="else", KAGGLE_KEY="0123456789-dummy-key")
        assert (status, site.called(SAVE)[0].json()["slug"]) == (0, "else/monet-cyclegan"), err


@pytest.mark.parametrize(("answer", "says"), [
    (Answer(200, {"error": "Maximum batch GPU session count of 2 reached."}), ["Maximum batch GPU", "kaggle quota"]),
    (Answer(200, {"error": "You have exceeded your weekly TPU quota."}), ["kaggle quota", "another ACCELERATOR"]),
    (Answer(200, {"error": "The title 'Monet CycleGAN' is already in use."}), ["Change title and id"]),
    (Answer(409, b"Conflict"), ["409 Client Error", "Change title and id"]),
    (Answer(200, {"error": "Your phone number must be verified to use this accelerator."}), ["kaggle.com/settings"]),
    (Answer(200, {"error": "Please verify your identity."}), ["kaggle.com/settings"]),
    (Answer(200, {"error": "Notebook not found"}), ["is the id in kernel-metadata.json right"]),
    (Answer(200, {"error": "The source is too large."}), ["too large for Kaggle"]),
    (Answer(413, b""), ["too large for Kaggle"]),
    (Answer(403, {"code": 403, "message": "You must accept the rules of this competition"}), [RULES]),
    (Answer(403, b"Forbidden"), ["refuses (403)", RULES, "KAGGLE_API_TOKEN"]),
    (Answer(403, {"code": 403, "message": "Permission 'kernels.create' was denied"}), ["refuses (403)"]),
    (Answer(401, {"code": 401, "message": "Unauthenticated"}), ["KAGGLE_API_TOKEN (401)", "settings/api"]),
    (Answer(200, b'{"versionNumber": 8}', {"Content-Type": "application/json"}, cut_at=9),
     ["connection broke", "make kernel-status"]),
    (Answer(500, b"oops"), ["500 Server Error", "make kernel-push"]),
    (Answer(200, {"error": "Something new."}), ["Kernel push error: Something new."]),
])
def test_push_that_fails_says_what_to_do(checkout, monkeypatch, answer, says):
    """Also where the client prints it and exits with 0."""
    with stand_in() as site:
        for name, value in environment_of(site, checkout).items():
            monkeypatch.setenv(name, value)
        site.answers[SAVE] = lambda call: answer
        with pytest.raises(UserError) as refusal:
            ask_client(["kernels", "push", "-p", str(checkout / "kernel")], "make kernel-push", REASONS)
        assert len(site.called(SAVE)) == 1
    assert all(words in str(refusal.value) for words in says), refusal.value
    assert KEY not in str(refusal.value)


def test_push_that_fails_is_no_push(checkout):
    with stand_in() as site:
        site.answers[SAVE] = lambda call: Answer(200, {"error": "Maximum batch GPU session count of 2 reached."})
        status, _, err = kernel(site, checkout, "push")
        assert len(site.called(SAVE)) == 1
    assert status == 2 and "error: Kaggle has no accelerator left for you" in err
    assert not (checkout / "kernel/pushed.json").exists()


def test_invalid_source_is_an_error_although_it_was_pushed(checkout):
    with stand_in() as site:
        body = {"versionNumber": 8, "url": URL, "invalidKernelSources": [KERNEL]}
        site.answers[SAVE] = lambda call: Answer(body=body)
        status, _, err = kernel(site, checkout, "push")
    assert status == 2 and f"not valid kernel sources and could not be added to the kernel: ['{KERNEL}']" in err
    assert f"Version 8 runs without them: stop it at {URL}" in err


def test_invalid_tag_is_said(checkout):
    with stand_in() as site:
        site.answers[SAVE] = lambda call: Answer(body={"versionNumber": 8, "url": URL, "invalidTags": ["paint"]})
        status, _, err = kernel(site, checkout, "push")
    assert status == 0 and "not valid tags and could not be added to the kernel: ['paint']" in err


@pytest.mark.parametrize(("accelerator", "shape"), [("gpu", "NvidiaTeslaT4"), ("none", "")])
def test_other_machines_are_asked_for_by_kaggles_names(checkout, accelerator, shape):
    bundle(["--accelerator", accelerator, "--notebook"], checkout)
    with stand_in() as site:
        status, _, err = kernel(site, checkout, "push")
        assert status == 0, err
        sent = site.called(SAVE)[0].json()
    assert (sent["machineShape"], sent["kernelType"]) == (shape, "notebook")
    assert (sent["enableGpu"], sent["enableTpu"]) == (False, False)
    assert json.loads(sent["text"]) == json.loads((checkout / "kernel/monet_cyclegan.ipynb").read_text())


def test_busy_site_is_asked_again(checkout):
    with stand_in() as site:
        taken = site.answers[SAVE]
        site.answers[SAVE] = lambda call: Answer(429, b"") if len(site.called(SAVE)) == 1 else taken(call)
        status, _, err = kernel(site, checkout, "push")
        assert (status, len(site.called(SAVE))) == (0, 2), err
    assert "asks to wait (429): again in 5 seconds" in err and "Pushed version 7" in err


def test_site_that_stays_busy_is_given_up(checkout, monkeypatch):
    with stand_in() as site:
        for name, value in environment_of(site, checkout).items():
            monkeypatch.setenv(name, value)
        site.answers[STATUS] = lambda call: Answer(429, {"code": 429, "message": "Too many requests"})
        with pytest.raises(UserError, match=r"429.*Wait some minutes, then run `make kernel-status`"):
            ask_client(["kernels", "status", KERNEL], "make kernel-status", waits=(0.1, 0.1))
        assert len(site.called(STATUS)) == 3


@pytest.mark.parametrize("answer", [Answer(401, b"no"), Answer(403, b"no"), Answer(200, {"active": False})])
def test_wrong_key_is_an_error_that_says_where_it_lies(checkout, answer):
    token = checkout.parent / "home/.kaggle/access_token"
    token.parent.mkdir()
    token.write_text(f"{KEY}\n")
    with stand_in() as site:
        site.answers["security.OAuthService/IntrospectToken"] = lambda call: answer
        status, _, err = kernel(site, checkout, "push", LANG="C")
        assert not site.called(SAVE)
    assert status == 2 and f"{token} (401)" in err and "settings/api" in err


@pytest.mark.parametrize("command", ["push", "status", "log", "output"])
def test_wrong_older_key_is_not_only_a_kernel_that_is_not_there(checkout, command):
    """The client says of a kernel that it does not exist, whether Kaggle answers 403 or 401."""
    with stand_in() as site:
        for name in (SAVE, STATUS, "kernels.KernelsApiService/ListKernelSessionOutput"):
            site.answers[name] = lambda call: Answer(401, {"code": 401, "message": "Unauthenticated"})
        status, _, err = kernel(site, checkout, command, KAGGLE_USERNAME="someone", KAGGLE_KEY="0123456789-dummy-key")
    assert status == 2 and "the key in KAGGLE_KEY" in err and "kaggle.com/settings/api" in err


def test_no_credentials_is_an_error_that_names_the_ways_to_give_them(checkout):
    for command in ("push", "status", "log", "output"):
        with stand_in() as site:
            status, _, err = kernel(site, checkout, command, LANG="C")
            assert not site.calls
        assert status == 2
        for way in ("KAGGLE_API_TOKEN", "~/.kaggle/access_token", "KAGGLE_KEY", "kaggle.json", f"kernel-{command}"):
            assert way in err


def test_no_network_is_an_error(checkout):
    status, _, err = kernel(dead_port(), checkout, "push", KAGGLE_USERNAME="someone", KAGGLE_KEY="0123456789-dummy-key")
    assert status == 2 and "No connection to Kaggle. Check the network, then run `make kernel-push`" in err


def test_running_kernel_is_not_pushed_beside_unasked(checkout):
    with stand_in() as site:
        site.serve_status("RUNNING")
        status, _, err = kernel(site, checkout, "push")
        assert status == 2 and f"{KERNEL} is still RUNNING" in err and "Give YES=1" in err
        assert not site.called(SAVE)
        status, _, err = kernel(site, checkout, "push", "--yes")
        assert status == 0 and len(site.called(SAVE)) == 1
        site.serve_status("ERROR")
        assert kernel(site, checkout, "push")[0] == 0


def test_tree_that_lint_complains_of_is_not_pushed_unasked(checkout):
    (checkout / "bad.py").write_text("import os\n")
    with stand_in() as site:
        status, _, err = kernel(site, checkout, "push")
        assert status == 2 and "`make lint` fails: bad.py:1:8: F401" in err and not site.called(SAVE)
        assert kernel(site, checkout, "push", "--yes")[0] == 0


@pytest.mark.parametrize(("words", "call"), [(["push"], SAVE), (["submit", "--message", "a try"], SUBMIT)])
@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 2), ("\n", 2), ("\x04", 2)])
def test_question_is_asked_on_a_terminal(pushed, words, call, answer, status):
    """The last answer is Ctrl-D. The question is seen although the output goes to a file."""
    with stand_in() as site:
        site.serve_status("QUEUED" if call == SAVE else "COMPLETE")
        master, slave = pty.openpty()
        os.write(master, answer.encode())
        run = subprocess.run(command_of(pushed, *words), cwd=pushed, env=environment_of(site, pushed),
                             stdin=slave, capture_output=True, text=True, timeout=200)
        os.close(master)
        os.close(slave)
        assert (run.returncode, len(site.called(call))) == (status, 1 if status == 0 else 0), run.stderr
    assert "Go on? [y/N]" in run.stderr and "Traceback" not in run.stderr


def test_dry_run_shows_every_command_and_sends_nothing(checkout):
    (checkout / "kernel/pushed.json").write_text(json.dumps({"id": KERNEL, "version": 7, "url": URL, "time": 1.0}))
    with stand_in() as site:
        shown = {command: kernel(site, checkout, *words, "--dry-run") for command, *words in (
            ("push", "push"), ("status", "status", "--watch"), ("log", "log", "--watch"), ("output", "output"),
            ("submit", "submit", "--message", "a try"))}
        assert not site.calls
    assert all(status == 0 for status, _, _ in shown.values()), shown
    for words in ("config view", "kernels status USERNAME/monet-cyclegan", "kernels push -p kernel"):
        assert f"would run: kaggle {words}\n" in shown["push"][2]
    assert f"would run: kaggle kernels status {KERNEL}" in shown["status"][2]
    assert f"would run: kaggle kernels logs {KERNEL} --follow\n" in shown["log"][2]
    assert f"would run: kaggle kernels output {KERNEL} -p " in shown["output"][2]
    assert (f"would run: kaggle competitions submit gan-getting-started -k {KERNEL} -v 7 -f images.zip -m 'a try'"
            in shown["submit"][2])


@pytest.mark.parametrize("gone", ["*", "monet_cyclegan.py"])
def test_nothing_bundled_is_an_error(checkout, gone):
    for path in (checkout / "kernel").glob(gone):
        path.unlink()
    with stand_in() as site:
        status, _, err = kernel(site, checkout, "push")
        assert not site.calls
    assert status == 2 and "`make kernel` makes it alone" in err


# The metadata.


@pytest.mark.parametrize(("change", "says"), [
    ({"title": "Mone"}, "has 4 characters. Kaggle takes 5 to 50"),
    ({"title": "M" * 51}, "has 51 characters"),
    ({"title": "Monet Cycle GAN"}, "Kaggle makes the address 'monet-cycle-gan' of the title"),
    ({"id": "monet-cyclegan"}, "is not of the form USERNAME/monet-cyclegan"),
    ({"competition_sources": []}, '"competition_sources" must hold "gan-getting-started"'),
    ({"enable_internet": None}, "'enable_internet' must be true or false, and is null"),
    ({"enable_internet": "true"}, "'enable_internet' must be true or false"),
    ({"dataset_sources": "a/b"}, "'dataset_sources' must be a list of texts"),
    ({"docker_image": "x"}, "remove 'docker_image'"),
    ({"enable_gpu": True}, "remove 'enable_gpu': Kaggle has replaced it by machine_shape"),
    ({"machine_shape": "NvidiaTeslaP100"}, "no machine_shape 'NvidiaTeslaP100' for everybody"),
    ({"titel": "x"}, "there is no 'titel'. Did you mean title?"),
])
def test_metadata_that_kaggle_would_refuse_is_refused_here(change, says):
    metadata = read_metadata(ROOT / "kernel-metadata.json")
    with pytest.raises(UserError, match=re.escape(says)):
        check_metadata({**metadata, **change})


@pytest.mark.parametrize("missing", ["enable_internet", "title", "id", "competition_sources"])
def test_metadata_that_leaves_the_choice_to_kaggle_is_refused(missing):
    metadata = read_metadata(ROOT / "kernel-metadata.json")
    metadata.pop(missing)
    with pytest.raises(UserError, match=missing):
        check_metadata(metadata)


@pytest.mark.parametrize(("text", "says"), [("{'id': 1}", "is not JSON"), ("[]", "must hold a JSON object"),
                                            (None, "cannot be read"), ("\udcff", "is not JSON")])
def test_metadata_that_is_not_json_is_refused(checkout, text, says):
    path = checkout / "kernel-metadata.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=f"kernel-metadata.json {says}"):
        bundle([], checkout)
    with stand_in() as site:
        status, _, err = kernel(site, checkout, "status")
        assert status == 2 and says in err and not site.calls


# Looking after it.


def test_status_once(checkout):
    with stand_in() as site:
        site.serve_status("RUNNING")
        status, _, err = kernel(site, checkout, "status")
        assert (status, len(site.called(STATUS))) == (0, 1) and f"{KERNEL}: RUNNING" in err
        site.answers.pop(STATUS)
        assert kernel(site, checkout, "status")[0] == 2


def test_status_is_watched_to_the_end_with_the_time_since_the_push(checkout):
    pushed = {"id": KERNEL, "version": 7, "url": URL, "time": time.time() - 3700}
    (checkout / "kernel/pushed.json").write_text(json.dumps(pushed))
    with stand_in() as site:
        site.serve_status("QUEUED", "RUNNING", "RUNNING", "COMPLETE")
        status, _, err = kernel(site, checkout, "status", "--watch", "--every", "0.1")
        assert (status, len(site.called(STATUS))) == (0, 4)
    assert [line.split(": ")[1] for line in err.splitlines()] == [
        f"{word}, 1 h 1 min since the push" for word in ("QUEUED", "RUNNING", "COMPLETE")]


def test_failed_kernel_is_a_failure_with_its_message(checkout):
    with stand_in() as site:
        site.serve_status("RUNNING", "ERROR", message='Ran out of "memory"')
        status, _, err = kernel(site, checkout, "status", "--watch", "--every", "0.1")
    assert status == 1 and 'Ran out of "memory"' in err and "make kernel-log" in err


def test_lost_connection_does_not_end_watching(checkout):
    """The second and the third answer break off."""
    with stand_in() as site:
        site.serve_status("RUNNING", "COMPLETE")
        good = site.answers[STATUS]
        broken = Answer(200, b'{"status": "RUNNING"}', {"Content-Type": "application/json"}, cut_at=4)
        site.answers[STATUS] = lambda call: broken if len(site.called(STATUS)) in (2, 3) else good(call)
        status, _, err = kernel(site, checkout, "status", "--watch", "--every", "0.1")
        assert (status, len(site.called(STATUS))) == (0, 4), err
    assert [line.split()[1] for line in err.splitlines()] == ["RUNNING,", "COMPLETE,"]


def test_kernel_that_was_never_pushed_is_said(checkout):
    with stand_in() as site:
        for command in ("status", "log", "output"):
            if command != "status":
                site.answers["kernels.KernelsApiService/ListKernelSessionOutput"] = site.answers[STATUS]
            status, _, err = kernel(site, checkout, command)
            assert status == 2 and "Kaggle knows no such kernel of yours" in err


def test_log_is_what_the_kernel_printed(checkout):
    pieces = [{"stream_name": "stderr", "time": 1.5, "data": "Training tpu\n"}, {"data": f"odd {KEY} line\n"},
              {"data": "error: The TPU …\n"}]
    with stand_in() as site:
        site.serve_output({}, log=json.dumps(pieces))
        status, out, _ = kernel(site, checkout, "log")
        assert (status, out) == (0, "Training tpu\nodd … line\nerror: The TPU …\n")
        stream = "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: END_OF_LOG\n\n"
        site.answers[f"kernels/logs/stream/{KERNEL}"] = lambda call: Answer(
            200, stream.encode(), {"Content-Type": "text/event-stream"})
        status, out, err = kernel(site, checkout, "log", "--watch")
    assert (status, out) == (0, "Training tpu\nodd … line\nerror: The TPU …\n"), err


def images_zip(count: int) -> bytes:
    """A submission of so many different pictures."""
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


def test_output_is_fetched_and_checked(checkout, good_zip):
    files = {"images.zip": Answer(200, good_zip), "history.csv": Answer(200, b"step\n"),
             "preview.jpg": Answer(200, b"x"), "photo_to_monet.npz": Answer(200, b"x"),
             "config.json": Answer(200, b"{}"), "run.log": Answer(200, b"log"),
             "checkpoints/step-1.npz": Answer(200, b"large"), "../images.zip": Answer(200, b"out")}
    out = checkout / "submission"
    with stand_in() as site:
        site.serve_output(files, log="[]")
        status, _, err = kernel(site, checkout, "output", "--out", "submission")
        assert status == 0, err
        assert {call.host for call in site.calls} == {API_HOST, FILE_HOST}
        assert not site.called("/output/checkpoints/step-1.npz") and not site.called("/output/../images.zip")
    assert sorted(path.name for path in out.iterdir()) == sorted(list(files)[:6])
    assert (out / "images.zip").read_bytes() == good_zip
    assert "python tools/mifid.py" in err
    assert "make kernel-submit MSG" in err and "Nothing in images.zip is known to be refused" in err


@pytest.mark.parametrize(("answer", "says"), [
    (Answer(200, b"PK" * 1000, cut_at=500), "connection broke"),
    (Answer(404, b"gone"), "is no readable zip"),
    (Answer(200, images_zip(3)), "The number of pictures is 3"),
])
def test_output_that_is_not_whole_takes_no_place(checkout, answer, says):
    (checkout / "submission").mkdir()
    (checkout / "submission/images.zip").write_text("an earlier one")
    with stand_in() as site:
        site.serve_output({"images.zip": answer})
        status, _, err = kernel(site, checkout, "output", "--out", "submission")
    assert status == 2 and says in err
    assert (checkout / "submission/images.zip").read_text() == "an earlier one"


def test_output_without_a_zip_is_said(checkout):
    with stand_in() as site:
        site.serve_output({"history.csv": Answer(200, b"step\n")})
        status, _, err = kernel(site, checkout, "output", "--out", "submission")
    assert status == 2 and "left no images.zip" in err and "make kernel-log" in err
    assert not (checkout / "submission").exists()


def test_download_may_take_longer_than_a_question(pushed, good_zip):
    """With a time for questions that not even starting the client keeps."""
    program = pushed / "tools/kaggle_site/client.py"
    program.write_text(program.read_text().replace("\nCLIENT_SECONDS = 300", "\nCLIENT_SECONDS = 0.01"))
    with stand_in() as site:
        site.serve_status("COMPLETE")
        site.serve_output({"images.zip": Answer(200, good_zip)})
        status, _, err = kernel(site, pushed, "status")
        assert status == 2 and "No connection to Kaggle" in err
        status, _, err = kernel(site, pushed, "output", "--out", "submission")
        assert status == 0, err


def test_output_sets_a_run_of_this_machine_aside(checkout, good_zip):
    out = checkout / "submission"
    (out / "checkpoints").mkdir(parents=True)
    (out / "images.zip").write_text("mine")
    with stand_in() as site:
        site.serve_output({"images.zip": Answer(200, good_zip)})
        assert kernel(site, checkout, "output", "--out", "submission")[0] == 0
    assert (out / "previous-1/images.zip").read_text() == "mine" and (out / "previous-1/checkpoints").is_dir()


# Handing in.


def test_submission_is_the_version_that_was_pushed(pushed):
    with stand_in() as site:
        site.serve_status("COMPLETE")
        status, _, err = kernel(site, pushed, "submit", "--message", "tpu, 'first'", "--yes")
        assert status == 0, err
        assert [call.json() for call in site.called(SUBMIT)] == [{
            "competitionName": "gan-getting-started", "kernelOwner": "someone", "kernelSlug": "monet-cyclegan",
            "kernelVersion": 7, "fileName": "images.zip", "submissionDescription": "tpu, 'first'"}]
    assert "Successfully submitted" in err and "4 submissions remaining today" in err


def test_submission_wants_an_answer_a_message_a_push_and_a_run_that_is_over(pushed):
    with stand_in() as site:
        site.serve_status("COMPLETE")
        assert "Give YES=1" in kernel(site, pushed, "submit", "--message", "a try")[2]
        assert 'MSG="' in kernel(site, pushed, "submit", "--yes")[2]
        site.serve_status("RUNNING")
        assert "is RUNNING: only a run that is complete" in kernel(site, pushed, "submit", "--message", "a", "--yes")[2]
        (pushed / "kernel/pushed.json").unlink()
        assert "Nothing was pushed from here" in kernel(site, pushed, "submit", "--message", "a", "--yes")[2]
        assert not site.called(SUBMIT)


@pytest.mark.parametrize(("answer", "says"), [
    (Answer(200, {"message": "Submission not allowed: daily limit."}), "Submission not allowed: daily limit."),
    (Answer(403, {"code": 403, "message": "You must accept this competition's rules"}), RULES),
    (Answer(400, {"code": 400, "message": "Notebook output file not found"}), "Notebook output file not found"),
])
def test_submission_that_is_refused_is_an_error(pushed, answer, says):
    with stand_in() as site:
        site.serve_status("COMPLETE")
        site.answers[SUBMIT] = lambda call: answer
        status, _, err = kernel(site, pushed, "submit", "--message", "a", "--yes")
    assert status == 2 and says in err
