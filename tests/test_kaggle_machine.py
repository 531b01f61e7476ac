"""Where Kaggle's machine keeps data and output."""

from pathlib import Path

import pytest

from monet.kaggle_machine import find_kaggle_mount, kaggle_input, kaggle_working


@pytest.fixture
def mounts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path))
    return tmp_path


def mount(folder: Path, *names: str) -> str:
    for name in names or ("monet_jpg", "monet_tfrec", "photo_jpg", "photo_tfrec"):
        (folder / name).mkdir(parents=True)
    return str(folder)


@pytest.mark.parametrize("place", ["gan-getting-started", "competitions/gan-getting-started", "my-monets",
                                   "datasets/owner/my-monets", "."])
def test_mount_is_found_in_every_layout(mounts, place):
    expected = mount(mounts / place)
    mount(mounts / "something-else", "train", "test")
    assert find_kaggle_mount() == expected


def test_competition_wins_over_other_names(mounts):
    mount(mounts / "a-copy")
    expected = mount(mounts / "competitions/gan-getting-started")
    assert find_kaggle_mount() == expected


def test_nearest_of_other_names_wins(mounts):
    mount(mounts / "a/deep/copy")
    expected = mount(mounts / "z-copy")
    assert find_kaggle_mount() == expected


def test_half_a_data_set_is_none(mounts):
    mount(mounts / "gan-getting-started", "monet_tfrec", "monet_jpg")
    assert find_kaggle_mount() is None


def test_search_is_bounded(mounts):
    mount(mounts / "1/2/3/4/5")
    assert find_kaggle_mount() is None
    expected = mount(mounts / "1/2/3/other")
    assert find_kaggle_mount() == expected


def test_no_mount_off_kaggle(monkeypatch, tmp_path):
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path / "nowhere"))
    assert find_kaggle_mount() is None
    monkeypatch.delenv("MONET_KAGGLE_INPUT")
    assert kaggle_input() == "/kaggle/input"


def test_working_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MONET_KAGGLE_WORKING", str(tmp_path))
    assert kaggle_working() == str(tmp_path)
    monkeypatch.setenv("MONET_KAGGLE_WORKING", str(tmp_path / "nowhere"))
    assert kaggle_working() is None
