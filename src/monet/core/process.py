"""What a process needs before it imports anything else: its variables and standard streams. Standard library only."""

import os
import sys
import tempfile

# Folder of the TPU's environment that the kernel was restarted in: see machine/tpu_environment.py.
ENVIRONMENT_VARIABLE = "MONET_TPU_ENVIRONMENT"


def cache_folder() -> str:
    """Returns the kit's folder in the user's cache directory: $XDG_CACHE_HOME if that is absolute, else ~/.cache."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(given if os.path.isabs(given) else os.path.expanduser("~/.cache"), "monet")


def set_home() -> None:
    """Gives a user without a home folder one below the temporary folder: in a container, a user may be a bare number.

    Without $HOME and an entry in /etc/passwd, `Path.home()` fails, and `~` becomes a folder of that name. Docker then
    sets $HOME to /.
    """
    home = os.path.expanduser("~")
    if home == "~" or (home == "/" and not os.access(home, os.W_OK)):
        os.environ["HOME"] = os.path.join(tempfile.gettempdir(), f"home-{os.getuid()}")
        os.makedirs(os.environ["HOME"], mode=0o700, exist_ok=True)


def set_variables() -> None:
    """Sets the environment variables that TensorFlow and Keras read when they are imported.

    Those of Keras are set whatever the user chose for other programs. Child processes inherit them.
    """
    # Silences TensorFlow's C++ log, which reports every optional library that it does not find, some as errors. Real
    # errors reach Python as exceptions.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = os.path.join(cache_folder(), "keras")  # instead of ~/.keras with its keras.json
    os.environ["KERAS_NNX_ENABLED"] = "false"
    # The Keras of the installed TensorFlow. Only the TPU's environment has Keras 2 beside a TensorFlow of Keras 3.
    os.environ["TF_USE_LEGACY_KERAS"] = "1" if os.environ.get(ENVIRONMENT_VARIABLE) else "0"


def open_streams() -> None:
    """Opens the null device for standard streams that are closed (`2>&-`), and makes the output accept any text.

    The number of a closed stream would go to the next file that is opened, which would then receive what C code prints.
    A character that the output's encoding lacks is printed as an escape sequence.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is the stream's
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, mode, encoding="utf-8"))
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's output has another class, and is UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
