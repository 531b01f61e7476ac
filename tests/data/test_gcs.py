"""Reading from gs:// with TensorFlow's own client, against a stand-in for Google Cloud Storage on loopback.

Run as a program, this file is the client: TensorFlow reads the stand-in's settings before its first request.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from support.gcs_stand_in import LISTS, OBJECTS, GcsStandIn

from monet.core.errors import UserError
from monet.data.records import read_examples
from monet.data.validation import find_data
from monet.data.writing import write_records

FAULTS = {"locked": "forbidden", "unreadable": "unreadable", "torn": "cut", "shaky": "cut once"}
NOWHERE = "http://127.0.0.1:9"  # a port that nobody listens on


def summary(root: str) -> dict:
    """The content of `root`, in a form that survives JSON."""
    data = find_data(root)
    sides = {}
    for side, image_set in (("monet", data.monet), ("photo", data.photo)):
        examples = list(read_examples(image_set).as_numpy_iterator())
        sides[side] = {"files": [path.removeprefix(root) for path in image_set.files], "count": image_set.count,
                       "names": [example["image_name"].decode() for example in examples],
                       "sha256": [hashlib.sha256(example["image"]).hexdigest() for example in examples]}
    return sides


def attempt(root: str) -> dict:
    """The `summary`, or the error message that the user would see; and the seconds it took."""
    start = time.monotonic()
    try:
        return {"data": summary(root), "seconds": time.monotonic() - start}
    except UserError as error:
        return {"error": str(error), "seconds": time.monotonic() - start}


def client() -> None:
    """Reads all of the stand-in's buckets and prints the results, as JSON in the last line."""
    answers = {name: attempt(f"gs://{name}") for name in ("good", "missing", *FAULTS)}
    answers["folder"] = attempt("gs://good/nowhere")
    answers["pictures"] = attempt("gs://good/pictures")
    answers["arrays"] = attempt("gs://good/arrays")
    answers["glob"] = tf.io.gfile.glob("gs://good/monet_tfrec/*.tfrec")
    os.environ["https_proxy"] = NOWHERE
    answers["offline"] = attempt("gs://good")
    print(json.dumps(answers))


def write_bucket(root) -> None:
    """Two TFRecord files per domain with four noise JPEGs each; in pictures/, the same as image files."""
    random = np.random.default_rng(0)
    (root / "arrays").mkdir(parents=True)
    for side in ("monet", "photo"):
        np.save(root / "arrays" / f"{side}.npy", random.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8))
    for side, folder in (("monet", "trainA"), ("photo", "trainB")):
        (root / f"{side}_tfrec").mkdir(parents=True)
        (root / "pictures" / folder).mkdir(parents=True)
        for number in range(2):
            pictures = random.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
            rows = [(f"{side}{number}{i}", tf.io.encode_jpeg(picture).numpy()) for i, picture in enumerate(pictures)]
            write_records(str(root / f"{side}_tfrec" / f"{side}{number}-60.tfrec"), rows, side)
            for name, encoded in rows:
                (root / "pictures" / folder / f"{name}.jpg").write_bytes(encoded)


@pytest.fixture(scope="module")
def gcs(tmp_path_factory):
    """One run of the client: its answers, the stand-in, and the local folder behind every bucket."""
    folder = tmp_path_factory.mktemp("gcs")
    bucket, home = folder / "bucket", folder / "home"
    home.mkdir()
    write_bucket(bucket)
    with GcsStandIn(folder, dict.fromkeys(("good", *FAULTS), bucket), FAULTS) as stand_in:
        environment = {**stand_in.environment(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        run = subprocess.run([sys.executable, __file__], env=environment, timeout=120, capture_output=True, text=True,
                             check=False)
        assert run.returncode == 0, run.stderr
        yield SimpleNamespace(answers=json.loads(run.stdout.splitlines()[-1]), stand_in=stand_in, bucket=str(bucket))


def test_reads_the_same_bytes_as_from_disk(gcs):
    assert gcs.answers["good"]["data"] == summary(gcs.bucket)
    assert gcs.answers["good"]["data"]["photo"]["count"] == 8


def test_reads_image_folders(gcs):
    assert gcs.answers["pictures"]["data"] == summary(f"{gcs.bucket}/pictures")


def test_reads_arrays(gcs):
    assert gcs.answers["arrays"]["data"] == summary(f"{gcs.bucket}/arrays")


def test_globs_over_several_pages_of_a_list(gcs):
    assert gcs.answers["glob"] == [f"gs://good/monet_tfrec/monet{i}-60.tfrec" for i in range(2)]
    assert any("pageToken" in path for _, path, _ in gcs.stand_in.requests)


def test_only_the_stand_in_was_asked_and_both_its_hosts(gcs):
    assert gcs.stand_in.refused == []
    assert {host for host, *_ in gcs.stand_in.requests} == {LISTS, OBJECTS}


def test_a_read_cut_half_way_once_is_read_again_whole(gcs):
    assert gcs.answers["shaky"]["data"] == summary(gcs.bucket)
    assert sum("shaky" in path for path in gcs.stand_in.cut) == 4


def test_a_missing_bucket(gcs):
    message = gcs.answers["missing"]["error"]
    assert "gs://missing: there is no such bucket" in message
    assert "404" in message
    assert "spelling" in message


def test_a_missing_folder_in_a_bucket(gcs):
    assert "no folder gs://good/nowhere" in gcs.answers["folder"]["error"]


def test_a_forbidden_bucket(gcs):
    message = gcs.answers["locked"]["error"]
    assert "gs://locked: access is denied" in message
    assert "403" in message
    assert "gcloud auth application-default login" in message


def test_forbidden_objects_in_a_bucket_that_may_be_listed(gcs):
    message = gcs.answers["unreadable"]["error"]
    assert "gs://unreadable/monet_tfrec/monet0-60.tfrec: access is denied" in message
    assert "403" in message


def test_a_connection_cut_half_way_every_time(gcs):
    message = gcs.answers["torn"]["error"]
    assert "gs://torn/monet_tfrec/monet0-60.tfrec: the connection to the storage failed" in message
    assert "try again" in message
    assert gcs.answers["torn"]["seconds"] < 20
    reads = [path for host, path, _ in gcs.stand_in.requests if host == OBJECTS and path.startswith("/torn/")]
    assert len(reads) == 3  # the first, and the two more that environment() allows


def test_no_network(gcs):
    message = gcs.answers["offline"]["error"]
    assert "gs://good" in message
    assert "Check the network" in message
    assert gcs.answers["offline"]["seconds"] < 20


if __name__ == "__main__":
    client()
