"""The bundle alone in the environment of `make kaggle-env`, which has the versions of Kaggle's own image."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from bundle import bundle
from support.settings import ROOT, TINY

from monet.kaggle_run import KERNEL_DECIDES

pytestmark = pytest.mark.lengthy

VERSIONS = {"tensorflow": "2.20.0", "keras": "3.13.2", "numpy": "2.0.2", "PIL": "11.3.0", "scipy": "1.16.3"}


@pytest.fixture(scope="module")
def kaggle_python() -> str:
    """Its Python, which $MONET_KAGGLE_PYTHON can name. Without one, the tests are skipped, or fail in CI."""
    path = os.environ.get("MONET_KAGGLE_PYTHON") or str(ROOT / ".venv-kaggle" / "bin" / "python")
    if not os.access(path, os.X_OK):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Kaggle's versions are not here: run make kaggle-env")
    return path


@pytest.fixture
def run_there(kaggle_python, small_root, tmp_path):
    """Bundles `TINY` with options and runs the file as Kaggle does: its log, and the folder that Kaggle keeps."""
    root, working = tmp_path / "checkout", tmp_path / "working"
    for folder in (root, working, tmp_path / "input"):
        folder.mkdir()
    (root / "src").symlink_to(ROOT / "src")
    (root / "kernel-metadata.json").write_text((ROOT / "kernel-metadata.json").read_text())
    (tmp_path / "input/gan-getting-started").symlink_to(small_root)

    def run(*options: str) -> tuple[str, Path]:
        tiny = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name not in KERNEL_DECIDES]
        path = bundle(["--accelerator", "none", *tiny, *options], root)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MONET_INTERNET_HOST": "127.0.0.1:9",
                       "MONET_KAGGLE_INPUT": str(tmp_path / "input"), "MONET_KAGGLE_WORKING": str(working)}
        done = subprocess.run([kaggle_python, "-I", str(path)], env=environment, cwd=tmp_path, capture_output=True,
                              text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stderr, working

    return run


def test_environment_has_kaggles_versions_and_not_the_kit(kaggle_python):
    names = ", ".join(VERSIONS)
    code = (f"import importlib.util, {names}; print({{m.__name__: m.__version__ for m in ({names})}} | "
            "{name: 'there' for name in ('monet', 'kaggle') if importlib.util.find_spec(name)})")
    found = subprocess.run([kaggle_python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == f"{VERSIONS}\n"


def test_bundle_trains_and_paints_there(run_there):
    _, working = run_there("--num-images", "20")
    assert {"images.zip", "history.csv", "photo_to_monet.npz", "preview.jpg"} <= set(os.listdir(working))


def test_smoke_run_there_ends_with_its_table(run_there):
    log, working = run_there("--smoke", "--preset", "cut", "--generator-levels", "3")
    rows = dict(json.loads((working / "smoke.json").read_text())["rows"])
    assert rows["internet"] == "off" and rows["engine"].startswith("tensorflow") and "64 photos" in rows["images"]
    assert log.rstrip().splitlines()[-2].startswith("the full run")
    assert sorted(os.listdir(working)) == ["run.log", "smoke.json"]
