"""TensorFlow's errors of reading data, as errors that tell the user what to do."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from monet.core.errors import UserError
from monet.data.formats import IMAGE_FEATURES
from monet.data.storage import is_local

TRY_AGAIN = "Check the network and try again, or copy the data to a local folder and give that."
STORAGE_ERRORS = (  # (errors, what is wrong, what to do); the first match is used
    (tf.errors.NotFoundError, "there is no such bucket or file",
     "Check the spelling; a bucket must exist and be visible to you."),
    ((tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError), "access is denied",
     "For gs://, log in with `gcloud auth application-default login`, or ask the bucket's owner for the role "
     "Storage Object Viewer."),
    (tf.errors.UnimplementedError, "this TensorFlow cannot read such addresses",
     "For gs://, `pip install tensorflow-io-gcs-filesystem`; else copy the data to a local folder and give that."),
    ((tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError),
     "the connection to the storage failed", TRY_AGAIN),
    ((tf.errors.OpError, OSError), "it cannot be read", TRY_AGAIN),
)


LOCAL_ERRORS = (  # likewise, for files on this machine
    ((tf.errors.NotFoundError, FileNotFoundError), "there is no such file any more",
     "Restore it, or start again without it."),
    ((tf.errors.PermissionDeniedError, PermissionError), "access is denied", "Make it readable for you."),
    ((tf.errors.OpError, OSError), "it cannot be read",
     "Check the file and its disk, or move it to another folder to go on without it."),
)


def cause_of(error: tf.errors.OpError) -> str:
    """Returns the sentence of TensorFlow's message that states the cause, without graph and stack traces."""
    noise = ("Graph execution error", "Detected at node", "<stack traces", " ", "\t")
    lines = [line for line in error.message.splitlines() if line and not line.startswith(noise)]
    line = re.sub(r"^Error in user-defined function .* iterator: \S+: ", "", lines[0] if lines else "")
    return re.sub(r"^\{\{.*?\}\} | with body .*| \[Op:.*", "", line)[:300] or type(error).__name__


def damaged_file_error(path: str, cause: str) -> UserError:
    """Returns the error for a TFRecord file that is truncated or fails its checksums."""
    return UserError(f"{path} is truncated or damaged ({cause}). Copy or download it again.")


def reading_error(path: str, cause: str, error: Exception) -> UserError:
    """Returns the error for a file, folder or address that cannot be read because of `error`."""
    explanations = LOCAL_ERRORS if is_local(path) else STORAGE_ERRORS
    problem, remedy = next(rest for errors, *rest in explanations if isinstance(error, errors))
    return UserError(f"{path}: {problem} ({cause}). {remedy}")


@contextlib.contextmanager
def explain_read_errors(path: str) -> Iterator[None]:
    """Turns errors of reading `path`, TensorFlow's or the system's, raised in the block, into a UserError."""
    try:
        yield
    except tf.errors.DataLossError as error:
        raise damaged_file_error(path, cause_of(error)) from None
    except OSError as error:
        raise reading_error(error.filename or path, error.strerror or str(error), error) from None
    except tf.errors.OpError as error:
        cause = cause_of(error)
        feature = re.search(r"(?:Feature|Key): (\w+)", cause)
        if feature or "parse example" in cause:
            problem = f"without a valid {feature[1]!r}" if feature else "that is not a tf.train.Example"
            raise UserError(f"{path} contains a record {problem} ({cause}). Every record needs "
                            f"{' and '.join(IMAGE_FEATURES)}, one string each, as in the competition's files: "
                            "write the file again.") from None
        raise reading_error(path, cause, error) from None


def is_of_reading(error: tf.errors.OpError) -> bool:
    """Returns whether a training step failed to read its data."""
    return "IteratorGetNext" in str(error)  # the name of the operation


@contextlib.contextmanager
def explain_step_errors(root: str) -> Iterator[None]:
    """Turns errors of reading the data at `root`, raised by training steps in the block, into a UserError."""
    try:
        yield
    except tf.errors.OpError as error:
        if is_of_reading(error):
            with explain_read_errors(root):
                raise
        raise
