"""monet.machine.kaggle_machine: mounted data, output folder, attached runs, and TPU detection."""

from pathlib import Path

import pytest

from monet.kaggle_run import find_attached_run
from monet.machine.kaggle_machine import (
    TPU_VARIABLES,
    find_kaggle_mount,
    has_tpu,
    kaggle_input,
    kaggle_working,
    tpu_devices,
)


@pytest.fixture
def mounts(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MONET_KAGGLE_INPUT", str(tmp_path))
    return tmp_path


def mount(folder: Path, *names: str) -> str:
    """Creates the folders of the competition's data, or `names`."""
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


def test_half_a_data_set_is_not_a_mount(mounts):
    mount(mounts / "gan-getting-started", "monet_tfrec", "monet_jpg")
    assert find_kaggle_mount() is None


def test_search_depth_is_limited(mounts):
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


def test_links_are_followed(mounts, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    mount(elsewhere)
    (mounts / "gan-getting-started").symlink_to(elsewhere)
    assert find_kaggle_mount() == str(mounts / "gan-getting-started")


def checkpoint(folder: Path, step: int) -> str:
    """Creates a run's folder with a checkpoint and an unfinished one."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / f"checkpoints/step-{step:08d}.npz").touch()
    (folder / "checkpoints/step-99999999.npz.part").touch()
    return str(folder)


def test_attached_run_of_the_same_kernel_wins_then_the_furthest(mounts):
    assert find_attached_run("monet-cyclegan") is None
    (mounts / "empty/checkpoints").mkdir(parents=True)
    assert find_attached_run("monet-cyclegan") is None
    checkpoint(mounts / "another", 500)
    further = checkpoint(mounts / "notebooks/somebody/one-more", 7000)
    assert find_attached_run("monet-cyclegan") == further
    own = checkpoint(mounts / "notebooks/somebody/monet-cyclegan", 20)
    assert find_attached_run("monet-cyclegan") == own


@pytest.fixture
def no_tpu(monkeypatch):
    for name in TPU_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("files", "chips"), [
    ([], 0), (["null", "vfio/vfio"], 0), (["accel0", "accel1"], 2), (["vfio/0", "vfio/12", "vfio/vfio"], 2),
    (["accel/accel0"], 0)])  # another vendor's accelerator, as in many laptops
def test_tpu_is_detected_by_device_files(no_tpu, tmp_path, files, chips):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert len(tpu_devices(str(tmp_path))) == chips
    assert has_tpu(str(tmp_path)) is bool(chips)


def test_graphics_card_passed_through_to_a_virtual_machine_is_no_tpu(no_tpu, tmp_path):
    (tmp_path / "vfio").mkdir()
    for group, vendors in {"7": ["0x10de", "0x10de"], "8": ["0x1ae0"], "9": []}.items():
        (tmp_path / "vfio" / group).touch()
        for number, vendor in enumerate(vendors):
            device = tmp_path / "groups" / group / "devices" / f"0000:0{number}:00.0"
            device.mkdir(parents=True)
            (device / "vendor").write_text(f"{vendor}\n")
    found = tpu_devices(str(tmp_path), str(tmp_path / "groups"))
    assert [path.rsplit("/", 1)[1] for path in found] == ["8", "9"]


@pytest.mark.parametrize("name", TPU_VARIABLES)
def test_tpu_is_detected_by_environment_variables(no_tpu, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "")
    assert not has_tpu(str(tmp_path))
    monkeypatch.setenv(name, "1")
    assert has_tpu(str(tmp_path))
