"""Shared fixtures: a small set of real images, and a config that trains on it in seconds."""

import monet  # noqa: F401  # isort: skip  # before TensorFlow: sets what Keras reads when it is imported

import os
import shutil

import pytest
import tensorflow as tf
from benchmark.peers.python import MISSING_PEERS, peer_python
from sample.dataset import write_sample
from support.settings import NUM_MONET, NUM_PHOTO, REAL_DATA, ROOT, TINY

from monet.core.config import make_config
from monet.data.records import read_examples
from monet.data.validation import find_data
from monet.data.writing import write_records
from monet.training.trainer import Trainer

# Tests run what XLA compiles once or twice, so optimizing the machine code would take most of the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# A run as on Kaggle looks for the internet on a port of this machine where nobody listens.
os.environ["MONET_INTERNET_HOST"] = "127.0.0.1:9"
# A kaggle client started without the stand-in's environment asks this machine, never the real site.
os.environ["KAGGLE_API_ENVIRONMENT"] = "LOCALHOST"


@pytest.fixture(scope="session")
def full_root(tmp_path_factory):
    """Folder with all available images: the real ones if present, else a smaller sample."""
    if REAL_DATA.is_dir():
        return str(REAL_DATA)
    root = tmp_path_factory.mktemp("sample") / "data"
    write_sample(root, num_monet=NUM_MONET, num_photo=NUM_PHOTO)
    return str(root)


@pytest.fixture(scope="session")
def small_root(full_root, tmp_path_factory):
    """Folder in the competition's layout with a few of those images."""
    root = tmp_path_factory.mktemp("small")
    data = find_data(full_root)
    for side, image_set, count in (("monet", data.monet, NUM_MONET), ("photo", data.photo, NUM_PHOTO)):
        rows = [(example["image_name"].numpy().decode(), example["image"].numpy())
                for example in read_examples(image_set).take(count)]
        (root / f"{side}_tfrec").mkdir()
        write_records(str(root / f"{side}_tfrec" / f"{side}00-{count}.tfrec"), rows, side)
    return str(root)


@pytest.fixture(scope="session")
def small_data(small_root):
    """The checked data of `small_root`."""
    return find_data(small_root)


@pytest.fixture(scope="session")
def peers():
    """The Python of PyTorch's environment. Without one, a test that needs it is skipped, or fails in CI."""
    python = peer_python()
    if python is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING_PEERS)
    return python


@pytest.fixture(scope="session")
def tpu_python():
    """The Python of `make tpu-env`, with a TPU's compiler and Kaggle's JAX; without it as for `peers`."""
    python = ROOT / ".venv-tpu-check" / "bin" / "python"
    if not python.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the TPU's compiler is not installed: make tpu-env")
    return python


@pytest.fixture
def tiny(small_root, tmp_path):
    """A function from field values to a config that trains in seconds into the test's own folder."""
    def make(**values):
        return make_config(**{**TINY, "data": small_root, "out": str(tmp_path / "out"), **values})
    return make


@pytest.fixture(scope="session")
def trained_folder(small_root, small_data, tmp_path_factory):
    """The folder of a finished run of `TINY`: for tests that only read it."""
    out = tmp_path_factory.mktemp("trained") / "out"
    config = make_config(**{**TINY, "data": small_root, "out": str(out)})
    Trainer(config, small_data, tf.distribute.get_strategy()).fit()
    return out


@pytest.fixture
def trained_out(trained_folder, tmp_path):
    """A copy of that folder, where the configs of `tiny` put their runs: for tests that continue it."""
    return shutil.copytree(trained_folder, tmp_path / "out")


@pytest.fixture(autouse=True)
def float32_networks():
    """Resets the precision, so that no test passes its own on to the next."""
    yield
    tf.keras.mixed_precision.set_global_policy("float32")
