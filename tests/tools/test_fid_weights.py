"""tools/fid_weights.py: the weights as a dataset that a kernel finds."""

import hashlib
import json

import pytest
from fid_weights import gather

from monet.core.errors import UserError
from monet.scoring.inception_weights import WEIGHTS_VARIABLE, PublishedFile, cached_path, find_weights

CONTENT = b"weights" * 1000
PUBLISHED = PublishedFile("http://127.0.0.1:9/pt_inception.pth", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine with nothing but what the test gives it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("KAGGLE_USERNAME", "someone")
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)


def test_cached_weights_become_a_dataset_that_a_kernel_finds(tmp_path, monkeypatch, capsys):
    (tmp_path / "cache/monet").mkdir(parents=True)
    (tmp_path / "cache/monet/pt_inception.pth").write_bytes(CONTENT)
    gather(tmp_path / "input/datasets/someone/monet-fid-weights", PUBLISHED)
    said = capsys.readouterr().err
    for words in ("kaggle datasets create -p", '"someone/monet-fid-weights"', "enable_internet to false"):
        assert words in said
    folder = tmp_path / "input/datasets/someone/monet-fid-weights"
    assert json.loads((folder / "dataset-metadata.json").read_text())["id"] == "someone/monet-fid-weights"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kernel"))
    assert find_weights(download=False, published=PUBLISHED).path == f"{folder}/pt_inception.pth"


def test_other_weights_are_not_gathered(tmp_path, monkeypatch):
    (tmp_path / "mine.pth").write_bytes(b"mine")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "mine.pth"))
    with pytest.raises(UserError, match="other weights"):
        gather(tmp_path / "folder", PUBLISHED)
    assert not (tmp_path / "folder").exists()


def test_weights_that_cannot_be_had_say_how_to_get_them(tmp_path):
    with pytest.raises(UserError) as refused:
        gather(tmp_path / "folder", PUBLISHED)
    assert cached_path(PUBLISHED) in str(refused.value) and not (tmp_path / "folder").exists()
