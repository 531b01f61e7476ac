"""TensorFlow datasets, written by tensorflow-datasets itself into a temporary folder, without the network."""

import dataclasses
import http.server
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from requests.exceptions import ConnectionError as NoConnection

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.pixels import decode_image
from monet.data.hold_out import split_data
from monet.data.records import read_examples
from monet.data.validation import find_data
from monet.training.trainer import Trainer

PICTURES = {split: np.random.default_rng(seed).integers(0, 256, (count, 32, 40, 3), dtype=np.uint8)
            for seed, (split, count) in enumerate((("trainA", 3), ("trainB", 5), ("testA", 2)))}
UNUSUAL_FEATURES = {  # the features of the configs that have unusual ones
    "depths": {"image": tfds.features.Image(shape=(32, 40, 1), dtype=np.float32)},
    "words": {"text": tfds.features.Text()},
    "raw": {"image": tfds.features.Tensor(shape=(32, 40, 3), dtype=np.uint8)},
}


class MonetKitDots(tfds.core.GeneratorBasedBuilder):
    """A dataset with one good config, and one config for each thing that can be wrong."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name)
                            for name in ("plain", "onesided", "broken", "offline", "gone", *UNUSUAL_FEATURES))
    address = ""

    def _info(self):
        features = UNUSUAL_FEATURES.get(self.builder_config.name, {"image": tfds.features.Image(), "label": np.int64})
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        if self.builder_config.name == "offline":
            raise NoConnection("Max retries exceeded\nand a page of advice")
        if self.builder_config.name == "gone":
            dl_manager.download(self.address)
        splits = ["trainA", "testA"] if self.builder_config.name == "onesided" else PICTURES
        return {split: self._generate_examples(split, dl_manager.download_dir) for split in splits}

    def _generate_examples(self, split, folder):
        for number, picture in enumerate(PICTURES[split]):
            if self.builder_config.name == "broken":
                picture = folder / "broken.jpg"
                picture.write_bytes(b"no JPEG at all")
            yield number, {"image": picture, "label": number}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder in which tensorflow-datasets keeps its files."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


def store_cyclegan(home, config: str) -> None:
    """Writes one of CycleGAN's datasets where tensorflow-datasets expects its own download of it."""
    tfds.dataset_builders.store_as_tfds_dataset(
        name="cycle_gan", config=config, version="3.0.0", data_dir=home,
        features=tfds.features.FeaturesDict({"image": tfds.features.Image(),
                                             "label": tfds.features.ClassLabel(names=["A", "B"])}),
        split_datasets={split: tf.data.Dataset.from_tensor_slices({"image": PICTURES[split], "label": [label] * count})
                        for split, label, count in (("trainA", 0, 3), ("trainB", 1, 5))})


def pictures(image_set) -> list[bytes]:
    return sorted(decode_image(example["image"]).numpy().tobytes() for example in read_examples(image_set))


def names(image_set) -> list[str]:
    return [example["image_name"].numpy().decode() for example in read_examples(image_set)]


def refusal(address: str) -> str:
    with pytest.raises(UserError) as error:
        find_data(address)
    assert address in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_dataset_is_prepared_once_and_read(home):
    data = find_data("tfds:monet_kit_dots/plain")
    assert pictures(data.monet) == sorted(picture.tobytes() for picture in PICTURES["trainA"])
    assert pictures(data.photo) == sorted(picture.tobytes() for picture in PICTURES["trainB"])
    assert names(data.monet) == [f"monet_kit_dots-trainA-00000-of-00001-{number}" for number in range(3)]
    folder = home / "monet_kit_dots/plain/1.0.0"
    assert data.describe() == f"3 paintings and 5 photos in a TensorFlow dataset below {folder}"
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    swapped = find_data("tfds:monet_kit_dots/plain", swap_sides=True)
    assert (swapped.monet, swapped.photo) == (data.photo, data.monet)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written


def test_paintings_of_a_dataset_are_held_out(home):
    data = split_data(find_data("tfds:monet_kit_dots/plain"), make_config(hold_out=0.3))
    assert sorted(pictures(data.monet) + pictures(data.held_out)) == sorted(
        picture.tobytes() for picture in PICTURES["trainA"])
    assert len(pictures(data.held_out)) == 1


def test_a_dataset_in_several_files(home):
    builder = tfds.builder("monet_kit_dots/plain", data_dir=home)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
    photo = find_data("tfds:monet_kit_dots/plain").photo
    assert [path[-14:] for path in photo.files] == ["00000-of-00002", "00001-of-00002"]
    assert len(set(names(photo))) == photo.count == 5
    assert pictures(photo) == sorted(picture.tobytes() for picture in PICTURES["trainB"])


def test_the_datasets_of_the_cyclegan_paper(home):
    store_cyclegan(home, "vangogh2photo")
    data = find_data("tfds:cycle_gan/vangogh2photo")
    assert data.root == str(home / "cycle_gan/vangogh2photo/3.0.0")
    assert pictures(data.monet) == sorted(picture.tobytes() for picture in PICTURES["trainA"])


@pytest.mark.parametrize(("name", "words"), [
    ("monet_kit_dotz/plain", "Dataset monet_kit_dotz not found"),
    ("monet_kit_dots/plein", "BuilderConfig plein not found"),
    ("monet_kit_dots/plain:9.9.9", "only: 1.0.0"),
    ("", "Check the name"),
    ("no such/thing !", "Check the name"),
    ("monet_kit_dots/onesided", "no split trainB"),
    ("monet_kit_dots/depths", "`image`"),
    ("monet_kit_dots/raw", "`image`"),
    ("monet_kit_dots/words", "features are text"),
    ("monet_kit_dots/offline", "ConnectionError: Max retries exceeded"),
])
def test_a_dataset_that_cannot_be_used(home, name, words):
    assert words in refusal(f"tfds:{name}")


def test_a_dataset_that_moved_from_its_address(home, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(MonetKitDots, "address", f"http://127.0.0.1:{server.server_port}/dots.zip")
        message = refusal("tfds:monet_kit_dots/gone")
        server.shutdown()
    assert "DownloadError" in message
    assert str(home) in message


def test_a_dataset_prepared_in_another_format(home):
    tfds.builder("monet_kit_dots/plain", data_dir=home, file_format="array_record").download_and_prepare()
    assert "array_record" in refusal("tfds:monet_kit_dots/plain")


def test_a_damaged_file_of_a_dataset(home):
    shard = find_data("tfds:monet_kit_dots/plain").photo.files[0]
    with open(shard, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match=f"{shard} is truncated"):
        find_data("tfds:monet_kit_dots/plain")


def test_pictures_that_cannot_be_decoded_are_named_with_their_file(home):
    with pytest.raises(UserError, match="3 of 3 paintings .*: monet_kit_dots-trainA-00000-of-00001-0, "):
        find_data("tfds:monet_kit_dots/broken")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = refusal("tfds:cycle_gan/horse2zebra")
    assert "not installed" in message
    assert "make setup EXTRAS=tfds" in message


def test_log_lines_are_printed_once(home):
    """In a separate process: pytest has a root log handler, which keeps tensorflow-datasets from adding one."""
    store_cyclegan(home, "vangogh2photo")
    described = subprocess.run(
        [sys.executable, "-m", "monet", "describe", "--data", "tfds:cycle_gan/vangogh2photo",
         "--generator-filters", "1", "--discriminator-filters", "1", "--accelerator", "cpu"],
        capture_output=True, text=True, timeout=200)
    assert described.returncode == 0, described.stderr
    assert described.stderr.count("Data: 3 paintings and 5 photos in a TensorFlow dataset") == 1
    assert "3 paintings and 5 photos in a TensorFlow dataset" in described.stdout


def test_a_run_on_paintings_of_a_dataset_and_photos_of_an_array(home, tiny, tmp_path):
    for name, split in (("monet", "trainA"), ("photo", "trainB")):
        np.save(tmp_path / f"{name}.npy", PICTURES[split])
    data = dataclasses.replace(find_data("tfds:monet_kit_dots/plain"), photo=find_data(str(tmp_path)).photo)
    trainer = Trainer(tiny(epochs=1, data="tfds:monet_kit_dots/plain"), data, tf.distribute.get_strategy())
    trainer.fit()
    assert trainer.state.step == 3
    again = Trainer(tiny(epochs=2), data, tf.distribute.get_strategy())  # compares the data with the checkpoint's
    assert again.state.step == 3
