"""The bundle: one readable file of what its settings need from src/monet/, which does the same as the package."""

import ast
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tokenize
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bundle import bundle
from bundling.reach import chosen_keys, defined_names, look_ups, reachable
from bundling.sources import check_names, is_import, read_modules, used_names
from bundling.story import PARTS, RUN, in_reading_order
from support.settings import ROOT, TINY

from monet.core.config import FIELDS, make_config
from monet.core.errors import UserError
from monet.core.presets import PRESETS
from monet.kaggle_run import KERNEL_DECIDES
from monet.scoring.inception_weights import INCEPTION_WEIGHTS

SECRETS = {"KAGGLE_KEY": "0123456789abcdef-dummy", "KAGGLE_API_TOKEN": "KGAT_dummy-token",
           "AWS_SECRET_ACCESS_KEY": "dummy/secret+key", "KAGGLE_USERNAME": "somebody-planted"}
# Without matched colours, whose steep curves would show that painting on several cores differs in the last bits.
TINY_RUN = {**{name: value for name, value in TINY.items() if name not in KERNEL_DECIDES}, "num_images": 20, "seed": 3,
            "max_minutes": 30.0, "select_by": "last", "match_colors": False}
TINY_OPTIONS = ["--accelerator", "none", *(f"--{name.replace('_', '-')}={value}" for name, value in TINY_RUN.items())]
SOURCES = read_modules(ROOT / "src" / "monet")
# Options of a bundle, and which of the optional classes and functions it contains.
OPTIONAL = {"CycleGan", "Cut", "unet_generator", "resnet_generator", "residual_unet_generator", "strided_discriminator",
            "two_objective_discriminator", "batch_norm", "repeat_pixels", "bce_generator", "lsgan_generator",
            "hinge_generator", "mean_squared", "recolor", "ImagePool", "LossScale", "Selection", "list_array_rows",
            "load_image_file", "find_folder", "parse_tfds_record", "find_tfds", "TiledConv2D", "Cluster",
            "GradientPenalty", "AugmentController", "BestJudge", "MifidJudge"}
OWN = {"Cut", "bce_generator", "recolor", "GradientPenalty", "Selection", "BestJudge"}
GPU = OWN | {"residual_unet_generator", "two_objective_discriminator", "hinge_generator"}
TPU = GPU
CPU = OWN | {"unet_generator"}
VARIANTS = {
    "--accelerator tpu": TPU,
    "--accelerator gpu": GPU | {"LossScale"},
    "--accelerator none": CPU,
    "--accelerator none --preset cut": {"Cut", "resnet_generator", "lsgan_generator"},
    "--accelerator none --preset paper": {"CycleGan", "resnet_generator", "lsgan_generator", "ImagePool"},
    "--accelerator tpu --preset residual-unet": {"CycleGan", "residual_unet_generator", "strided_discriminator",
                                                 "batch_norm", "bce_generator", "lsgan_generator", "mean_squared"},
    "--accelerator tpu --select-by mifid": TPU - {"BestJudge"} | {"MifidJudge"},
    "--accelerator tpu --select-by last": TPU - {"BestJudge", "Selection"},
    "--accelerator tpu --preset tutorial": {"CycleGan", "unet_generator", "bce_generator", "TiledConv2D"},
    "--accelerator tpu --data tfds:cycle_gan/monet2photo": TPU | {"find_tfds", "parse_tfds_record"},
    "--accelerator tpu --data /kaggle/input/mine": TPU | {"list_array_rows", "load_image_file", "find_folder"},
    "--accelerator none --data gs://bucket/mine --preset unet-32": {
        "CycleGan", "unet_generator", "ImagePool", "repeat_pixels", "lsgan_generator", "list_array_rows",
        "load_image_file", "find_folder"},
    "--accelerator none --notebook": CPU,
}


def copy_checkout(root: Path) -> Path:
    """A checkout with the project's sources and no git."""
    shutil.copytree(ROOT / "src" / "monet", root / "src" / "monet", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "kernel-metadata.json", root)
    return root


@pytest.fixture
def checkout(tmp_path) -> Path:
    return copy_checkout(tmp_path / "checkout")


def bundled(root: Path, *words: str) -> str:
    return bundle(list(words), root).read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, tmp_path_factory) -> tuple[str, str]:
    """The options of a bundle and its code, of a notebook that of its cells."""
    text = bundled(copy_checkout(tmp_path_factory.mktemp("variant") / "checkout"), *request.param.split())
    if "--notebook" in request.param:
        cells = json.loads(text)["cells"]
        text = "\n\n\n".join(cell["source"] for cell in cells if cell["cell_type"] == "code")
    return request.param, text


def modules_in(code: str) -> list[str]:
    """The modules in a bundle, by the labels above them."""
    return [path.replace("/", ".") for path in re.findall(r"^# (?:--- )?monet/(\S+)\.py(?: -+)?$", code, re.MULTILINE)]


def defined_name(node: ast.stmt) -> str:
    """The name that a top-level statement defines; of an assignment, the first."""
    targets = [name.id for target in getattr(node, "targets", []) for name in ast.walk(target)
               if isinstance(name, ast.Name)]
    return getattr(node, "name", "") or next(iter(targets), "")


def shape(config: ast.ClassDef) -> list:
    """The fields of Config with their defaults and options, without their help."""
    def field(node: ast.AnnAssign) -> tuple:
        options = {option.arg: ast.unparse(option.value) for option in node.value.keywords if option.arg != "help"}
        return node.target.id, ast.unparse(node.annotation), ast.unparse(node.value.args[0]), options

    return [field(node) if isinstance(node, ast.AnnAssign) else ast.unparse(node) for node in config.body]


def comments_of(code: str) -> set[str]:
    return {token.string for token in tokenize.generate_tokens(io.StringIO(code).readline)
            if token.type == tokenize.COMMENT}


def settings_of(text: str) -> dict:
    """The settings in the bundle, read as Python reads them."""
    assigned = {node.targets[0].id: node.value for node in ast.parse(text).body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    return ast.literal_eval(assigned["SETTINGS"])


# The file.


def test_same_sources_give_the_same_bytes(checkout):
    first = bundled(checkout, "--accelerator", "gpu", "--epochs", "60")
    assert bundled(checkout, "--accelerator", "gpu", "--epochs", "60") == first
    assert not re.search(r"20\d\d-\d\d-\d\d", first.replace(INCEPTION_WEIGHTS.address, ""))
    with (checkout / "src/monet/gan/losses.py").open("a") as file:
        file.write("# one more line\n")
    digests = [re.search(r"^# +([0-9a-f]{64})$", text, re.MULTILINE)[1] for text in (first, bundled(checkout))]
    assert digests[0] != digests[1]


def test_header_gives_version_commit_and_command(checkout, monkeypatch):
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
    monkeypatch.setenv("PATH", str(checkout))  # without git
    assert "from no git checkout" in bundled(checkout)


def test_it_contains_what_the_settings_reach(variant, tmp_path):
    """No name is undefined, so nothing is missing."""
    (tmp_path / "code.py").write_text(variant[1])
    ruff = subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F",
                           str(tmp_path / "code.py")], capture_output=True, text=True)
    assert ruff.returncode == 0, ruff.stdout


def test_it_contains_nothing_else(variant):
    """Each function, class and constant is used by another or by the start of the run."""
    options, code = variant
    statements = ast.parse(code).body
    defined = {name for node in statements if not is_import(node) for name in defined_names(node)}
    assert OPTIONAL & defined == VARIANTS[options]
    assert not {"cli", "training.generate", "training.describe", "submission.pictures"} & set(
        modules_in(code))
    used = set().union(*(used_names(node) - defined_names(node) for node in statements))
    together = set().union(*(defined_names(node) for node in statements if used & defined_names(node)))  # A, B = 1, 2
    assert not defined - together - {"status"}  # of the run


def test_its_text_is_that_of_the_sources(variant):
    """With comments and docstrings, except imports, what is left out of registries, and the settings' help."""
    code = variant[1]
    nodes = {name: node for node in ast.parse(code).body for name in defined_names(node)}
    comments = comments_of(code)
    for name in modules_in(code):
        source = SOURCES[name].text
        for node in SOURCES[name].tree.body:
            text = ast.get_source_segment(source, node)
            if is_import(node) or text in code or not defined_names(node) & set(nodes):
                continue
            if defined_name(node) == "Config":
                assert comments_of(text) <= comments
                assert shape(node) == shape(nodes["Config"])
                continue
            registries = node.value, nodes[defined_name(node)].value
            entries, left = (dict(zip(map(ast.unparse, registry.keys), map(ast.unparse, registry.values), strict=True))
                             for registry in registries)
            assert list(entries) == list(left)
            assert all(left[key] in (entries[key], "LEFT_OUT") for key in entries), name
    assert not re.search(r"^\s*(from|import) monet", code, re.MULTILINE)
    assert not re.search(r"\bexec\(|\beval\(|b64decode", code)
    assert max(len(line) for line in code.splitlines()) <= 120


def test_it_reads_from_the_settings_to_the_zip(checkout):
    text = bundled(checkout, "--accelerator", "tpu")
    story = ["SETTINGS = {", "class Config:", "def training_pairs(", "GENERATORS = {", "ADVERSARIAL_LOSSES = {",
             "def losses_and_gradients(", "def train_step(", "class Trainer:", "def make_painter(",
             "def generate_submission(", "def run_on_kaggle("]
    positions = [text.index(line) for line in story]
    assert positions == sorted(positions)
    assert text[:text.index("def train_step(")].count("\n") < text.count("\n") / 2


def test_every_module_of_the_story_exists():
    assert {name for part in (*PARTS, RUN) for name in part.modules} <= set(SOURCES)


def test_standard_library_comes_before_the_machine_is_prepared(checkout):
    before, after = bundled(checkout).split("    prepare_machine(")
    imports = [node for node in ast.parse(before + "    pass").body if isinstance(node, (ast.Import, ast.ImportFrom))]
    outside = {(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) for node in imports}
    assert {name.split(".")[0] for name in outside} <= set(sys.stdlib_module_names)
    assert modules_in(before) == ["core.process", "__init__", "core.errors", "machine.commands",
                                  "machine.kaggle_machine", "machine.restarts", "machine.tpu_environment"]
    assert after.count("\nimport tensorflow as tf\n") == 1


def test_it_needs_only_what_kaggles_images_have(variant):
    options, code = variant
    imports = [node for node in ast.parse(code).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    outside = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert outside <= {"tensorflow", "keras", "numpy", "PIL", "scipy", "tqdm"} | (
        {"IPython"} if "--notebook" in options else set())


def test_notebook_is_the_same_code_in_cells(checkout):
    options = ("--accelerator", "none", "--epochs", "7")
    script, notebook = bundled(checkout, *options), json.loads(bundled(checkout, *options, "--notebook"))
    nbformat.validate(notebook)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    of_script, of_notebook = ([ast.dump(node) for node in ast.parse(text.replace(" --notebook", "")).body]
                              for text in (script, code))
    assert [node for node in of_notebook if node in set(of_script)] == of_script
    assert json.loads((checkout / "kernel/kernel-metadata.json").read_text())["kernel_type"] == "notebook"


def test_notebook_has_titles_sentences_and_collapsed_helpers(checkout):
    cells = json.loads(bundled(checkout, "--notebook"))["cells"]
    texts = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
    assert texts[0].startswith("# ") and "python tools/bundle.py --notebook" in texts[0]
    for text in texts[1:]:
        title, sentences = re.fullmatch(r"## ([^\n]+)\n\n(.+)", text, re.DOTALL).groups()
        assert "/" not in title and ".py" not in title and sentences.endswith(".")
    hidden = {cell["source"].splitlines()[0]: cell["metadata"].get("_kg_hide-input", False)
              for cell in cells if cell["cell_type"] == "code"}
    assert hidden["# monet/machine/tpu_environment.py"] is True
    assert hidden["SETTINGS = {"] is hidden["# monet/gan/cut.py"] is False
    last = [cell["source"] for cell in cells[-5::2]]
    assert ["preview" in last[0], "loss_curves" in last[1], "check_zip(" in last[2]] == [True] * 3


# The settings.


@pytest.mark.parametrize(("accelerator", "preset", "shape", "device"),
                         [("tpu", "tpu", "TpuV5E8", "tpu"), ("gpu", "gpu", "NvidiaTeslaT4", "gpu"),
                          ("none", "cpu", "", "cpu")])
def test_accelerator_decides_preset_machine_and_device(checkout, accelerator, preset, shape, device):
    settings = settings_of(bundled(checkout, "--accelerator", accelerator))
    assert make_config(**settings) == make_config(**{**PRESETS[preset], "preset": preset, "accelerator": device})
    metadata = json.loads((checkout / "kernel/kernel-metadata.json").read_text())
    assert (metadata["machine_shape"], metadata["kernel_sources"]) == (shape, [])


def test_every_setting_has_its_value_and_a_comment(checkout):
    text = bundled(checkout, "--accelerator", "tpu", "--preset", "tutorial", "--epochs", "60", "--ema-decay=0.999")
    settings = settings_of(text)
    assert set(settings) == set(FIELDS) - set(KERNEL_DECIDES)
    assert (settings["preset"], settings["epochs"], settings["ema_decay"]) == ("tutorial", 60, 0.999)
    block = text.split("SETTINGS = {\n")[1].split("\n}")[0]
    for name in settings:
        found = re.search(rf'((?:    # .*\n)+)    "{name}": .*|    "{name}": .*  # (.*)', block)
        comment = " ".join((found[1] or found[2]).replace("    # ", "").split())
        assert comment.endswith(", ".join(FIELDS[name].metadata["choices"])), name


def test_metadata_decides_if_no_accelerator_is_given(checkout):
    path = checkout / "kernel-metadata.json"
    path.write_text(path.read_text().replace("TpuV5E8", "NvidiaTeslaT4"))
    assert settings_of(bundled(checkout))["preset"] == "gpu"


def test_resuming_attaches_the_kernels_own_output(checkout):
    assert 'RESUME_FROM = "monet-cyclegan"' in bundled(checkout, "--resume-last")
    metadata = json.loads((checkout / "kernel/kernel-metadata.json").read_text())
    assert metadata["kernel_sources"] == ["USERNAME/monet-cyclegan"]


def test_smoke_run_keeps_the_full_settings_under_a_name_of_its_own(checkout):
    full, smoke = bundled(checkout, "--accelerator", "tpu"), bundled(checkout, "--accelerator", "tpu", "--smoke")
    assert settings_of(smoke) == settings_of(full)
    assert "= run_on_kaggle(" in full and "= try_on_kaggle(" in smoke
    assert "def smoke_command(" not in full
    metadata = json.loads((checkout / "kernel/kernel-metadata.json").read_text())
    assert (metadata["id"], metadata["title"]) == ("USERNAME/monet-cyclegan-smoke", "Monet CycleGAN smoke")
    assert "run_files.preview" not in bundled(checkout, "--smoke", "--notebook")  # there are no results to show


def test_config_of_an_earlier_run_is_used_without_its_folders(checkout, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"epochs": 3, "data": "/home/me/monets", "out": "/home/me/out"}))
    text = bundled(checkout, "--accelerator", "gpu", "--config", str(tmp_path / "config.json"))
    assert settings_of(text)["epochs"] == 3
    assert "/home/me" not in text and str(tmp_path) not in text
    assert "--config config.json" in text


def config_file(folder: Path, **settings) -> str:
    """The path of a run's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(settings))
    return str(path)


@pytest.mark.parametrize(("settings", "says"), [({"num_images": 12}, "--num-images 0"),
                                                ({"max_minutes": 600.0}, "--max-minutes 0")])
def test_what_kaggle_would_refuse_for_hours_later_is_not_taken_from_another_run(checkout, tmp_path, settings, says):
    with pytest.raises(UserError, match=says):
        bundled(checkout, "--accelerator", "gpu", "--config", config_file(tmp_path, **settings))
    assert not (checkout / "kernel").exists()


@pytest.mark.parametrize("word", ["--num-images=12", "--max-minutes=600"])
def test_the_same_is_said_and_done_if_it_is_asked_for(checkout, tmp_path, capsys, word):
    config = config_file(tmp_path, num_images=12, max_minutes=600.0)
    text = bundled(checkout, "--accelerator", "gpu", "--config", config, "--num-images=0", "--max-minutes=0", word)
    name, _, value = word[2:].partition("=")
    assert settings_of(text)[name.replace("-", "_")] == float(value)
    assert value in capsys.readouterr().err


@pytest.mark.parametrize(("minutes", "is_said"), [(14.0, True), (0.0, False), (285.0, False)])
def test_a_run_that_would_end_early_is_announced(checkout, tmp_path, capsys, minutes, is_said):
    bundled(checkout, "--accelerator", "gpu", "--config", config_file(tmp_path, max_minutes=minutes))
    assert ("--max-minutes 0" in capsys.readouterr().err) is is_said


@pytest.mark.parametrize(("words", "says"), [
    (["--accelerator", "p100"], "ACCELERATOR=p100"),
    (["--preset", "tup"], "Did you mean tpu"),
    (["--epoch", "60"], "Did you mean epochs"),
    (["--epochs", "many"], "--epochs many"),
    (["--generator-levels", "16"], "--generator-levels 16"),
    (["--accelerator", "gpu", "--data", "data/monets"], "no such folder"),
    (["--out", "here"], "--out: "),
    (["--resume=false"], "--resume: "),
    (["--config", "nowhere.json"], "nowhere.json"),
    (["--smoke", "--resume-last"], "SMOKE=1 with RESUME=1"),
])
def test_invalid_settings_are_refused_before_anything_is_written(checkout, words, says):
    with pytest.raises(UserError, match=re.escape(says)):
        bundled(checkout, *words)
    assert not (checkout / "kernel").exists()


def test_command_line_prints_errors_in_a_sentence():
    run = subprocess.run([sys.executable, "tools/bundle.py", "--preset", "nothing"], cwd=ROOT, capture_output=True,
                         text=True)
    assert run.returncode == 2 and run.stderr.startswith("error: --preset nothing: ")


# What was left out.


@pytest.fixture
def kaggle(tmp_path, monkeypatch) -> Path:
    """Kaggle's folders, with a dataset of two arrays and no competition."""
    for name in ("working", "input/arrays"):
        (tmp_path / name).mkdir(parents=True)
    for side in ("monet", "photo"):
        np.save(tmp_path / "input/arrays" / f"{side}.npy", np.zeros((2, 64, 64, 3), np.uint8))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("MONET_KAGGLE_WORKING", str(tmp_path / "working"))
    return tmp_path


@pytest.mark.parametrize(("options", "edited", "name"), [
    ("--preset tutorial", {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0}, "Cut"),
    ("--preset residual-unet", {"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0, "cycle_loss": "l1"},
     "Cut"),
    ("--preset cut", {"system": "cyclegan"}, "CycleGan"),
    ("--preset paper --epochs=3", {"select_by": "mifid"}, "Selection"),
    ("--select-by=last", {"select_by": "best"}, "BestJudge"),
    ("--select-by=mifid", {"select_by": "best"}, "colour_profile"),
    ("", {"generator": "resnet"}, "resnet_generator"),
    ("--preset gpu", {"generator": "unet", "discriminator": "strided", "discriminator_levels": 4}, "unet_generator"),
    ("", {"discriminator": "strided"}, "strided_discriminator"),
    ("", {"upsample": "nearest"}, "repeat_pixels"),
    ("", {"norm": "batch"}, "batch_norm"),
    ("", {"adversarial_loss": "hinge"}, "hinge_generator"),
    ("", {"discriminator_loss": "lsgan"}, "lsgan_generator"),
    ("--preset tutorial", {"cycle_loss": "l2"}, "mean_squared"),
    ("", {"image_pool": 50}, "ImagePool"),
    ("--preset tutorial", {"space_to_depth": "on"}, "TiledConv2D"),
    ("", {"precision": "float16"}, "LossScale"),
    ("--diffaugment=color", {"diffaugment": "color, cutout"}, "cut_out"),
    ("", {"data": "tfds:cycle_gan/monet2photo"}, "find_tfds"),
    ("", {"data": "ARRAYS"}, "list_array_rows"),
    ("--data tfds:cycle_gan/monet2photo", {"data": "ARRAYS"}, "list_array_rows"),
])
def test_choosing_what_was_left_out_gives_the_command_that_includes_it(checkout, kaggle, capsys, options, edited, name):
    tiny = [f"--{filters}=4" for filters in ("generator-filters", "discriminator-filters")]
    words = ["--accelerator", "none", *tiny, *options.split()]
    space = runpy.run_path(str(bundle(words, checkout)))
    assert name not in space
    space["SETTINGS"] |= {setting: str(kaggle / "input/arrays") if value == "ARRAYS" else value
                          for setting, value in edited.items()}
    capsys.readouterr()
    assert space["run_on_kaggle"](space["SETTINGS"], "") == 2
    said = capsys.readouterr().err
    [arguments] = re.findall(r'make kernel ARGS="(.*)"', said)
    assert arguments.startswith(shlex.join(words)), said
    text = bundled(checkout, *shlex.split(arguments.replace(str(kaggle), "/kaggle")))
    assert settings_of(text) == {**space["SETTINGS"], "data": space["SETTINGS"]["data"].replace(str(kaggle), "/kaggle")}
    assert re.search(rf"^(def|class) {name}\b", text, re.MULTILINE)


def test_a_registry_that_the_settings_do_not_decide_stays_whole():
    """That is safe. But each one needs a line in CHOSEN, for bundles to be short."""
    whole = {name for name, calls in look_ups(SOURCES).items() if chosen_keys(name, calls, make_config()) is None}
    assert whole <= {"PRESETS"}  # of the command line


# What cannot be bundled.


def package(folder: Path, **modules: str) -> dict:
    """The modules of a package that consists of these texts."""
    for name, text in {"kaggle_run": "", **modules}.items():
        (folder / f"{name}.py").write_text(text)
    return read_modules(folder)


LOW = """
A = 1
B = A
# about C
C = 3
@B
def f():
    return g
def g():
    pass
print(D)
D = 4
"""
RUN_AND_STOP = """
from monet.low import B, C
def run():
    B()
def stop():
    C()
"""


def test_what_no_name_leads_to_is_dropped(tmp_path):
    """With the comment above it. What a module does when it is imported stays, with what that needs."""
    modules = package(tmp_path, __init__="from monet.low import A\nprint(A)\n", low=LOW, kaggle_run=RUN_AND_STOP,
                      other="def h():\n    pass\n")
    assert {name: module.text.split("\n") for name, module in reachable(modules, "run()").items()} == {
        "__init__": ["from monet.low import A", "print(A)", ""],
        "low": ["", "A = 1", "B = A", "print(D)", "D = 4", ""],
        "kaggle_run": ["", "from monet.low import B, C", "def run():", "    B()", ""]}


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
])
def test_modules_that_cannot_share_a_file_are_refused_by_line(tmp_path, modules, says):
    with pytest.raises(UserError) as refusal:
        check_names(package(tmp_path, **modules))
    for part in re.split(r" and by |, ", says):
        assert part in str(refusal.value)


def test_a_module_that_is_not_python_is_refused_by_line(tmp_path):
    with pytest.raises(UserError, match="src/monet/low.py:2"):
        package(tmp_path, low="a = 1\nb = = 2\n")


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_src_is_refused(checkout, there):
    shutil.rmtree(checkout / "src")
    if there:
        (checkout / "src/monet").mkdir(parents=True)
    with pytest.raises(UserError, match="kaggle_run.py"):
        bundled(checkout)


def test_the_module_that_prepares_the_machine_may_import_the_standard_library_only(checkout):
    path = checkout / "src/monet/core/errors.py"
    path.write_text(path.read_text() + "\nimport numpy\n")
    with pytest.raises(UserError, match="core/errors.py:"):
        bundled(checkout)



def ordered(tmp_path, **modules: str) -> list[str]:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/tpu_environment.py").write_text("")
    (tmp_path / "__init__.py").write_text("")
    return [module.name for _, contents in in_reading_order(package(tmp_path, **modules)) for module in contents]


def test_modules_come_after_what_they_use_when_they_are_run(tmp_path):
    order = ordered(tmp_path, a="from monet.b import x\nfrom monet.c import z\n\n\ndef f(y: x):\n    return z\n",
                    b="x = 1\n", c="z = 1\n", kaggle_run="from monet.a import f\n\n\ndef g():\n    f()\n")
    assert order == ["b", "a", "c", "kaggle_run"]


def test_modules_that_need_each_other_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"a, b"):
        ordered(tmp_path, a="from monet.b import y\nx = y\n", b="from monet.a import x\ny = x\n")


def test_bundle_too_large_for_kaggle_is_refused(checkout):
    with (checkout / "src/monet/gan/losses.py").open("a") as file:
        file.write("# much\n" * 120_000)
    with pytest.raises(UserError, match=r"1,\d\d\d,\d\d\d bytes"):
        bundled(checkout)


def test_nothing_of_this_machine_gets_in(checkout, tmp_path):
    """Secrets planted in the environment, in the home and in the checkout, bundled in a separate process."""
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
    """images.zip of a run of the package with the bundle's settings, in its own process: once TensorFlow has computed,
    an operation keeps its number of threads, on which the last bits depend."""
    out = tmp_path_factory.mktemp("package")
    config = {**PRESETS["cpu"], **TINY_RUN, "preset": "cpu", "accelerator": "cpu", "data": small_root, "out": str(out)}
    del config["minutes"]  # TINY_RUN counts epochs
    options = [f"--{name.replace('_', '-')}={value}" for name, value in config.items()]
    subprocess.run([sys.executable, "-m", "monet", "run", *options], capture_output=True, timeout=300, check=True)
    return (out / "images.zip").read_bytes()


def run_alone(command: list[str], small_root: str, tmp_path: Path, mount: str):
    """Runs the bundle in a mock of Kaggle's tree; returns the finished process and its working folder."""
    data, working = tmp_path / "input" / mount, tmp_path / "working"
    data.parent.mkdir(parents=True)
    data.symlink_to(small_root)
    working.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MONET_KAGGLE_INPUT": str(tmp_path / "input"),
                   "MONET_KAGGLE_WORKING": str(working)}
    run = subprocess.run(command, cwd=tmp_path / "alone", env=environment, capture_output=True, text=True, timeout=300)
    return run, working


@pytest.mark.lengthy
@pytest.mark.keras_2
def test_script_alone_does_the_same_as_the_package(checkout, small_root, tmp_path, package_zip):
    (tmp_path / "alone").mkdir()
    shutil.move(bundle([*TINY_OPTIONS], checkout), tmp_path / "alone")
    mount = "competitions/gan-getting-started"
    run, working = run_alone([sys.executable, "-I", "monet_cyclegan.py"], small_root, tmp_path, mount)
    assert run.returncode == 0, run.stderr
    assert (working / "images.zip").read_bytes() == package_zip
    left = sorted(str(path.relative_to(working)) for path in working.rglob("*") if path.is_file())
    assert left == ["checkpoints/step-00000006.npz", "config.json", "history.csv", "images.zip", "photo_to_monet.npz",
                    "preview.jpg", "previews/step-00000000.jpg", "previews/step-00000006.jpg", "report.html",
                    "report.json", "run.log"]
    assert f"below {tmp_path}/input/{mount}" in run.stderr


@pytest.mark.lengthy
def test_script_for_a_tpu_runs_alone(checkout, small_root, tmp_path):
    """With the TPU's settings and code, tiny and on the CPU."""
    tiny = {"generator_filters": 4, "discriminator_filters": 4, "image_size": 64, "jitter": 72, "batch_size": 2,
            "epochs": 2, "steps_per_epoch": 4, "steps_per_call": 2, "num_images": 20, "precision": "bfloat16",
            "space_to_depth": "on", "max_minutes": 20.0}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in tiny.items()]
    path = bundle(["--accelerator", "tpu", *options], checkout)
    (tmp_path / "alone").mkdir()
    text = path.read_text().replace('"accelerator": "tpu"', '"accelerator": "cpu"')
    (tmp_path / "alone" / path.name).write_text(text)
    run, working = run_alone([sys.executable, "-I", path.name], small_root, tmp_path, "gan-getting-started")
    assert run.returncode == 0, run.stderr
    assert "from step 0 to 8" in run.stderr and "bfloat16" in run.stderr
    assert len(zipfile.ZipFile(working / "images.zip").namelist()) == 20


# Runs the cells of a notebook in one namespace without a file, as Jupyter does, with a stand-in for IPython's display.
RUNNER = """
import json, sys, types
display = types.ModuleType("IPython.display")
display.Image = lambda path, **options: print("picture", open(path, "rb").read(2).hex())
display.HTML = print
sys.modules.update({"IPython": types.ModuleType("IPython"), "IPython.display": display})
sys.modules["IPython"].display = display
space = {"__name__": "__main__"}
for cell in json.load(open(sys.argv.pop(1)))["cells"]:
    if cell["cell_type"] == "code":
        exec(compile(cell["source"], "<cell>", "exec"), space)
"""


@pytest.mark.lengthy
def test_notebook_alone_does_the_same_and_shows_the_results(checkout, small_root, tmp_path, package_zip):
    (tmp_path / "alone").mkdir()
    path = shutil.move(bundle([*TINY_OPTIONS, "--notebook"], checkout), tmp_path / "alone")
    command = [sys.executable, "-I", "-c", RUNNER, str(path)]
    run, working = run_alone(command, small_root, tmp_path, "gan-getting-started")
    assert run.returncode == 0, run.stderr
    assert (working / "images.zip").read_bytes() == package_zip
    picture, curves, problems = run.stdout.splitlines()
    assert picture == "picture ffd8"
    assert "<svg" in curves and curves.count("<polyline") >= 2 * 4 and ">monet_discriminator" in curves  # four losses
    assert "r_t" in curves
    assert "20" in problems and "7,000" in problems  # pictures, of which Kaggle wants more


def test_bundle_for_a_tpu_stops_at_once_without_one(checkout, tmp_path):
    (tmp_path / "alone").mkdir()
    (tmp_path / "nothing").mkdir()
    shutil.move(bundle(["--accelerator", "tpu"], checkout), tmp_path / "alone")
    run, _ = run_alone([sys.executable, "-I", "monet_cyclegan.py"], str(tmp_path / "nothing"), tmp_path, "other")
    assert run.returncode == 2
    assert run.stderr.startswith("error: This machine has no TPU.") and "ACCELERATOR=gpu" in run.stderr
