"""Builds a Python environment with TPU support if Kaggle's image has none. Standard library only.

Kaggle's TPU image ships a TensorFlow without TPU support. The kernel therefore starts by building a virtual environment
in a temporary folder and restarts the same file inside it, before anything imports TensorFlow.
"""

import glob
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
import time

from monet.core.errors import UserError, say
from monet.core.process import ENVIRONMENT_VARIABLE
from monet.machine.commands import run_with_timeout
from monet.machine.kaggle_machine import has_tpu, input_folders, tpu_devices
from monet.machine.restarts import past_hangs

# The only published TensorFlow with TPU support and driver that are compatible with each other.
TPU_PACKAGES = ("tensorflow-tpu==2.19.1", "libtpu==0.0.10", "keras==3.13.2", "numpy==2.1.3", "pillow==12.0.0",
                "scipy==1.16.3", "tqdm==4.67.1")
# Keras 2, which is what TPUStrategy is commonly used with. Installed separately and without dependencies, which include
# the stock TensorFlow: it would overwrite tensorflow-tpu's files in the same folder.
LEGACY_KERAS = ("tf-keras==2.19.0",)
TPU_WHEEL = "tensorflow_tpu-2.19.1-*.whl"
LAST_PYTHON = (3, 12)  # the last version that TPU_PACKAGES have wheels for
SETUP_SECONDS = 600  # limit from the start of the kernel to a working TPU or an error
PROBE_SECONDS = 180  # limit for the TPU to answer
LOG_LINES = 40  # last lines of a failed command that are shown
START_VARIABLE = "MONET_STARTED"  # time.monotonic() at the start of the kernel; survives the restart
PYTHON_VARIABLE = "MONET_IMAGE_PYTHON"  # the Python that the kernel was restarted from
PJRT_VARIABLES = ("NEXT_PLUGGABLE_DEVICE_USE_C_API", "PJRT_DEVICE", "TF_PLUGGABLE_DEVICE_LIBRARY_PATH")
# What is set for TensorFlow in the environment, and means nothing outside.
INSIDE_VARIABLES = ("TF_USE_LEGACY_KERAS", *PJRT_VARIABLES)
ACCELERATOR_TYPES = {1: "v5litepod-1", 4: "v5litepod-4", 8: "v5litepod-8"}  # of a v5e machine, by number of chips
GPU_ADVICE = "To train on GPUs instead: make kernel-push ACCELERATOR=gpu."
RESTART_ADVICE = "Start the kernel again."
OFFLINE_ADVICE = ("If the kernel's internet is off, turn it on (enable_internet in kernel-metadata.json) or attach a "
                  "dataset of wheels (make tpu-wheels).")
# The TPU computes: one step of a small convolution on each core, and sums over the cores.
PROBE_STEP = """
with strategy.scope():
    kernel = tf.Variable(tf.ones([3, 3, 3, 4]))

def replica_step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.conv2d(tf.ones([1, 16, 16, 3]), kernel, 1, "SAME"))
    return tf.distribute.get_replica_context().all_reduce("SUM", tape.gradient(loss, kernel))

total = strategy.reduce("SUM", tf.function(lambda: strategy.run(replica_step))(), axis=None)
"""
# Executed by the environment's Python: imports what a run needs, starts the TPU, and makes it compute.
PROBE = f"""
import importlib.metadata, time
started = time.monotonic()
import numpy, PIL, scipy, tqdm
import tensorflow as tf
from tensorflow import keras
resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
tf.config.experimental_connect_to_cluster(resolver)
tf.tpu.experimental.initialize_tpu_system(resolver)
strategy = tf.distribute.TPUStrategy(resolver)
{PROBE_STEP}
total.numpy()  # waits for it
cores, seconds = len(tf.config.list_logical_devices("TPU")), time.monotonic() - started
packages = ("tensorflow-tpu", "libtpu", "tf-keras")
versions = ", ".join(f"{{name}} {{importlib.metadata.version(name)}}" for name in packages)
print(f"{{cores}} TPU cores answer: {{seconds:.1f}} s to start and to make a first step ({{versions}})")
"""
# Lines of the probe's output that are shown when it succeeds.
PROBE_NEWS = ("PJRT API version", "TPU cores answer")


def can_use_tpu() -> bool:
    """Returns whether the installed TensorFlow has TPU support.

    Only the package tensorflow-tpu has it, provided that no stock TensorFlow was installed over it.
    """
    folder = distribution_folder("tensorflow-tpu")
    overwritten = folder in map(distribution_folder, ("tensorflow", "tensorflow-cpu"))
    return bool(folder and distribution_folder("libtpu") and not overwritten)


def distribution_folder(name: str) -> os.PathLike | None:
    """Returns the folder that the package `name` is installed in, or None."""
    try:
        return importlib.metadata.distribution(name).locate_file("")
    except importlib.metadata.PackageNotFoundError:
        return None


def set_tpu_variables(chips: int) -> None:
    """Sets the environment variables that a single TPU machine needs.

    Without them, importing TensorFlow and starting the TPU wait minutes for a metadata server that does not answer.

    Args:
        chips: number of the TPU's device files, which determines the accelerator type if Kaggle does not set it.
    """
    for name in sorted(os.environ):
        # Where the image fails to look up a host's name or the TPU's type, it puts a warning's text in its place.
        if name.startswith("TPU_") and not name.endswith(("PATH", "DIR")) and " " in os.environ[name].strip():
            say(f"Removing {name}, which is a text: {os.environ.pop(name)[:80]}")
    if chips in ACCELERATOR_TYPES:
        os.environ.setdefault("TPU_ACCELERATOR_TYPE", ACCELERATOR_TYPES[chips])
    if os.environ.get("TPU_ACCELERATOR_TYPE"):  # otherwise only the metadata server knows the type
        os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
        os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")


def pjrt_variables(folder: str) -> dict[str, str]:
    """Returns the environment variables that make TensorFlow use libtpu through PJRT, the only way to a TPU v5e.

    TensorFlow reads them when it is imported.

    Args:
        folder: the environment with tensorflow-tpu and libtpu.
    """
    library = os.path.join(site_packages(folder), "libtpu", "libtpu.so")
    return dict(zip(PJRT_VARIABLES, ("true", "TPU", library), strict=True))


def find_wheels() -> str | None:
    """Returns the folder below Kaggle's input folder with the wheels of `make tpu-wheels`, or None."""
    for folder, *_ in input_folders():
        if glob.glob(os.path.join(glob.escape(folder), TPU_WHEEL)):
            return folder
    return None


def seconds_left() -> float:
    """Returns what remains of `SETUP_SECONDS`, at least one second."""
    return max(1.0, float(os.environ[START_VARIABLE]) + SETUP_SECONDS - time.monotonic())


def run_setup_step(step: str, command: list[str], advice: str, seconds: float = SETUP_SECONDS,
                   **variables: str) -> list[str]:
    """Runs one command of the setup, and returns the lines that it printed. If it fails, its last lines are shown.

    Args:
        step: what the command does, for the error message.
        command: the command.
        advice: a sentence for the error message.
        seconds: its time limit, if no less remains of `SETUP_SECONDS`.
        variables: environment variables to set for it.

    Raises:
        UserError: if the command fails or takes too long. It cites the last line that mentions an error, if one does.
    """
    limit = min(seconds, seconds_left())
    status, lines = run_with_timeout(command, limit, **variables)
    if status == 0:
        return lines
    say("\n".join(["", f"The last output of this step ({step}):", *(lines[-LOG_LINES:] or ["none"]), ""]))
    errors = [line for line in lines if re.search(r"error", line, re.IGNORECASE)]
    cause = (errors or lines or ["no output"])[-1].strip()
    problem = f"took longer than {limit:.0f} s" if status is None else "failed"
    raise UserError(f"{step} {problem} ({cause[:300]}). {advice} {GPU_ADVICE}")


def environment_python(folder: str) -> str:
    """Returns the Python interpreter of the environment in `folder`."""
    return os.path.join(folder, "bin", "python")


def creation_command(folder: str) -> list[str]:
    """Returns the command that creates a virtual environment without packages in `folder`.

    It has this Python, or one of the last version that has wheels, if uv can find or fetch one.

    Raises:
        UserError: if uv would be needed and is not there.
    """
    if sys.version_info[:2] <= LAST_PYTHON:
        return [sys.executable, "-m", "venv", "--without-pip", folder]
    this, last = (".".join(map(str, version)) for version in (sys.version_info[:2], LAST_PYTHON))
    uv = shutil.which("uv")
    if not uv:
        raise UserError(f"{TPU_PACKAGES[0]} has no build for this machine's Python {this}, and there is no uv to make "
                        f"an environment with Python {last}. {GPU_ADVICE}")
    say(f"{TPU_PACKAGES[0]} has no build for this machine's Python {this}: uv makes the environment with {last}.")
    return [uv, "venv", "--quiet", "--python", last, folder]


def build_environment(folder: str, wheels: str | None) -> None:
    """Builds a virtual environment with `TPU_PACKAGES` and `LEGACY_KERAS`.

    Args:
        folder: where to build it; existing content is deleted.
        wheels: folder of wheels to install from without a network, or None for the package index.

    Raises:
        UserError: if building fails or takes too long.
    """
    shutil.rmtree(folder, ignore_errors=True)
    step = "Building an environment for the TPU"
    run_setup_step(step, creation_command(folder), RESTART_ADVICE)
    pip = [sys.executable, "-m", "pip", "--python", environment_python(folder), "--disable-pip-version-check",
           "--no-input", "--quiet", "install", "--only-binary", ":all:"]
    pip += ["--no-index", "--find-links", wheels] if wheels else ["--timeout", "15", "--retries", "1"]
    run_setup_step(step, [*pip, *TPU_PACKAGES], OFFLINE_ADVICE)
    run_setup_step(step, [*pip, "--no-deps", *LEGACY_KERAS], OFFLINE_ADVICE)


def probe_tpu(folder: str) -> None:
    """Starts the TPU in the environment, in a process of its own, and lets it compute.

    Sets the variables of PJRT, unless the TPU answers only without them.

    Raises:
        UserError: if it does not answer either way.
    """
    def probe() -> None:
        # Only TensorFlow's log, which is off by default, says what the driver found.
        lines = run_setup_step("Starting the TPU", [environment_python(folder), "-I", "-c", PROBE], RESTART_ADVICE,
                               PROBE_SECONDS, TF_CPP_MIN_LOG_LEVEL="0")
        say("\n".join(line for line in lines if any(news in line for news in PROBE_NEWS)))

    variables = pjrt_variables(folder)
    os.environ.update(variables)
    try:
        probe()
    except UserError as error:
        say(f"Through PJRT, the TPU does not answer. Trying the way of older TPUs. {error}")
        for name in variables:
            del os.environ[name]
        probe()


def site_packages(folder: str) -> str:
    """Returns the site-packages folder of the environment in `folder`."""
    return glob.glob(os.path.join(glob.escape(folder), "lib", "python3*", "site-packages"))[0]


def check_notebook() -> None:
    """Raises UserError if this process, a notebook, cannot continue with the environment's packages.

    It has imported some of them already, or is of a Python that they are not built for.
    """
    loaded = sorted({"numpy", "tensorflow", "keras"} & set(sys.modules))
    if loaded:
        raise UserError(f"{', '.join(loaded)} was imported before the environment for the TPU was ready. Restart the "
                        "session and run all cells from the first.")
    if sys.version_info[:2] > LAST_PYTHON:
        raise UserError(f"{TPU_PACKAGES[0]} has no build for this notebook's Python, and only a script can restart in "
                        f"another. Push the script: make kernel-push. {GPU_ADVICE}")


def restart(script: str, folder: str) -> None:
    """Replaces this process with one that runs the file `script` in the environment."""
    python = environment_python(folder)
    os.environ.update({ENVIRONMENT_VARIABLE: folder, PYTHON_VARIABLE: sys.executable})
    sys.stderr.flush()
    os.execv(python, [python, "-I", os.path.abspath(script), *sys.argv[1:]])


def command_outside() -> list[str]:
    """Returns the command that starts this program anew, outside the environment: only the image's Python has JAX.

    If the program runs in the environment, this unsets what `restart` and the setup set.
    """
    python, words = sys.executable, sys.orig_argv[1:]
    if os.environ.pop(ENVIRONMENT_VARIABLE, ""):
        python, words = os.environ.pop(PYTHON_VARIABLE), words[1:]  # without -I
        for name in INSIDE_VARIABLES:
            os.environ.pop(name, None)
    return [python, *words]


def enter_environment(script: str | None) -> None:
    """Builds the environment, checks that the TPU starts in it, and switches to it.

    Args:
        script: file to restart in the environment; None for a notebook, which continues with the next cell.

    Raises:
        UserError: if any of this fails.
    """
    if not script:
        check_notebook()
    folder, wheels = os.path.join(tempfile.gettempdir(), "monet-tpu"), find_wheels()
    say(f"This machine has a TPU, but the installed TensorFlow cannot use it. Building an environment with "
        f"{', '.join(TPU_PACKAGES[:2])} in {folder} from {wheels or 'the network'}, which takes a minute or two.")
    build_environment(folder, wheels)
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    probe_tpu(folder)
    if script:
        restart(script, folder)  # does not return
    sys.path.insert(0, site_packages(folder))


def prepare_machine(accelerator: str, engine: str, script: str | None) -> None:
    """Prepares the machine for `accelerator`; must run before TensorFlow is imported.

    On a machine with a TPU but without TPU support in TensorFlow, restarts `script` in an environment that has it.

    Args:
        accelerator: the config's: auto, tpu, gpu or cpu.
        engine: the config's. With auto, JAX is left to try the TPU if there can be no such environment; jax needs none.
        script: file of the running program; None in a notebook.

    Raises:
        SystemExit: if the TPU is missing or cannot be used, after a message on standard error.
    """
    if ENVIRONMENT_VARIABLE not in os.environ:
        os.environ[START_VARIABLE] = repr(time.monotonic())
    try:
        if accelerator == "tpu" and not has_tpu():
            raise UserError("This machine has no TPU. Turn one on in the kernel's settings (TPU v5e-8; `kaggle quota` "
                            f"shows the hours left). {GPU_ADVICE}")
        if accelerator not in ("tpu", "auto") or not has_tpu():
            return
        set_tpu_variables(len(tpu_devices()))
        # After a hang, JAX or the CPU goes on, and neither needs the environment.
        if engine == "jax" or can_use_tpu() or past_hangs():
            return
        if os.environ.get(ENVIRONMENT_VARIABLE):
            raise UserError("TensorFlow cannot use the TPU even in the environment that was built for it. "
                            f"{GPU_ADVICE}")
        try:
            enter_environment(script)
        except UserError as error:
            if engine != "auto" or distribution_folder("jax") is None:
                raise
            os.environ.pop("TF_USE_LEGACY_KERAS", None)
            say(f"{error} Going on with this machine's own packages: JAX may see the TPU.")
    except UserError as error:
        say(f"error: {error}")
        raise SystemExit(2) from None
