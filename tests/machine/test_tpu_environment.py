"""The TPU's environment: found out when it is needed, built from wheels without a network, entered once, in time."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import zipfile
from pathlib import Path

import pytest
from bundle import ROOT, bundle
from support.kaggle_stand_in import dead_port
from support.settings import TINY

from monet.core.errors import UserError
from monet.kaggle_run import KERNEL_DECIDES
from monet.machine.kaggle_machine import TPU_VARIABLES
from monet.machine.tpu_environment import (
    LEGACY_KERAS,
    PROBE,
    TPU_PACKAGES,
    can_use_tpu,
    find_wheels,
    prepare_machine,
    refuse_late_start,
    run_within,
    set_tpu_variables,
)

pytestmark = pytest.mark.lengthy

SRC = ROOT / "src"
NAMES = ("TPU_WORKER_HOSTNAMES", "TPU_WORKER_ADDRS", "TPU_SKIP_MDS_QUERY", "TF_USE_LEGACY_KERAS", "MONET_STARTED",
         "MONET_TPU_ENVIRONMENT", *TPU_VARIABLES)
# What the stand-in for tensorflow-tpu has, as far as the probe asks: a TPU that answers.
STAND_IN = """
class Any:
    def __getattr__(self, name):
        return self
    def __call__(self, *arguments, **options):
        return self
    def __len__(self):
        return 8
distribute = config = tpu = keras = Any()
"""
CONTENT = {"tensorflow_tpu": {"tensorflow/__init__.py": STAND_IN}, "libtpu": {"libtpu/__init__.py": ""},
           "pillow": {"PIL/__init__.py": ""}, "tf_keras": {"tf_keras/__init__.py": ""}}


@pytest.fixture(autouse=True)
def clean_variables(monkeypatch):
    """No TPU here, by the environment; what a test sets is gone after it."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what the code sets is undone, too
        monkeypatch.delenv(name)


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str], requires: str = "") -> None:
    """A wheel of pure Python that pip installs."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    content = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
               "Tag: py3-none-any\n", f"{info}/RECORD": ""}
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in content.items():
            wheel.writestr(path, text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """An input folder with a dataset of stand-ins for all wheels, tiny ones; tf-keras asks for the stock TensorFlow."""
    folder = tmp_path_factory.mktemp("input") / "datasets/somebody/wheels"
    folder.mkdir(parents=True)
    for package in (*TPU_PACKAGES, *LEGACY_KERAS):
        name, version = package.replace("-", "_").split("==")
        requires = "Requires-Dist: tensorflow\n" if name == "tf_keras" else ""
        write_wheel(folder, name, version, CONTENT.get(name, {f"{name}/__init__.py": ""}), requires)
    return folder


@pytest.fixture(scope="module")
def kaggle_python(tmp_path_factory) -> str:
    """A Python with pip and without TensorFlow, as Kaggle's image has one."""
    folder = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return str(folder / "bin/python")


@pytest.fixture
def program(tmp_path) -> Path:
    """A file like the bundle: prepares the machine, then says where it runs."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(f"""
        import os, sys
        sys.path.append({str(SRC)!r})
        print("started with", sys.argv[1:], flush=True)
        from monet.machine.tpu_environment import prepare_machine
        if __name__ == "__main__":
            prepare_machine("tpu", globals().get("__file__"))
        import tensorflow
        print("inside", sys.prefix, tensorflow.__file__, os.environ["TF_USE_LEGACY_KERAS"])
        """))
    return path


def run_program(python: str, program: Path, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "ISTPUVM": "1",
                   "MONET_KAGGLE_INPUT": str(tmp_path / "nothing"), **variables}
    return subprocess.run([python, "-I", str(program), "word"], env=environment, capture_output=True, text=True,
                          timeout=170)


def test_environment_is_built_offline_and_entered_once(kaggle_python, program, wheels, tmp_path):
    run = run_program(kaggle_python, program, tmp_path, MONET_KAGGLE_INPUT=str(wheels.parents[2]),
                      PIP_INDEX_URL=f"http://127.0.0.1:{dead_port()}/")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("started with ['word']\n") == 2
    inside = run.stdout.splitlines()[-1].split()
    assert inside[1] == f"{tmp_path}/monet-tpu" and inside[2].startswith(inside[1]) and inside[3] == "1"
    assert "8 TPU cores answer" in run.stderr and f"from {wheels}" in run.stderr


def test_what_the_image_adds_to_pythons_path_does_not_count_as_installed(kaggle_python, program, wheels, tmp_path):
    for name in ("tqdm", "scipy"):
        version = next(package.split("==")[1] for package in TPU_PACKAGES if package.startswith(name))
        install(tmp_path / "lib", f"{name}=={version}")
    run = run_program(kaggle_python, program, tmp_path, MONET_KAGGLE_INPUT=str(wheels.parents[2]),
                      PYTHONPATH=str(tmp_path / "lib"))
    assert run.returncode == 0 and "inside" in run.stdout, run.stderr


def test_notebook_goes_on_inside_without_a_file(kaggle_python, program, wheels, tmp_path):
    """And counts its time anew where its cells are run a second time."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "ISTPUVM": "1",
                   "MONET_KAGGLE_INPUT": str(wheels.parents[2])}
    again = "began = float(os.environ['MONET_STARTED'])\nprepare_machine('tpu', None)\n"
    later = "print('time counts anew:', float(os.environ['MONET_STARTED']) > began)\n"
    run = subprocess.run([kaggle_python, "-I", "-c", program.read_text() + again + later], env=environment,
                         capture_output=True, text=True, timeout=170)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("started with") == 1
    assert f"{tmp_path}/monet-tpu/lib" in run.stdout
    assert run.stderr.count("Building an environment") == 1 and "time counts anew: True" in run.stdout


def test_without_network_and_wheels_it_stops_and_says_what_to_do(kaggle_python, program, tmp_path):
    started = time.monotonic()
    run = run_program(kaggle_python, program, tmp_path, PIP_INDEX_URL=f"http://127.0.0.1:{dead_port()}/",
                      PIP_CONFIG_FILE=os.devnull)
    assert run.returncode == 2 and run.stdout.count("started") == 1 and "Traceback" not in run.stderr
    for word in ("error: Building an environment for the TPU failed", "enable_internet", "make tpu-wheels",
                 "make kernel-push ACCELERATOR=gpu"):
        assert word in run.stderr
    assert time.monotonic() - started < 120


def test_environment_that_cannot_use_the_tpu_either_is_not_built_again(monkeypatch, capsys):
    monkeypatch.setenv("ISTPUVM", "1")
    monkeypatch.setenv("MONET_TPU_ENVIRONMENT", "/somewhere")
    with pytest.raises(SystemExit) as end:
        prepare_machine("tpu", __file__)
    assert end.value.code == 2
    assert "Not even the environment" in capsys.readouterr().err


@pytest.mark.parametrize(("instead", "seconds", "says"), [
    ("print('waiting', flush=True); import time; time.sleep(100)", 20, "Starting the TPU took longer than"),
    ("raise OSError('No TPU platform found')", 120, "Starting the TPU failed (OSError: No TPU platform found)"),
])
def test_tpu_that_does_not_answer_ends_it_in_time(kaggle_python, program, wheels, tmp_path, instead, seconds, says):
    """The whole way to the TPU's start, which hangs, as where it waits for a metadata server, or fails."""
    shutil.copytree(wheels, tmp_path / "input/wheels")
    write_wheel(tmp_path / "input/wheels", "tensorflow_tpu", "2.19.1", {"tensorflow/__init__.py": instead})
    program.write_text(program.read_text().replace("import prepare_machine", "import prepare_machine\n"
                       f"from monet.machine import tpu_environment\ntpu_environment.PREPARE_SECONDS = {seconds}"))
    started = time.monotonic()
    run = run_program(kaggle_python, program, tmp_path, MONET_KAGGLE_INPUT=str(tmp_path / "input"))
    assert time.monotonic() - started < seconds + 10
    assert run.returncode == 2 and run.stdout.count("started") == 1 and "Traceback" not in run.stderr
    assert f"error: {says}" in run.stderr and "ACCELERATOR=gpu" in run.stderr


def test_step_that_hangs_is_ended_with_its_children(tmp_path):
    """As pip --python is: it runs itself again as a child, which holds the output open."""
    child = tmp_path / "child.py"
    child.write_text("import time\nopen('alive', 'w').close()\ntime.sleep(5)\nopen('still alive', 'w').close()\n")
    started = time.monotonic()
    parent = (f"import os, subprocess, sys; os.chdir({str(tmp_path)!r}); print('went on', flush=True); "
              f"subprocess.run([sys.executable, {str(child)!r}])")
    assert run_within([sys.executable, "-c", parent], 4) == (None, "went on")
    assert time.monotonic() - started < 8
    time.sleep(started + 10 - time.monotonic())
    assert (tmp_path / "alive").exists() and not (tmp_path / "still alive").exists()


def test_reason_is_the_line_that_says_error():
    code = "print('start'); print('ERROR: no such wheel'); print('at the end'); raise SystemExit(3)"
    assert run_within([sys.executable, "-c", code], 20) == (3, "ERROR: no such wheel")


@pytest.mark.parametrize("accelerator", ["gpu", "cpu", "auto"])
def test_nothing_is_done_for_a_run_without_a_tpu(accelerator):
    assert prepare_machine(accelerator, __file__) is None
    assert float(os.environ["MONET_STARTED"]) <= time.monotonic()


def test_missing_tpu_is_an_error_at_once(capsys):
    with pytest.raises(SystemExit):
        prepare_machine("tpu", __file__)
    assert "This machine has no TPU" in capsys.readouterr().err


def test_start_is_counted_from_before_the_restart(monkeypatch):
    monkeypatch.setenv("MONET_STARTED", "12.5")
    prepare_machine("cpu", __file__)
    assert os.environ["MONET_STARTED"] != "12.5"  # cells that are run again
    monkeypatch.setenv("MONET_STARTED", "12.5")
    monkeypatch.setenv("MONET_TPU_ENVIRONMENT", "/somewhere")
    prepare_machine("cpu", __file__)
    assert os.environ["MONET_STARTED"] == "12.5"


def install(folder: Path, *packages: str) -> None:
    """Plants what pip leaves of packages."""
    for package in packages:
        name, version = package.split("==")
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(("packages", "can"), [
    (["tensorflow-cpu==2.20.0", "libtpu==0.0.17"], False),  # Kaggle's TPU image
    (["tensorflow==2.20.0"], False),
    (["tensorflow-tpu==2.19.1", "libtpu==0.0.10"], True),
    (["tensorflow-tpu==2.19.1"], False),
    (["tensorflow-tpu==2.19.1", "libtpu==0.0.10", "tensorflow==2.19.1"], False),  # what tf-keras's dependencies do
])
def test_only_an_intact_tensorflow_tpu_can_use_a_tpu(monkeypatch, tmp_path, packages, can):
    install(tmp_path, *packages)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    assert can_use_tpu() is can


def test_stock_tensorflow_in_another_folder_does_no_harm(monkeypatch, tmp_path):
    """In a notebook the environment's folder stands before the image's."""
    install(tmp_path / "environment", "tensorflow-tpu==2.19.1", "libtpu==0.0.10")
    install(tmp_path / "image", "tensorflow-cpu==2.20.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "environment"), str(tmp_path / "image")])
    assert can_use_tpu()


def test_image_that_can_use_its_tpu_is_used_as_it_is(monkeypatch, tmp_path):
    install(tmp_path, "tensorflow-tpu==2.19.1", "libtpu==0.0.10")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    assert prepare_machine("auto", __file__) is None
    assert "MONET_TPU_ENVIRONMENT" not in os.environ


def test_warning_in_place_of_a_host_name_is_dropped(monkeypatch, capsys):
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "WARNING: could not determine TPU worker hostnames or IP addresses")
    monkeypatch.setenv("TPU_WORKER_ADDRS", "10.0.0.1")
    set_tpu_variables(8)
    assert os.environ["TPU_WORKER_HOSTNAMES"] == "localhost" and os.environ["TPU_WORKER_ADDRS"] == "10.0.0.1"
    assert "Dropping TPU_WORKER_HOSTNAMES" in capsys.readouterr().err


@pytest.mark.parametrize(("chips", "given", "type_", "skip"), [
    (8, None, "v5litepod-8", "1"), (8, "v6e-8", "v6e-8", "1"), (0, "v5litepod-8", "v5litepod-8", "1"),
    (0, None, None, None), (3, None, None, None)])
def test_metadata_server_is_asked_only_where_nothing_else_says_the_type(monkeypatch, chips, given, type_, skip):
    if given:
        monkeypatch.setenv("TPU_ACCELERATOR_TYPE", given)
    set_tpu_variables(chips)
    assert (os.environ.get("TPU_ACCELERATOR_TYPE"), os.environ.get("TPU_SKIP_MDS_QUERY")) == (type_, skip)


def test_environment_comes_too_late_for_a_process_that_imported_numpy(monkeypatch, tmp_path, capsys):
    """Which is found out before anything is built."""
    import numpy

    assert numpy
    with pytest.raises(UserError, match="numpy.* was imported before .* Restart the session"):
        refuse_late_start()
    monkeypatch.setenv("ISTPUVM", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(SystemExit):
        prepare_machine("tpu", None)
    assert "Restart the session" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_wheels_are_found_wherever_they_are_mounted(monkeypatch, wheels, tmp_path):
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(wheels.parents[2]))
    assert find_wheels() == str(wheels)
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path))
    assert find_wheels() is None


def gather_wheels(kaggle_python: str, tmp_path: Path, find_links: Path) -> subprocess.CompletedProcess:
    """tools/tpu_wheels.py in a Python with pip, which finds nothing but what lies in `find_links`."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KAGGLE_USERNAME": "someone", "PIP_NO_INDEX": "1",
                   "PIP_FIND_LINKS": str(find_links), "PIP_CONFIG_FILE": os.devnull,
                   "PYTHONPATH": f"{SRC}:{sysconfig.get_path('purelib')}"}
    return subprocess.run([kaggle_python, str(ROOT / "tools/tpu_wheels.py"), str(tmp_path / "gathered")],
                          env=environment, capture_output=True, text=True, timeout=170)


def test_wheels_are_gathered_as_a_dataset_that_the_kernel_finds(kaggle_python, wheels, tmp_path, monkeypatch):
    run = gather_wheels(kaggle_python, tmp_path, wheels)
    assert run.returncode == 0, run.stderr
    gathered = {path.name for path in (tmp_path / "gathered").iterdir()}
    assert gathered == {"dataset-metadata.json", *(path.name for path in wheels.iterdir())}
    assert json.loads((tmp_path / "gathered/dataset-metadata.json").read_text())["id"] == "someone/monet-tpu-wheels"
    for words in ("kaggle datasets create -p", '"someone/monet-tpu-wheels"', "enable_internet to false"):
        assert words in run.stderr
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path))
    assert find_wheels() == str(tmp_path / "gathered")


def test_wheels_that_cannot_be_had_are_an_error(kaggle_python, tmp_path):
    run = gather_wheels(kaggle_python, tmp_path, tmp_path)
    assert run.returncode == 2 and "error: pip could not download the wheels" in run.stderr
    assert not (tmp_path / "gathered/dataset-metadata.json").exists()


@pytest.mark.skipif("MONET_SLOW" not in os.environ or sys.version_info[:2] != (3, 12),
                    reason="installs 1.9 GB in minutes: MONET_SLOW=1 asks for it, on Python 3.12")
def test_real_environment_imports_and_trains_on_its_cpu(kaggle_python, small_root, tmp_path):
    """From the package index that pip is configured with, or from the wheels in the folder that MONET_SLOW names."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "src").symlink_to(ROOT / "src")
    (root / "kernel-metadata.json").write_text((ROOT / "kernel-metadata.json").read_text())
    settings = {name: value for name, value in TINY.items() if name not in KERNEL_DECIDES}
    path = bundle(["--accelerator", "none", "--num-images", "20",
                   *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items())], root)
    environment, wheel_folder = tmp_path / "environment", os.environ["MONET_SLOW"]
    build = (f"import sys; sys.path.append({str(SRC)!r}); from monet.machine import tpu_environment as t; import os, time; "
             f"os.environ[t.STARTED] = repr(time.monotonic() + 600); t.build_environment({str(environment)!r}, "
             f"{wheel_folder if os.path.isdir(wheel_folder) else None!r})")
    subprocess.run([kaggle_python, "-c", build], check=True, timeout=900)
    (tmp_path / "input").mkdir()
    (tmp_path / "working").mkdir()
    (tmp_path / "input/gan-getting-started").symlink_to(small_root)
    set_tpu_variables(8)
    variables = {name: os.environ[name] for name in ("PATH", *NAMES) if name in os.environ} | {
        "HOME": str(tmp_path), "MONET_KAGGLE_INPUT": str(tmp_path / "input"), "TF_USE_LEGACY_KERAS": "1",
        "MONET_KAGGLE_WORKING": str(tmp_path / "working")}

    def run(*words):
        return subprocess.run([str(environment / "bin/python"), "-I", *words], env=variables, capture_output=True,
                              text=True, timeout=600)

    trained = run(str(path))
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "working/images.zip").exists()
    versions = run("-c", "import tensorflow as tf; from tensorflow import keras; print(tf.__version__, keras.Model)")
    assert versions.stdout.startswith("2.19.1 <class 'tf_keras."), versions.stderr
    started = time.monotonic()
    probe = run("-c", PROBE)  # imports all that a run needs, and finds no TPU here
    assert probe.returncode == 1 and "ConfigureDistributedTPU" not in probe.stderr
    assert "initialize_tpu_system" in probe.stderr and time.monotonic() - started < 60
