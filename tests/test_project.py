"""The project as a whole: the architecture's floors, the Makefile's targets, and what the pages say about them."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter

import pytest
from support.settings import ROOT

PACKAGE = ROOT / "src" / "monet"
# The floors of src/monet from the bottom up; "" is the package's top folder. A module imports from its own folder and
# from lower floors, not from another folder on its floor.
FLOORS = [{"core"}, {"data", "machine"}, {"networks", "submission"}, {"gan", "scoring"}, {"training"}, {""}]
LEVEL = {folder: level for level, floor in enumerate(FLOORS) for folder in floor}
MODULES = {path.relative_to(PACKAGE): ast.parse(path.read_text(encoding="utf-8"))
           for path in sorted(PACKAGE.rglob("[a-z]*.py"))}


def folder_of(path):
    return str(path.parent) if path.parent.name else ""


def module_name(path):
    return ".".join(("monet", *path.with_suffix("").parts))


def package_imports(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("monet")]


def test_every_folder_is_a_floor():
    assert {folder_of(path) for path in MODULES} == set(LEVEL)
    assert {path.name for path in MODULES if not folder_of(path)} == {"cli.py", "kaggle_run.py"}


def test_imports_only_go_down():
    by_name = {module_name(path): path for path in MODULES}
    for path, tree in MODULES.items():
        for node in package_imports(tree):
            here, there = folder_of(path), folder_of(by_name[node.module])
            assert here == there or LEVEL[there] < LEVEL[here], f"{path} imports {node.module}"


def test_imports_form_no_cycle():
    imported = {module_name(path): {node.module for node in package_imports(tree)} for path, tree in MODULES.items()}
    while free := [name for name, others in imported.items() if not others & set(imported)]:
        for name in free:
            del imported[name]
    assert not imported, "import cycle"


def test_imports_of_the_package_are_plain_and_at_the_top():
    """Only `from monet.x.y import name`: the bundle concatenates the modules without these lines."""
    for path, tree in MODULES.items():
        nodes = package_imports(tree)
        assert all(node in tree.body and all(alias.asname is None for alias in node.names) for node in nodes), path
        assert not any(alias.name.startswith("monet") for node in ast.walk(tree) if isinstance(node, ast.Import)
                       for alias in node.names), path


def top_level_names(tree):
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def test_no_two_modules_define_the_same_name():
    names = Counter(name for tree in MODULES.values() for name in set(top_level_names(tree)))
    assert [name for name, count in names.items() if count > 1] == []


def make(*words):
    """Runs make as from a fresh shell. `make test` would pass its own variables on."""
    inherited = {"PYTHON", "VENV", "EXTRAS", "PRESET", "DATA", "OUT", "ARGS", "ACCELERATOR", "EPOCHS", "RESUME",
                 "SMOKE", "WATCH", "MSG", "YES", "DRY_RUN", "OPEN", "MFLAGS"}
    environment = {name: value for name, value in os.environ.items()
                   if name not in inherited and not name.startswith(("MAKE", "KAGGLE"))}
    return subprocess.run(["make", "--no-print-directory", *words], cwd=ROOT, capture_output=True, text=True,
                          timeout=120, env=environment)


def make_targets():
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in make().stdout.splitlines())


def test_make_without_a_target_lists_and_describes_all_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(" ".join(re.findall(r"^\.PHONY: (.*)$", makefile, re.M)).split())
    targets = make_targets()
    assert set(targets) == phony
    assert {"setup", "local-train", "test", "lint", "data", "bench", "kernel", "kernel-push", "kernel-status",
            "kernel-log", "kernel-output", "kernel-submit", "tpu-wheels"} <= phony
    assert all(targets.values())


PAGES = ["README.md", "CONTRIBUTING.md", "src/monet/README.md", "tools/README.md", "tools/comparison/experiments.md",
         "submission/README.md", "kernel/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_only_what_exists(page):
    """Targets of make; sources, by their path in the checkout or beside the page; links; functions with their file."""
    folder, text = (ROOT / page).parent, (ROOT / page).read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"`[^`\n]+`|^    .*$", text, re.M))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) <= set(make_targets())
    for path in re.findall(r"((?:[\w.-]+/)*[\w.-]+\.(?:py|sh))\b", code):
        generated = path.startswith("kernel/") or path == "monet_cyclegan.py"
        assert generated or (ROOT / path).exists() or (folder / path).exists(), path
    for path in re.findall(r"\]\((?!https:)([^)#]+)", text):
        assert (folder / path).exists(), path
    for name, path in re.findall(r"`(?:\w+\.)?(\w+)`\s(?:\(|in\s)`([\w/]+\.py)`", text):
        source = (folder / path if (folder / path).exists() else ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^ *(?:def|class) {name}\b|^{name} = ", source, re.M), (name, path)


@pytest.mark.parametrize(("words", "command"), [
    (["kernel", "PRESET=tutorial", "EPOCHS=60", "ARGS=--ema-decay 0.999"],
     "bundle.py --preset tutorial --epochs 60 --ema-decay 0.999"),
    (["kernel", "ACCELERATOR=gpu", "RESUME=1"], "bundle.py --accelerator gpu --resume-last"),
    (["kernel", "RESUME=0"], "bundle.py"),
    (["kernel-push", "SMOKE=1", "PRESET=cut"], "bundle.py --smoke --preset cut"),
    (["kernel-push", "DRY_RUN=1"], "kaggle_kernel.py push --dry-run"),
    (["kernel-push", "YES=1"], "kaggle_kernel.py push --yes"),
    (["kernel-status", "WATCH=1"], "kaggle_kernel.py status --watch"),
    (["kernel-log", "WATCH=1"], "kaggle_kernel.py log --watch"),
    (["kernel-output", "OUT=runs/kaggle"], "kaggle_kernel.py output --out runs/kaggle"),
    (["kernel-submit", "MSG=it's the first", "YES=1"], "kaggle_kernel.py submit --yes --message it's the first"),
    (["scores", "DRY_RUN=1"], "kaggle_kernel.py scores --dry-run"),
    (["fid-weights"], "tools/fid_weights.py"),
    (["data", "DRY_RUN=1"], "find_data.py --download --dry-run"),
    (["local-train", "DATA=."], "-m monet run --preset cpu --data"),
    (["local-train", "DATA=.", "OPEN=1", "ARGS=--epochs 2"], "--out submission --open --epochs 2"),
    (["mifid", "OUT=runs/first", "DATA=somewhere", "ARGS=--json"],
     "tools/mifid.py runs/first --reference somewhere --json"),
    (["mifid"], "tools/mifid.py submission"),
    (["describe", "PRESET=paper", "DATA=."], "-m monet describe --preset paper --data"),
    (["kernel", "DATA=gs://bucket/mine"], "bundle.py --data gs://bucket/mine"),
    (["local-train", "EPOCHS=5", "PRESET="], "-m monet run --preset cpu --data tools/find_data.py --out submission "
     "--epochs 5"),
    (["describe", "PRESET=paper", "ARGS=--config config.json"],  # which python -m monet refuses
     "-m monet describe --preset paper --data tools/find_data.py --out submission --config config.json"),
    (["kernel-push", "kernel-status", "WATCH=1", "PRESET=gpu"], "bundle.py --preset gpu"),  # one of them uses it
    (["describe", "DATA=.", "ARGS=--config config.json"],  # a config file replaces the preset
     "-m monet describe --data tools/find_data.py . --out submission --config config.json"),
])
def test_make_passes_its_variables_on(tmp_path, words, command):
    """With a fake Python that prints its arguments."""
    install_python(tmp_path, 'echo "$@"')
    made = make(f"VENV={tmp_path}", *words)
    assert command in " ".join(made.stdout.split()), made.stderr


@pytest.mark.parametrize(("words", "users"), [
    (["kernel", "OUT=runs/first"], ["local-train", "kernel-output"]),
    (["local-train", "ACCELERATOR=gpu"], ["kernel-push"]),
    (["describe", "RESUME=0"], ["kernel-push"]),
    (["kernel-output", "DATA=mine"], ["local-train", "mifid"]),
    (["check", "lint", "MSG=the first"], ["kernel-submit"]),
])
def test_make_refuses_a_variable_that_no_target_uses(tmp_path, words, users):
    install_python(tmp_path, 'echo "$@"')
    made = make(f"VENV={tmp_path}", *words)
    assert (made.returncode, made.stdout) == (2, "")
    assert all(text in made.stderr for text in (words[0], words[-1].split("=")[0], *users))


def test_make_knows_which_targets_use_a_variable():
    """Every variable of the Makefile's head, but for those that choose the Python; and no target that is gone."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    checked = set(re.search(r"^CHECKED := (.*)$", makefile, re.M)[1].split())
    head = makefile.split("\n\n")[0]
    assert checked == set(re.findall(r"\b([A-Z_]+)=", head)) - {"PYTHON", "EXTRAS"}
    users = " ".join(re.findall(r"^(?:USE_\w+|BUNDLING|ON_KAGGLE) := (.*)$", makefile, re.M))
    assert set(re.findall(r"[a-z-]+", users)) <= set(make_targets())


@pytest.mark.parametrize("word", ["preset=paper", "PRESTE=paper"])
def test_make_refuses_a_mistyped_variable(word):
    made = make("local-train", word)
    assert made.returncode == 2
    assert word.split("=")[0] in made.stderr and "PRESET" in made.stderr


def install_python(venv, script):
    """Makes `venv` look like an installed environment whose python is a shell script."""
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (venv / "installed--").touch()


def test_mistyped_data_folder_ends_make_local_train(tmp_path):
    install_python(tmp_path / "venv", f'exec "{sys.executable}" "$@"')
    made = make(f"VENV={tmp_path / 'venv'}", "local-train", "DATA=no such folder", f"OUT={tmp_path / 'out'}")
    assert made.returncode == 2
    assert "error: DATA=no such folder is not a folder" in made.stderr
    assert not (tmp_path / "out").exists()


def test_setup_is_repeated_only_when_the_lock_changes(tmp_path):
    install_python(tmp_path, "exit 1")
    fresh = make(f"VENV={tmp_path}", "--question", "setup")
    assert fresh.returncode == 0, fresh.stdout
    os.utime(tmp_path / "installed--", (0, 0))
    assert make(f"VENV={tmp_path}", "--question", "setup").returncode == 1


def test_unsupported_python_is_refused_by_version(tmp_path):
    """With a fake Python that prints its version."""
    install_python(tmp_path / "old", "echo 3.10")
    setup = ["bash", "tools/environments/setup.sh", str(tmp_path / "venv")]
    refused = subprocess.run(setup, cwd=ROOT, capture_output=True, text=True,
                             env={"PATH": "/usr/bin:/bin", "PYTHON": str(tmp_path / "old/bin/python")})
    assert refused.returncode == 2
    assert all(version in refused.stderr for version in ("3.10", "3.11", "3.12", "3.13"))
    assert not (tmp_path / "venv").exists()


def test_lock_holds_what_both_tensorflows_need_and_no_address():
    lock = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for line in ("tensorflow==2.15.1 ; python_full_version < '3.12'", "tensorflow-addons==0.23.0 ;",
                 "tensorflow==2.20.0 ; python_full_version >= '3.12'", "kaggle==", "six==", "numpy==1.26",
                 "tensorflow-datasets==", "tensorflow-metadata==1.17", "importlib-resources=="):
        assert line in lock
    assert "://" not in lock
    assert "index" not in lock
