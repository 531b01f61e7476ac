"""A Python environment that can use Kaggle's TPU, built where the image's TensorFlow cannot. Standard library only.

Kaggle's TPU image ships a TensorFlow without TPU support. The first lines of the kernel therefore build an environment
of their own in a temporary folder and start the same file again inside it, before anything imports TensorFlow.
"""

import glob
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from monet.core.errors import UserError, say
from monet.machine.kaggle_machine import input_folders, tpu_devices, tpu_expected

# The one published pair of a TensorFlow with TPU support and its driver that fit each other.
TPU_PACKAGES = ("tensorflow-tpu==2.19.1", "libtpu==0.0.10", "keras==3.13.2", "numpy==2.1.3", "pillow==12.0.0",
                "scipy==1.16.3", "tqdm==4.67.1")
# Keras 2, which TPUStrategy is used with in the field. Installed last and alone: its dependencies would bring the stock
# TensorFlow, which overwrites tensorflow-tpu's files in the same folder.
LEGACY_KERAS = ("tf-keras==2.19.0",)
TPU_WHEEL = "tensorflow_tpu-2.19.1-*.whl"
PREPARE_SECONDS = 170  # from the start of the kernel to a TPU that answers, or to the error: under 3 minutes
STARTED = "MONET_STARTED"  # variable: time.monotonic() when the kernel began, carried over the restart
RESTARTED = "MONET_TPU_ENVIRONMENT"  # variable: the environment that the kernel was restarted in
CHIPS = {1: "v5litepod-1", 4: "v5litepod-4", 8: "v5litepod-8"}  # what so many device files of a v5e machine are called
INSTEAD = "To train on GPUs instead: make kernel-push ACCELERATOR=gpu."
OFFLINE = ("If the kernel's internet is off, turn it on (enable_internet in kernel-metadata.json) or attach a dataset "
           "of wheels (make tpu-wheels).")
# Run by the environment's Python: imports what the run needs, and starts the TPU.
PROBE = """
import numpy, PIL, scipy, tqdm
import tensorflow as tf
from tensorflow import keras
resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
tf.config.experimental_connect_to_cluster(resolver)
tf.tpu.experimental.initialize_tpu_system(resolver)
print(len(tf.config.list_logical_devices("TPU")), "TPU cores answer")
"""


def can_use_tpu() -> bool:
    """Whether the TensorFlow that would be imported now has TPU support.

    Only the package tensorflow-tpu has it, and only as long as no stock TensorFlow was installed over it.
    """
    folder = distribution_folder("tensorflow-tpu")
    over_it = [name for name in ("tensorflow", "tensorflow-cpu") if distribution_folder(name) == folder]
    return bool(folder and distribution_folder("libtpu") and not over_it)


def distribution_folder(name: str) -> os.PathLike | None:
    """The folder that the installed package `name` lies in, or None."""
    try:
        return importlib.metadata.distribution(name).locate_file("")
    except importlib.metadata.PackageNotFoundError:
        return None


def set_tpu_variables(chips: int) -> None:
    """Sets what a single machine with a TPU needs, so that neither importing TensorFlow nor starting the TPU waits, for
    minutes, for a metadata server that does not answer.

    Args:
        chips: the number of the TPU's device files; says the type where Kaggle does not.
    """
    for name in ("TPU_WORKER_HOSTNAMES", "TPU_WORKER_ADDRS"):
        if " " in os.environ.get(name, "").strip():  # the text of a warning, where the look-up of the name failed
            say(f"Dropping {name}, which holds no host name: {os.environ.pop(name)[:80]}")
    if chips in CHIPS:
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", CHIPS[chips])
    if os.environ.get("TPU_ACCELERATOR_TYPE"):  # else the metadata server is the only one to say it
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")


def find_wheels() -> str | None:
    """The folder below Kaggle's input folder that holds the wheels that `make tpu-wheels` gathered, or None."""
    for folder, *_ in input_folders():
        if glob.glob(os.path.join(glob.escape(folder), TPU_WHEEL)):
            return folder
    return None


def seconds_left() -> float:
    """What is left of `PREPARE_SECONDS`, but at least one second."""
    return max(1.0, float(os.environ[STARTED]) + PREPARE_SECONDS - time.monotonic())


def run_within(command: list[str], seconds: float) -> tuple[int | None, str]:
    """Runs a command for at most `seconds`: (exit status, the line it printed that says most); the status is None if it
    was ended, with all its children, because the time was over."""
    # What these add to Python's path would count as installed in the environment, which itself is run without them.
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()] or ["it printed nothing"]
    errors = [line for line in lines if re.search(r"error", line, re.IGNORECASE)]
    return status, (errors or lines)[-1]


def run_step(what: str, command: list[str], advice: str) -> str:
    """Runs one step of the preparation in the time that is left; returns the last line that it printed.

    Raises:
        UserError: if it fails, or takes too long.
    """
    status, line = run_within(command, seconds_left())
    if status == 0:
        return line
    reason = f"took longer than {PREPARE_SECONDS / 60:.0f} minutes" if status is None else "failed"
    raise UserError(f"{what} {reason} ({line[:300]}). {advice} {INSTEAD}")


def environment_python(folder: str) -> str:
    """The Python of the environment in `folder`."""
    return os.path.join(folder, "bin", "python")


def build_environment(folder: str, wheels: str | None) -> None:
    """Makes a virtual environment in `folder` with `TPU_PACKAGES` and `LEGACY_KERAS`.

    Args:
        folder: where; what is there is removed.
        wheels: folder of wheels to install from without a network, or None for the package index.

    Raises:
        UserError: if it cannot be built in time.
    """
    shutil.rmtree(folder, ignore_errors=True)
    what = "Building an environment for the TPU"
    run_step(what, [sys.executable, "-m", "venv", "--without-pip", folder], "Start the kernel again.")
    pip = [sys.executable, "-m", "pip", "--python", environment_python(folder), "--disable-pip-version-check",
           "--no-input", "--quiet", "install", "--only-binary", ":all:"]
    pip += ["--no-index", "--find-links", wheels] if wheels else ["--timeout", "15", "--retries", "1"]
    run_step(what, [*pip, *TPU_PACKAGES], OFFLINE)
    run_step(what, [*pip, "--no-deps", *LEGACY_KERAS], OFFLINE)


def site_folder(folder: str) -> str:
    """Where the packages of the environment in `folder` lie."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return os.path.join(folder, "lib", version, "site-packages")


def refuse_late_start() -> None:
    """Raises UserError if this process (a notebook's) has imported what is to come from the environment."""
    loaded = sorted({"numpy", "tensorflow", "keras"} & set(sys.modules))
    if loaded:
        raise UserError(f"{', '.join(loaded)} was imported before the environment for the TPU was ready. Restart the "
                        "session and run all cells from the first.")


def restart(script: str, folder: str) -> None:
    """Starts the file `script` again in the environment, in place of this process."""
    python = environment_python(folder)
    os.environ[RESTARTED] = folder
    sys.stderr.flush()
    os.execv(python, [python, "-I", os.path.abspath(script), *sys.argv[1:]])


def enter_environment(script: str | None) -> None:
    """Builds the environment, sees that the TPU answers in it, and goes on inside it: `script` from its beginning, a
    notebook (None) with the next cell.

    Raises:
        UserError: if one of these fails.
    """
    if not script:
        refuse_late_start()
    folder, wheels = os.path.join(tempfile.gettempdir(), "monet-tpu"), find_wheels()
    say(f"This machine has a TPU, and the installed TensorFlow cannot use it. Building an environment with "
        f"{', '.join(TPU_PACKAGES[:2])} in {folder} from {wheels or 'the network'}; it takes a minute or two.")
    build_environment(folder, wheels)
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    say(run_step("Starting the TPU", [environment_python(folder), "-I", "-c", PROBE], "Start the kernel again."))
    if script:
        restart(script, folder)  # from where nothing returns
    sys.path.insert(0, site_folder(folder))


def prepare_machine(accelerator: str, script: str | None) -> None:
    """Gets the machine ready for `accelerator` (the config's), before TensorFlow is imported: for a TPU, sees that
    there is one, and that the TensorFlow in use has support for it; else restarts `script` where that is so, once.

    Args:
        accelerator: auto, tpu, gpu or cpu.
        script: the file of the running program; None in a notebook.

    Raises:
        SystemExit: with a sentence on standard error that says what to do, if there is no TPU to be had.
    """
    if RESTARTED not in os.environ:
        os.environ[STARTED] = repr(time.monotonic())
    try:
        if accelerator == "tpu" and not tpu_expected():
            raise UserError(f"This machine has no TPU. Turn one on in the kernel's settings (TPU v5e-8; `kaggle quota` "
                            f"says how many hours are left). {INSTEAD}")
        if accelerator not in ("tpu", "auto") or not tpu_expected():
            return
        set_tpu_variables(len(tpu_devices()))
        if can_use_tpu():
            return
        if os.environ.get(RESTARTED):
            raise UserError("Not even the environment that was built for the TPU has a TensorFlow that can use it. "
                            f"{INSTEAD}")
        enter_environment(script)
    except UserError as error:
        say(f"error: {error}")
        raise SystemExit(2) from None
