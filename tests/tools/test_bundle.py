"""The bundle: one readable file of all of src/monet/ that, alone in Kaggle's tree, does what the package does."""

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import nbformat
import pytest
from bundle import bundle
from bundling.sources import check_names, in_import_order, read_modules, split_standard
from support.settings import ROOT, TINY

from monet.cli import main
from monet.core.config import FIELDS, make_config
from monet.core.errors import UserError
from monet.core.presets import PRESETS
from monet.kaggle_run import KERNEL_DECIDES
from monet.scoring.inception_weights import INCEPTION

pytestmark = pytest.mark.lengthy

SECRETS = {"KAGGLE_KEY": "0123456789abcdef-dummy", "KAGGLE_API_TOKEN": "KGAT_dummy-token",
           "AWS_SECRET_ACCESS_KEY": "dummy/secret+key", "KAGGLE_USERNAME": "somebody-planted"}
TINY_RUN = {**{name: value for name, value in TINY.items() if name not in KERNEL_DECIDES}, "num_images": 20, "seed": 3,
            "max_minutes": 30.0}
TINY_OPTIONS = ["--accelerator", "none", *(f"--{name.replace('_', '-')}={value}" for name, value in TINY_RUN.items())]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout with the project's sources and no git."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "src" / "monet", root / "src" / "monet", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "kernel-metadata.json", root)
    return root


def bundled(root: Path, *words: str) -> str:
    return bundle(list(words), root).read_text(encoding="utf-8")


def settings_of(text: str) -> dict:
    """The settings that stand in the bundle, read as Python reads them."""
    assigned = {node.targets[0].id: node.value for node in ast.parse(text).body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    return ast.literal_eval(assigned["SETTINGS"])


# What the file is.


def test_same_sources_give_the_same_bytes(checkout):
    first = bundled(checkout, "--accelerator", "gpu", "--epochs", "60")
    assert bundled(checkout, "--accelerator", "gpu", "--epochs", "60") == first
    assert not re.search(r"20\d\d-\d\d-\d\d", first.replace(INCEPTION.address, ""))
    with (checkout / "src/monet/losses.py").open("a") as file:
        file.write("# one more line\n")
    digests = [re.search(r"^# ([0-9a-f]{64})$", text, re.MULTILINE)[1] for text in (first, bundled(checkout))]
    assert digests[0] != digests[1]


def test_header_says_version_commit_and_command(checkout, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=checkout, check=True,
                       capture_output=True)

    assert "from no git checkout" in bundled(checkout)
    shutil.rmtree(checkout / "kernel")
    (checkout / ".gitignore").write_text("/kernel/\n")
    git("init")
    git("add", "-A")
    git("commit", "-m", "all")
    commit = (checkout / ".git/refs/heads").glob("*").__next__().read_text().strip()
    clean = bundled(checkout, "--accelerator", "none", "--ema-decay", "0.5")
    assert f"# Version 0.1.0 of the kit, git commit {commit}." in clean
    assert "--accelerator none --ema-decay 0.5\n" in clean
    (checkout / "src/monet/new.py").write_text("")
    assert "modified since its git commit" in bundled(checkout)
    monkeypatch.setenv("PATH", str(checkout))  # where there is no git
    assert "from no git checkout" in bundled(checkout)


def test_all_of_the_package_is_in_it_with_comments_and_docstrings(checkout):
    """Everything but the import lines, in the order of the modules' imports; every comment and docstring of them."""
    text = bundled(checkout)
    comments = {token.string for token in tokenize.generate_tokens(io.StringIO(text).readline)
                if token.type == tokenize.COMMENT}
    for path in sorted((checkout / "src/monet").glob("*.py")):
        if path.name == "__main__.py":
            continue
        assert f"\n# monet/{path.name}\n" in text
        source = path.read_text(encoding="utf-8")
        own = {token.string for token in tokenize.generate_tokens(io.StringIO(source).readline)
               if token.type == tokenize.COMMENT}
        assert own <= comments
        for node in ast.parse(source).body:
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                assert ast.get_source_segment(source, node) in text
    assert not re.search(r"^\s*(from|import) monet", text, re.MULTILINE)
    assert not re.search(r"\bexec\(|\beval\(|base64", text)
    assert max(len(line) for line in text.splitlines()) <= 120


def test_what_needs_only_the_standard_library_stands_before_the_machine_is_prepared(checkout):
    before, after = bundled(checkout).split("# the machine\n")
    imports = [node for node in ast.parse(before).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    outside = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) for node in imports}
    assert {name.split(".")[0] for name in outside} <= set(sys.stdlib_module_names)
    assert "# monet/tpu_environment.py\n" in before and "# monet/presets.py\n" in before
    assert after.index("prepare_machine(") < after.index("import tensorflow as tf")
    assert after.count("\nimport tensorflow as tf\n") == 1


def test_it_needs_only_what_kaggles_images_hold(checkout):
    imports = [node for node in ast.parse(bundled(checkout)).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    outside = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert outside <= {"tensorflow", "keras", "numpy", "PIL", "scipy", "tqdm"}


def test_it_has_no_undefined_and_no_doubly_defined_name(checkout):
    bundled(checkout)
    ruff = subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F",
                           str(checkout / "kernel/monet_cyclegan.py")], capture_output=True, text=True)
    assert ruff.returncode == 0, ruff.stdout


def test_notebook_is_the_same_code_in_cells_with_titles(checkout):
    options = ("--accelerator", "none", "--epochs", "7")
    script, notebook = bundled(checkout, *options), json.loads(bundled(checkout, *options, "--notebook"))
    nbformat.validate(notebook)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    titles = [cell["source"].removeprefix("## ") for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    assert titles == re.findall(r"^# =+\n# (.*)\n# =+$", script, re.MULTILINE)
    code = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    without_headers = [ast.dump(ast.parse(text)) for text in (script, code)]
    assert without_headers[0] == without_headers[1]
    assert json.loads((checkout / "kernel/kernel-metadata.json").read_text())["kernel_type"] == "notebook"


# The settings.


@pytest.mark.parametrize(("accelerator", "preset", "shape", "device"),
                         [("tpu", "tpu", "TpuV5E8", "tpu"), ("gpu", "gpu", "NvidiaTeslaT4", "gpu"),
                          ("none", "cpu", "", "cpu")])
def test_accelerator_decides_on_preset_machine_and_device(checkout, accelerator, preset, shape, device):
    settings = settings_of(bundled(checkout, "--accelerator", accelerator))
    assert make_config(**settings) == make_config(**{**PRESETS[preset], "preset": preset, "accelerator": device})
    metadata = json.loads((checkout / "kernel/kernel-metadata.json").read_text())
    assert (metadata["machine_shape"], metadata["kernel_sources"]) == (shape, [])


def test_settings_are_what_was_asked_for_every_one_with_a_comment(checkout):
    text = bundled(checkout, "--accelerator", "tpu", "--preset", "tutorial", "--epochs", "60", "--ema-decay=0.999")
    settings = settings_of(text)
    assert set(settings) == set(FIELDS) - set(KERNEL_DECIDES)
    assert (settings["preset"], settings["epochs"], settings["ema_decay"]) == ("tutorial", 60, 0.999)
    block = text.split("SETTINGS = {\n")[1].split("\n}")[0]
    for name in settings:
        found = re.search(rf'((?:    # .*\n)+)    "{name}": .*|    "{name}": .*  # (.*)', block)
        comment = " ".join((found[1] or found[2]).replace("    # ", "").split())
        assert comment.endswith(", ".join(FIELDS[name].metadata["choices"])), name
    assert "# what the settings below began as; another name changes nothing here" in block


def test_metadata_of_the_top_decides_where_no_accelerator_is_named(checkout):
    path = checkout / "kernel-metadata.json"
    path.write_text(path.read_text().replace("TpuV5E8", "NvidiaTeslaT4"))
    assert settings_of(bundled(checkout))["preset"] == "gpu"


def test_resuming_attaches_the_kernels_own_output(checkout):
    assert 'RESUME_FROM = "monet-cyclegan"' in bundled(checkout, "--resume-last")
    metadata = json.loads((checkout / "kernel/kernel-metadata.json").read_text())
    assert metadata["kernel_sources"] == ["USERNAME/monet-cyclegan"]


def test_config_of_an_earlier_run_is_taken_but_for_its_folders(checkout, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"epochs": 3, "data": "/home/me/monets", "out": "/home/me/out"}))
    text = bundled(checkout, "--accelerator", "gpu", "--config", str(tmp_path / "config.json"))
    assert settings_of(text)["epochs"] == 3
    assert "/home/me" not in text and str(tmp_path) not in text
    assert "--config config.json" in text


@pytest.mark.parametrize(("words", "says"), [
    (["--accelerator", "p100"], "ACCELERATOR=p100: choose one of tpu, gpu, none."),
    (["--preset", "tup"], "there is no such preset. Did you mean tpu"),
    (["--epoch", "60"], "no setting named 'epoch'. Did you mean epochs"),
    (["--epochs", "many"], "--epochs many: expected a whole number."),
    (["--generator-levels", "16"], "--generator-levels 16"),
    (["--accelerator", "gpu", "--data", "data/monets"], "Kaggle's machine has no such folder"),
    (["--out", "here"], "--out: on Kaggle the kernel itself decides"),
    (["--resume=false"], "--resume: on Kaggle the kernel itself decides"),
    (["--config", "nowhere.json"], "nowhere.json cannot be read"),
])
def test_settings_that_cannot_be_are_refused_before_anything_is_written(checkout, words, says):
    with pytest.raises(UserError, match=re.escape(says)):
        bundled(checkout, *words)
    assert not (checkout / "kernel").exists()


def test_command_line_says_errors_in_a_sentence():
    run = subprocess.run([sys.executable, "tools/bundle.py", "--preset", "nothing"], cwd=ROOT, capture_output=True,
                         text=True)
    assert run.returncode == 2 and run.stderr.startswith("error: --preset nothing: there is no such preset.")


# What cannot be bundled.


def package(folder: Path, **modules: str) -> dict:
    """The modules of a package that is made of these texts."""
    for name, text in {"kernel": "", **modules}.items():
        (folder / f"{name}.py").write_text(text)
    return read_modules(folder)


@pytest.mark.parametrize(("modules", "says"), [
    ({"low": "def same():\n    pass\n", "high": "x = 1\n\n\nclass same:\n    pass\n"},
     "same is defined at src/monet/low.py:1 and by src/monet/high.py:4"),
    ({"low": "size = 1\n", "high": "from os.path import getsize as size\n"},
     "size is defined at src/monet/low.py:1 and by src/monet/high.py:1"),
    ({"low": "from a import tool\n", "high": "from b import tool\n"},
     "tool is defined at src/monet/low.py:1 and by src/monet/high.py:1"),
    ({"low": "try:\n    import a\nexcept ImportError:\n    a = None\n", "high": "a = 1\n"}, "src/monet/high.py:1"),
    ({"low": "def open(path):\n    pass\n"}, "open is defined at src/monet/low.py:1 and by Python itself"),
    ({"low": "", "high": "\nfrom . import low\n"}, "src/monet/high.py:2: `from . import low`"),
    ({"low": "", "high": "import monet.low as low\n"}, "src/monet/high.py:1: `import monet.low as low`"),
    ({"low": "", "high": "import monet\n"}, "src/monet/high.py:1: `import monet`"),
    ({"low": "a = 1\n", "high": "from monet.low import a as b\n"}, "high.py:1: `from monet.low import a as b`"),
    ({"low": "a = 1\n", "high": "from monet.low import *\n"}, "src/monet/high.py:1: `from monet.low import *`"),
    ({"low": "", "high": "from monet import low\n"}, "src/monet/high.py:1: `from monet import low`"),
    ({"low": "a = 1\n", "high": "def f():\n    from monet.low import a\n    return a\n"}, "src/monet/high.py:2"),
    ({"low": "from os import *\n"}, "src/monet/low.py:1: `from os import *`"),
    ({"low": "from __future__ import annotations\n"}, "src/monet/low.py:1: `from __future__"),
    ({"low": "", "high": "from monet.low import gone\n"}, "src/monet/high.py:1: monet.low defines no gone"),
    ({"high": "from monet.gone import a\n"}, "src/monet/high.py:1: monet.gone defines no a"),
    ({"low": "from monet.high import b\na = 1\n", "high": "\nfrom monet.low import a\nb = 1\n"},
     "src/monet/high.py:2, src/monet/low.py:1. Move"),
])
def test_modules_that_cannot_share_a_file_are_refused_by_line(tmp_path, modules, says):
    with pytest.raises(UserError) as refusal:
        found = package(tmp_path, **modules)
        check_names(found)
        in_import_order(found)
    for part in re.split(r" and by |, ", says):
        assert part in str(refusal.value)


def test_a_module_that_is_not_python_is_refused_by_line(tmp_path):
    with pytest.raises(UserError, match=r"src/monet/low.py:2 is not Python"):
        package(tmp_path, low="a = 1\nb = = 2\n")


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_src_is_refused(checkout, there):
    shutil.rmtree(checkout / "src")
    if there:
        (checkout / "src/monet").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds no kernel.py: there is nothing to bundle"):
        bundled(checkout)


def test_modules_stand_after_what_they_import(tmp_path):
    modules = package(tmp_path, a="from monet.b import x\ny = x\n", b="import numpy\nx = 1\n",
                      c="import json\nz = json\n", kernel="from monet.a import y\nfrom monet.c import z\nw = y, z\n")
    ordered = in_import_order(modules)
    assert [module.name for module in ordered] == ["b", "a", "c", "kernel"]
    standard, others = split_standard(ordered)
    assert [module.name for module in standard] == ["c"] and [module.name for module in others] == ["b", "a", "kernel"]


def test_bundle_too_large_for_kaggle_is_refused(checkout):
    (checkout / "src/monet/large.py").write_text('"""Large."""\n' + "# much\n" * 120_000)
    with pytest.raises(UserError, match=r"would have 1,\d\d\d,\d\d\d bytes, and Kaggle takes less than 1 MB"):
        bundled(checkout)


def test_nothing_of_this_machine_gets_in(checkout, tmp_path):
    """Secrets planted in the environment, in the home and in the checkout, bundled in a process of its own."""
    home = tmp_path / "home-of-somebody"
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle/kaggle.json").write_text(json.dumps({"username": "somebody-planted", "key": "planted-key-1"}))
    shutil.copytree(ROOT / "tools", checkout / "tools")
    (checkout / ".env").write_text("TOKEN=planted-key-2")
    (checkout / "src/monet/kaggle.json").write_text('{"key": "planted-key-3"}')
    environment = {**os.environ, **SECRETS, "HOME": str(home)}
    run = subprocess.run([sys.executable, "-c", "from bundle import bundle; bundle([]); bundle(['--notebook'])"],
                         cwd=checkout / "tools", env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    written = {path.name: path.read_text() for path in (checkout / "kernel").iterdir()}
    assert sorted(written) == ["kernel-metadata.json", "monet_cyclegan.ipynb", "monet_cyclegan.py"]
    for secret in (*SECRETS.values(), "planted-key", "home-of-somebody", str(checkout)):
        assert secret not in "".join(written.values()) + run.stdout


# What it does on Kaggle.


@pytest.fixture(scope="module")
def package_zip(small_root, tmp_path_factory) -> bytes:
    """images.zip of the package's own run with the settings of the bundle."""
    out = tmp_path_factory.mktemp("package")
    config = {**PRESETS["cpu"], **TINY_RUN, "preset": "cpu", "accelerator": "cpu", "data": small_root, "out": str(out)}
    assert main(["run", *(f"--{name.replace('_', '-')}={value}" for name, value in config.items())]) == 0
    return (out / "images.zip").read_bytes()


def run_alone(command: list[str], small_root: str, tmp_path: Path, mount: str):
    """Runs the bundle in a mock of Kaggle's tree: (the finished process, its working folder)."""
    data, working = tmp_path / "input" / mount, tmp_path / "working"
    data.parent.mkdir(parents=True)
    data.symlink_to(small_root)
    working.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MONET_KAGGLE_INPUT": str(tmp_path / "input"),
                   "MONET_KAGGLE_WORKING": str(working)}
    run = subprocess.run(command, cwd=tmp_path / "alone", env=environment, capture_output=True, text=True, timeout=300)
    return run, working


@pytest.mark.parametrize("mount", ["gan-getting-started", "competitions/gan-getting-started"])
def test_bundle_alone_does_what_the_package_does(checkout, small_root, tmp_path, package_zip, mount):
    (tmp_path / "alone").mkdir()
    shutil.move(bundle([*TINY_OPTIONS], checkout), tmp_path / "alone")
    run, working = run_alone([sys.executable, "-I", "monet_cyclegan.py"], small_root, tmp_path, mount)
    assert run.returncode == 0, run.stderr
    assert (working / "images.zip").read_bytes() == package_zip
    left = sorted(str(path.relative_to(working)) for path in working.rglob("*") if path.is_file())
    assert left == ["checkpoints/step-00000006.npz", "config.json", "history.csv", "images.zip", "photo_to_monet.npz",
                    "preview.jpg", "run.log"]
    assert f"below {tmp_path}/input/{mount}" in run.stderr


def test_notebook_alone_does_the_same(checkout, small_root, tmp_path, package_zip):
    """Its cells one after the other in one namespace without a file, as a notebook runs them."""
    (tmp_path / "alone").mkdir()
    path = shutil.move(bundle([*TINY_OPTIONS, "--notebook"], checkout), tmp_path / "alone")
    runner = ("import json, sys\n"
              "cells = [cell for cell in json.load(open(sys.argv.pop(1)))['cells'] if cell['cell_type'] == 'code']\n"
              "space = {'__name__': '__main__'}\n"
              "for cell in cells: exec(compile(cell['source'], '<cell>', 'exec'), space)\n")
    command = [sys.executable, "-I", "-c", runner, str(path)]
    run, working = run_alone(command, small_root, tmp_path, "gan-getting-started")
    assert run.returncode == 0, run.stderr
    assert (working / "images.zip").read_bytes() == package_zip


def test_bundle_without_data_says_what_to_attach(checkout, tmp_path):
    (tmp_path / "alone").mkdir()
    (tmp_path / "nothing").mkdir()
    shutil.move(bundle([*TINY_OPTIONS], checkout), tmp_path / "alone")
    run, working = run_alone([sys.executable, "-I", "monet_cyclegan.py"], str(tmp_path / "nothing"), tmp_path, "other")
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert '"competition_sources": ["gan-getting-started"]' in run.stderr
    assert not list(working.iterdir())


def test_bundle_for_a_tpu_stops_at_once_where_there_is_none(checkout, tmp_path):
    (tmp_path / "alone").mkdir()
    (tmp_path / "nothing").mkdir()
    shutil.move(bundle(["--accelerator", "tpu"], checkout), tmp_path / "alone")
    run, _ = run_alone([sys.executable, "-I", "monet_cyclegan.py"], str(tmp_path / "nothing"), tmp_path, "other")
    assert run.returncode == 2
    assert run.stderr.startswith("error: This machine has no TPU.") and "ACCELERATOR=gpu" in run.stderr
