"""monet.core.process: variables, home folder and standard streams, whatever the process was started with."""

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from kaggle_site.credentials import find_credentials
from support.settings import ROOT

from monet.core.process import ENVIRONMENT_VARIABLE, cache_folder, set_home, set_variables

HOSTILE = {"KERAS_BACKEND": "jax", "TF_USE_LEGACY_KERAS": "1", "KERAS_NNX_ENABLED": "true"}


def run_python(code, **options):
    """Runs `code` in a process of its own, which imports nothing but the kit: a tenth of a second."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **options.pop("env", {})}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, env=environment, **options)


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user without $HOME and without an entry in /etc/passwd; tmp_path is the temporary folder."""
    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


def test_keras_gets_what_the_kit_needs(monkeypatch, tmp_path):
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    for name, value in {**HOSTILE, "KERAS_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    set_variables()
    assert (os.environ["KERAS_BACKEND"], os.environ["TF_USE_LEGACY_KERAS"]) == ("tensorflow", "0")
    assert os.environ["KERAS_NNX_ENABLED"] == "false"
    assert os.environ["KERAS_HOME"] == os.path.join(cache_folder(), "keras")


def test_the_environment_built_for_a_tpu_keeps_keras_2(monkeypatch):
    for name in ("TF_USE_LEGACY_KERAS", "KERAS_BACKEND", "KERAS_HOME", "KERAS_NNX_ENABLED"):
        monkeypatch.setenv(name, "")  # restored after the test
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/tmp/monet-tpu")
    set_variables()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"


@pytest.mark.lengthy
@pytest.mark.keras_2
@pytest.mark.parametrize("settings", ['{"image_data_format": "channels_first"}', '{"floatx": "float16"}',
                                      '{"backend": "torch", "floatx": "bfloat16", "epsilon": 0, "nnx_enabled": true}'])
def test_networks_are_built_whatever_keras_json_says(settings, tmp_path):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(settings)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KERAS", "XDG_CACHE"))}
    described = subprocess.run([sys.executable, "-m", "monet", "describe", "--preset", "cpu"], cwd=tmp_path, text=True,
                               capture_output=True, timeout=120, env={
                                   **clean, **HOSTILE, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")})
    assert described.returncode == 0, described.stderr
    assert "70,531 parameters" in described.stdout and "float32" in described.stdout


def test_a_user_without_a_home_gets_one(homeless):
    assert os.path.expanduser("~") == "~"
    set_home()
    assert Path.home().is_dir() and Path.home().is_relative_to(homeless)
    assert cache_folder().startswith(str(homeless))
    assert isinstance(find_credentials(), dict)


def test_the_root_folder_is_no_home_unless_it_can_be_written(homeless, monkeypatch):
    monkeypatch.setenv("HOME", "/")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    set_home()
    assert Path.home().is_relative_to(homeless)


@pytest.mark.parametrize("given", ["", "cache", "~/cache"])
def test_the_cache_never_lies_in_the_current_folder(monkeypatch, tmp_path, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache_folder() == f"{tmp_path}/.cache/monet"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == "/elsewhere/monet"


def test_a_home_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "not there yet"))
    set_home()
    assert os.environ["HOME"] == str(tmp_path / "not there yet")
    assert not Path.home().exists()


@pytest.mark.parametrize("closed", [[2], [1, 2], [0, 1, 2]])
def test_closed_streams_swallow_what_is_printed(closed, tmp_path):
    """A bar, a line and a result are printed; the file opened first does not take a stream's number."""
    code = f"""
import monet, os, sys
file = open({str(tmp_path / "file")!r}, "w")
assert file.fileno() > 2
from monet.core.errors import say
from monet.core.progress import progress_bar
say("a line")
print("a result")
os.write(2, b"as C code does")
with progress_bar("Painting", 2) as show:
    show(2)
file.write("whole")
"""
    done = run_python(code, preexec_fn=lambda: [os.close(number) for number in closed])
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "utf-8"])
def test_any_text_can_be_printed_in_any_encoding(encoding):
    printed = run_python("import monet, sys; print('× … – \\udcff'); print('…', file=sys.stderr)",
                         env={"PYTHONIOENCODING": encoding})
    assert printed.returncode == 0, printed.stderr
    assert ("…" in printed.stdout.decode(errors="replace")) == (encoding == "utf-8")
