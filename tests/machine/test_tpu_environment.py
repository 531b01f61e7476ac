"""monet.machine.tpu_environment: when an environment is needed, how it is built offline, and how setup can fail."""

import contextlib
import json
import os
import re
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
from uv import find_uv_bin

from monet.core.errors import UserError
from monet.kaggle_run import KERNEL_DECIDES
from monet.machine import tpu_environment
from monet.machine.kaggle_machine import TPU_VARIABLES
from monet.machine.tpu_environment import (
    LEGACY_KERAS,
    PROBE,
    PROBE_STEP,
    TPU_PACKAGES,
    can_use_tpu,
    check_notebook,
    creation_command,
    find_wheels,
    pjrt_variables,
    prepare_machine,
    run_setup_step,
    run_with_timeout,
    set_tpu_variables,
    site_packages,
)

pytestmark = pytest.mark.lengthy

SRC = ROOT / "src"
PJRT = ("NEXT_PLUGGABLE_DEVICE_USE_C_API", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH", "PJRT_DEVICE")
NAMES = ("TPU_WORKER_HOSTNAMES", "TPU_WORKER_ADDRS", "TPU_SKIP_MDS_QUERY", "TF_USE_LEGACY_KERAS", "MONET_STARTED",
         "MONET_TPU_ENVIRONMENT", *PJRT, *TPU_VARIABLES)
# The part of tensorflow-tpu that the probe uses, with a TPU that answers.
FAKE_TENSORFLOW = """
class Any:
    def __getattr__(self, name):
        return self
    def __call__(self, *arguments, **options):
        return self
    def __len__(self):
        return 8
    def __enter__(self):
        return self
    def __exit__(self, *error):
        pass
distribute = config = tpu = keras = Variable = ones = function = Any()
"""
CONTENT = {"tensorflow_tpu": {"tensorflow/__init__.py": FAKE_TENSORFLOW}, "libtpu": {"libtpu/__init__.py": ""},
           "pillow": {"PIL/__init__.py": ""}, "tf_keras": {"tf_keras/__init__.py": ""}}


@pytest.fixture(autouse=True)
def clean_variables(monkeypatch):
    """Unsets all variables before and after a test, so that the environment shows no TPU."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # makes monkeypatch restore what the code sets
        monkeypatch.delenv(name)


def write_wheel(folder: Path, name: str, version: str, files: dict[str, str], requires: str = "") -> None:
    """Writes a pure Python wheel that pip can install."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    content = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
               "Tag: py3-none-any\n", f"{info}/RECORD": ""}
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in content.items():
            wheel.writestr(path, text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A dataset in an input folder, with a tiny fake of every wheel; tf-keras requires the stock TensorFlow."""
    folder = tmp_path_factory.mktemp("input") / "datasets/somebody/wheels"
    folder.mkdir(parents=True)
    for package in (*TPU_PACKAGES, *LEGACY_KERAS):
        name, version = package.replace("-", "_").split("==")
        requires = "Requires-Dist: tensorflow\n" if name == "tf_keras" else ""
        write_wheel(folder, name, version, CONTENT.get(name, {f"{name}/__init__.py": ""}), requires)
    return folder


@pytest.fixture(scope="module")
def kaggle_python(tmp_path_factory) -> str:
    """A Python with pip and without TensorFlow, like that of Kaggle's image."""
    folder = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return str(folder / "bin/python")


@pytest.fixture
def program(tmp_path) -> Path:
    """A script like the bundle: prepares the machine, then prints where it runs."""
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(f"""
        import os, sys
        sys.path.append({str(SRC)!r})
        print("started with", sys.argv[1:], flush=True)
        from monet.machine.tpu_environment import prepare_machine
        if __name__ == "__main__":
            prepare_machine("tpu", "tensorflow", globals().get("__file__"))
        import tensorflow
        print("variables", os.environ.get("TF_PLUGGABLE_DEVICE_LIBRARY_PATH"))
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
    assert "8 TPU cores answer" in run.stderr and "libtpu 0.0.10" in run.stderr and f"from {wheels}" in run.stderr
    assert f"variables {tmp_path}/monet-tpu/lib" in run.stdout and "libtpu/libtpu.so" in run.stdout


# Fakes of tensorflow-tpu: a machine whose TPU answers only without PJRT, and one whose TPU does not answer at all.
ONLY_WITHOUT_PJRT = f"""
import os
if "PJRT_DEVICE" in os.environ:
    raise RuntimeError("No device found")
{FAKE_TENSORFLOW}"""
NO_TPU = "for line in range(50): print('driver line', line)\nraise OSError('No TPU platform found')\n"


def wheels_with(wheels: Path, folder: Path, tensorflow: str) -> Path:
    """Copies the fake wheels to `folder`, with another tensorflow-tpu."""
    shutil.copytree(wheels, folder / "wheels")
    write_wheel(folder / "wheels", "tensorflow_tpu", "2.19.1", {"tensorflow/__init__.py": tensorflow})
    return folder


def test_tpu_that_answers_only_without_pjrt_is_used_without_it(kaggle_python, program, wheels, tmp_path):
    folder = wheels_with(wheels, tmp_path / "input", ONLY_WITHOUT_PJRT)
    run = run_program(kaggle_python, program, tmp_path, MONET_KAGGLE_INPUT=str(folder))
    assert run.returncode == 0 and "variables None" in run.stdout, run.stderr
    assert "RuntimeError: No device found" in run.stderr and "8 TPU cores answer" in run.stderr


def test_packages_on_pythonpath_do_not_count_as_installed(kaggle_python, program, wheels, tmp_path):
    for name in ("tqdm", "scipy"):
        version = next(package.split("==")[1] for package in TPU_PACKAGES if package.startswith(name))
        install(tmp_path / "lib", f"{name}=={version}")
    run = run_program(kaggle_python, program, tmp_path, MONET_KAGGLE_INPUT=str(wheels.parents[2]),
                      PYTHONPATH=str(tmp_path / "lib"))
    assert run.returncode == 0 and "inside" in run.stdout, run.stderr


def test_notebook_continues_in_the_environment_without_a_restart(kaggle_python, program, wheels, tmp_path):
    """When its cells are run a second time, the time limit starts anew."""
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "ISTPUVM": "1",
                   "MONET_KAGGLE_INPUT": str(wheels.parents[2])}
    again = "first = float(os.environ['MONET_STARTED'])\nprepare_machine('tpu', 'tensorflow', None)\n"
    later = "print('time starts anew:', float(os.environ['MONET_STARTED']) > first)\n"
    run = subprocess.run([kaggle_python, "-I", "-c", program.read_text() + again + later], env=environment,
                         capture_output=True, text=True, timeout=170)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("started with") == 1
    assert f"{tmp_path}/monet-tpu/lib" in run.stdout
    assert run.stderr.count("Building an environment") == 1 and "time starts anew: True" in run.stdout


def test_without_network_and_wheels_the_error_says_what_to_do(kaggle_python, program, tmp_path):
    run = run_program(kaggle_python, program, tmp_path, PIP_INDEX_URL=f"http://127.0.0.1:{dead_port()}/",
                      PIP_CONFIG_FILE=os.devnull)
    assert run.returncode == 2 and run.stdout.count("started") == 1 and "Traceback" not in run.stderr
    for word in ("error: Building an environment for the TPU failed", "enable_internet", "make tpu-wheels",
                 "make kernel-push ACCELERATOR=gpu"):
        assert word in run.stderr


def test_environment_without_tpu_support_is_not_built_again(monkeypatch, capsys):
    monkeypatch.setenv("ISTPUVM", "1")
    monkeypatch.setenv("MONET_TPU_ENVIRONMENT", "/somewhere")
    with pytest.raises(SystemExit) as end:
        prepare_machine("tpu", "tensorflow", __file__)
    assert end.value.code == 2
    assert "even in the environment" in capsys.readouterr().err


LESS_PATIENCE = "from monet.machine import tpu_environment; tpu_environment.PROBE_SECONDS = 2\n"


@pytest.mark.parametrize(("tensorflow", "problem"), [
    ("import time; print('asking', flush=True); time.sleep(600)", "Starting the TPU took longer than 2 s (asking)"),
    (NO_TPU, "Starting the TPU failed (OSError: No TPU platform found)"),
], ids=["hangs", "fails"])
def test_tpu_that_hangs_or_fails_at_its_start_ends_the_kernel(kaggle_python, program, wheels, tmp_path, tensorflow,
                                                              problem):
    """After a real build. A TPU hangs, for example, while it waits for a metadata server. Both ways are tried."""
    folder = wheels_with(wheels, tmp_path / "input", tensorflow)
    program.write_text(program.read_text().replace("if __name__", f"{LESS_PATIENCE}\nif __name__"))
    run = run_program(kaggle_python, program, tmp_path, MONET_KAGGLE_INPUT=str(folder))
    assert run.returncode == 2 and run.stdout.count("started") == 1
    assert f"error: {problem}" in run.stderr and run.stderr.count(problem) == 2 and "ACCELERATOR=gpu" in run.stderr
    if tensorflow is NO_TPU:  # what the driver said, and not more than the last lines
        assert run.stderr.count("driver line 49") == 2 and "driver line 9\n" not in run.stderr


def test_probes_step_computes_on_all_devices():
    """Here on the CPU. The mean of 4 channels over 16x16 pixels changes by their share of the pixels a tap sees."""
    import tensorflow as tf

    names = {"tf": tf, "strategy": tf.distribute.MirroredStrategy(["CPU:0"])}
    exec(PROBE_STEP, names)
    assert names["total"].shape == (3, 3, 3, 4)
    assert float(names["total"][1, 1, 0, 0]) == 0.25 and float(names["total"][0, 0, 0, 0]) == 0.25 * (15 / 16) ** 2


def test_command_that_hangs_is_killed_with_its_children(tmp_path):
    """`pip --python` runs itself again as a child. The pipe ends when no process has it open."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = f"echo waiting; sh -c 'echo alive; sleep 30; echo still alive' > {pipe} & wait"
    assert run_with_timeout(["sh", "-c", script], 2) == (None, ["waiting"])
    os.set_blocking(reader, True)
    with open(reader) as lines:
        assert lines.read() == "alive\n"


def test_failed_step_shows_its_last_lines_and_cites_the_error(monkeypatch, capsys):
    monkeypatch.setenv("MONET_STARTED", repr(time.monotonic()))
    code = "print('start'); print('ERROR: no such wheel'); print('end'); raise SystemExit(3)"
    with pytest.raises(UserError, match="ERROR: no such wheel"):
        run_setup_step("Installing", [sys.executable, "-c", code], "Look.")
    assert "start\nERROR: no such wheel\nend\n" in capsys.readouterr().err


def test_python_without_wheels_gets_an_environment_of_an_earlier_one_from_uv(monkeypatch, tmp_path, capsys):
    """This Python takes the part of the last that has wheels."""
    last = sys.version_info[:2]
    monkeypatch.setattr(tpu_environment, "LAST_PYTHON", last)
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    monkeypatch.setenv("PATH", f"{os.path.dirname(find_uv_bin())}:{os.path.dirname(os.path.realpath(sys.executable))}")
    monkeypatch.setenv("UV_OFFLINE", "1")
    subprocess.run(creation_command(str(tmp_path / "environment")), check=True)
    assert "Python 3.99" in capsys.readouterr().err
    assert site_packages(str(tmp_path / "environment")).endswith(f"environment/lib/python{last[0]}.{last[1]}/"
                                                                 "site-packages")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"3\.99.* no uv"):
        creation_command(str(tmp_path / "environment"))


def test_notebook_of_a_python_without_wheels_is_refused(monkeypatch):
    for name in ("numpy", "tensorflow", "keras"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    check_notebook()
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    with pytest.raises(UserError, match="only a script"):
        check_notebook()


@pytest.mark.parametrize("accelerator", ["gpu", "cpu", "auto"])
def test_a_run_without_a_tpu_needs_no_preparation(accelerator):
    assert prepare_machine(accelerator, "tensorflow", __file__) is None
    assert float(os.environ["MONET_STARTED"]) <= time.monotonic()


def test_missing_tpu_is_an_error_at_once(capsys):
    with pytest.raises(SystemExit):
        prepare_machine("tpu", "tensorflow", __file__)
    assert "This machine has no TPU" in capsys.readouterr().err


def test_time_counts_from_before_the_restart(monkeypatch):
    monkeypatch.setenv("MONET_STARTED", "12.5")
    prepare_machine("cpu", "tensorflow", __file__)
    assert os.environ["MONET_STARTED"] != "12.5"  # a notebook's cells were run again
    monkeypatch.setenv("MONET_STARTED", "12.5")
    monkeypatch.setenv("MONET_TPU_ENVIRONMENT", "/somewhere")
    prepare_machine("cpu", "tensorflow", __file__)
    assert os.environ["MONET_STARTED"] == "12.5"


def install(folder: Path, *packages: str) -> None:
    """Writes the metadata that pip leaves of installed packages."""
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
    (["tensorflow-tpu==2.19.1", "libtpu==0.0.10", "tensorflow==2.19.1"], False),  # as tf-keras's dependencies do
])
def test_only_an_intact_tensorflow_tpu_can_use_a_tpu(monkeypatch, tmp_path, packages, can):
    install(tmp_path, *packages)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    assert can_use_tpu() is can


def test_stock_tensorflow_in_another_folder_does_no_harm(monkeypatch, tmp_path):
    """In a notebook, the environment's folder precedes the image's on the path."""
    install(tmp_path / "environment", "tensorflow-tpu==2.19.1", "libtpu==0.0.10")
    install(tmp_path / "image", "tensorflow-cpu==2.20.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "environment"), str(tmp_path / "image")])
    assert can_use_tpu()


def test_image_with_tpu_support_is_used_as_it_is(monkeypatch, tmp_path):
    install(tmp_path, "tensorflow-tpu==2.19.1", "libtpu==0.0.10")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    assert prepare_machine("auto", "tensorflow", __file__) is None
    assert "MONET_TPU_ENVIRONMENT" not in os.environ


def test_warnings_in_place_of_values_are_removed(monkeypatch, capsys):
    for name in ("TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE", "TPU_PROCESS_ADDRESSES", "TPU_TOPOLOGY"):
        monkeypatch.setenv(name, "WARNING: could not determine it")
    monkeypatch.setenv("TPU_WORKER_ADDRS", "10.0.0.1")
    monkeypatch.setenv("TPU_LIBRARY_PATH", "/my libraries/libtpu.so")
    set_tpu_variables(8)
    assert (os.environ["TPU_WORKER_HOSTNAMES"], os.environ["TPU_ACCELERATOR_TYPE"]) == ("localhost", "v5litepod-8")
    assert not {"TPU_PROCESS_ADDRESSES", "TPU_TOPOLOGY"} & set(os.environ)
    assert os.environ["TPU_WORKER_ADDRS"] == "10.0.0.1" and " " in os.environ["TPU_LIBRARY_PATH"]
    assert "TPU_WORKER_HOSTNAMES" in capsys.readouterr().err


@pytest.mark.parametrize(("chips", "given", "type_", "skip"), [
    (8, None, "v5litepod-8", "1"), (8, "v6e-8", "v6e-8", "1"), (0, "v5litepod-8", "v5litepod-8", "1"),
    (0, None, None, None), (3, None, None, None)])
def test_metadata_server_is_skipped_if_the_type_is_known(monkeypatch, chips, given, type_, skip):
    if given:
        monkeypatch.setenv("TPU_ACCELERATOR_TYPE", given)
    set_tpu_variables(chips)
    assert (os.environ.get("TPU_ACCELERATOR_TYPE"), os.environ.get("TPU_SKIP_MDS_QUERY")) == (type_, skip)


def test_notebook_that_already_imported_numpy_is_rejected(monkeypatch, tmp_path, capsys):
    """The check comes before the build."""
    import numpy

    assert numpy
    with pytest.raises(UserError, match="numpy.* imported .* Restart the session"):
        check_notebook()
    monkeypatch.setenv("ISTPUVM", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(SystemExit):
        prepare_machine("tpu", "tensorflow", None)
    assert "Restart the session" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("engine", "packages", "goes_on"), [
    ("auto", ["jax==0.7.2"], True), ("auto", [], False), ("tensorflow", ["jax==0.7.2"], False), ("jax", [], True)])
def test_without_an_environment_jax_may_try_the_tpu(monkeypatch, tmp_path, capsys, engine, packages, goes_on):
    """The environment cannot be built here, because this process has imported NumPy; `jax` never needs one."""
    install(tmp_path / "image", *packages)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "image"),
                                      *(path for path in sys.path if "site-packages" not in path)])
    monkeypatch.setenv("ISTPUVM", "1")
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    with contextlib.nullcontext() if goes_on else pytest.raises(SystemExit):
        prepare_machine("tpu", engine, None)
    said = capsys.readouterr().err
    assert ("JAX" in said) == (goes_on and engine == "auto")
    assert "TF_USE_LEGACY_KERAS" not in os.environ


def test_wheels_are_found_wherever_they_are_mounted(monkeypatch, wheels, tmp_path):
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(wheels.parents[2]))
    assert find_wheels() == str(wheels)
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path))
    assert find_wheels() is None


def gather_wheels(kaggle_python: str, tmp_path: Path, find_links: Path) -> subprocess.CompletedProcess:
    """Runs tools/tpu_wheels.py in a Python with pip, which finds only the wheels in `find_links`."""
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


def test_missing_wheels_are_an_error(kaggle_python, tmp_path):
    run = gather_wheels(kaggle_python, tmp_path, tmp_path)
    assert run.returncode == 2 and "error: pip could not download the wheels" in run.stderr
    assert not (tmp_path / "gathered/dataset-metadata.json").exists()


@pytest.fixture(scope="module")
def real_environment(tmp_path_factory, kaggle_python) -> Path:
    """The TPU's real environment: 1.9 GB, a minute or two. $MONET_SLOW may name a folder of wheels or a built one."""
    given = Path(os.environ["MONET_SLOW"])
    if (given / "bin/python").exists():
        return given
    folder = tmp_path_factory.mktemp("real") / "environment"
    build = (f"import os, sys, time; sys.path.append({str(SRC)!r}); from monet.machine import tpu_environment as t; "
             f"os.environ[t.START_VARIABLE] = repr(time.monotonic()); t.build_environment({str(folder)!r}, "
             f"{str(given) if given.is_dir() else None!r})")
    subprocess.run([kaggle_python, "-c", build], check=True, timeout=900)
    return folder


def run_in(environment: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs the environment's Python with the variables of a machine with 8 chips."""
    set_tpu_variables(8)
    inherited = {name: os.environ[name] for name in ("PATH", *NAMES) if name in os.environ}
    return subprocess.run([str(environment / "bin/python"), "-I", *words], capture_output=True, text=True, timeout=600,
                          env={**inherited, "MONET_TPU_ENVIRONMENT": str(environment), **variables})


SLOW = pytest.mark.skipif("MONET_SLOW" not in os.environ or sys.version_info[:2] != (3, 12),
                          reason="installs 1.9 GB in minutes: MONET_SLOW=1 asks for it, on Python 3.12")


@SLOW
def test_real_environment_imports_and_trains_on_its_cpu(real_environment, small_root, tmp_path):
    """Installs from the package index that pip is configured with."""
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "src").symlink_to(ROOT / "src")
    (root / "kernel-metadata.json").write_text((ROOT / "kernel-metadata.json").read_text())
    settings = {name: value for name, value in TINY.items() if name not in KERNEL_DECIDES}
    path = bundle(["--accelerator", "none", "--num-images", "20",
                   *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items())], root)
    (tmp_path / "input").mkdir()
    (tmp_path / "working").mkdir()
    (tmp_path / "input/gan-getting-started").symlink_to(small_root)
    trained = run_in(real_environment, str(path), HOME=str(tmp_path), MONET_KAGGLE_INPUT=str(tmp_path / "input"),
                     MONET_KAGGLE_WORKING=str(tmp_path / "working"))
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "working/images.zip").exists()
    versions = run_in(real_environment, "-c",
                      "import tensorflow as tf; from tensorflow import keras; print(tf.__version__, keras.Model)")
    assert versions.stdout.startswith("2.19.1 <class 'tf_keras."), versions.stderr


@SLOW
def test_real_environment_asks_the_driver_through_pjrt(real_environment):
    """Without a TPU, the driver itself says that there is none; on the way of older TPUs, TensorFlow fails before."""
    started = time.monotonic()
    pjrt, older = (run_in(real_environment, "-c", PROBE, TF_CPP_MIN_LOG_LEVEL="0", **variables)
                   for variables in (pjrt_variables(str(real_environment)), {}))
    assert pjrt.returncode == older.returncode == 1 and time.monotonic() - started < 90
    assert "PJRT plugin has PJRT API version" in pjrt.stderr
    assert re.search(r"TPU initialization failed: No \w+ device found", pjrt.stderr), pjrt.stderr
    assert "PJRT" not in older.stderr and "device found" not in older.stderr
    assert "ConfigureDistributedTPU" not in pjrt.stderr + older.stderr  # the operations are there
