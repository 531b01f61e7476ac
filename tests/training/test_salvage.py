"""monet.training.salvage: after two hangs, what can be painted in the time that is left."""

import time
import zipfile

import pytest

from monet.core.errors import UserError
from monet.machine.restarts import FIRST_START_VARIABLE, HUNG_VARIABLE
from monet.submission.check import check
from monet.training.run import train_command
from monet.training.salvage import run_or_salvage
from monet.training.session import Session, session_of


@pytest.fixture(autouse=True)
def two_hangs(monkeypatch):
    monkeypatch.setenv(HUNG_VARIABLE, "GPU:tensorflow,GPU:tensorflow")
    monkeypatch.setenv(FIRST_START_VARIABLE, repr(time.monotonic() - 3600))


def images_painted(out):
    assert check(str(out / "images.zip"), fewest=1) == []
    with zipfile.ZipFile(out / "images.zip") as archive:
        return len(archive.namelist())


@pytest.mark.parametrize(("minutes", "painted"), [(0.0, 40), (70.0, 40), (60.0, 16)])
def test_it_paints_what_the_time_allows_and_at_least_a_batch(tiny, trained_out, caplog, minutes, painted):
    config = tiny(accelerator="gpu", precision="float16", engine="jax", max_minutes=minutes, num_images=40)
    with session_of() as session:  # minutes count from the first start
        assert run_or_salvage(config, session) == 0
    assert images_painted(trained_out) == painted
    assert "Kaggle refuses" in caplog.text


def test_without_a_checkpoint_there_is_nothing_to_paint_with(tiny):
    with pytest.raises(UserError, match="no checkpoint"):
        run_or_salvage(tiny(), Session())


def test_no_other_command_uses_the_device_again(tiny, trained_out):
    with pytest.raises(UserError, match="hung twice"):
        train_command(tiny(), Session())
