"""Two real processes on loopback train as one cluster, as one machine would; and what happens when one dies."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from benchmark.inception_state import random_state, write_state_dict

from monet.core.array_files import read_arrays
from monet.core.config import make_config
from monet.core.errors import UserError
from monet.machine.cluster import cluster_task, open_cluster
from monet.scoring.inception_weights import WEIGHTS_VARIABLE
from monet.training.checkpoint import list_checkpoints, read_meta

pytestmark = pytest.mark.lengthy

SETTINGS = [
    "--accelerator", "cpu", "--generator-filters", "2", "--generator-levels", "2", "--discriminator-filters", "2",
    "--image-size", "32", "--discriminator-levels", "1", "--jitter", "40", "--batch-size", "4",
    "--steps-per-call", "2", "--dropout", "0",
    "--gamma-mean", "1", "--ema-decay", "0.9", "--num-images", "20", "--tensorboard", "false",
]
FOUND_DEAD_WITHIN = 120  # seconds


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(arguments, cluster=False, others=()):
    """The processes of a cluster of two, or a single one; all but the first also get the arguments `others`."""
    ports = free_ports(2) if cluster else []
    processes = []
    for index in range(2 if cluster else 1):
        environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
        if cluster:
            environment["TF_CONFIG"] = json.dumps({
                "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                "task": {"type": "worker", "index": index}})
        processes.append(subprocess.Popen([sys.executable, "-m", "monet", *arguments, *SETTINGS,
                                           *(others if index else ())], env=environment,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    return processes


def finished(processes, seconds=240):
    """The exit statuses and outputs, once all have ended."""
    try:
        outputs = [process.communicate(timeout=seconds)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def run(small_root, out, *more, cluster=False):
    arguments = ["run", "--data", small_root, "--out", str(out), "--epochs", "1", *more]
    statuses, outputs = finished(start(arguments, cluster))
    assert statuses == [0] * len(statuses), "\n".join(outputs)
    return outputs


def wait_for_steps(out, processes, seconds=200):
    """Waits for a checkpoint past step 0."""
    deadline = time.monotonic() + seconds
    while not any("00000000" not in path for path in list_checkpoints(str(out / "checkpoints"))):
        assert time.monotonic() < deadline and all(process.poll() is None for process in processes)
        time.sleep(0.2)


def newest_weights(out):
    return read_arrays(list_checkpoints(str(out / "checkpoints"))[0], "")


def test_two_machines_do_what_one_does_and_resume_where_they_ended(small_root, tmp_path):
    """Three steps, then two more after a restart; only the chief writes and paints."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(small_root, alone, "--steps-per-epoch", "5")
    outputs = run(small_root, together, "--steps-per-epoch", "3", "--checkpoint-minutes", "0", cluster=True)
    assert all("with 2 CPU device(s) by tensorflow in float32: from step 0 to 3" in output for output in outputs)
    assert {path.name for path in together.iterdir()} == {
        "checkpoints", "config.json", "history.csv", "images.zip", "photo_to_monet.npz", "preview.jpg", "previews",
        "report.html", "report.json", "run.log"}
    assert [path[-6:-4] for path in list_checkpoints(str(together / "checkpoints"))] == ["03", "02"]
    outputs = run(small_root, together, "--steps-per-epoch", "5", cluster=True)
    assert all("from step 3 to 5" in output for output in outputs)
    assert "images.zip with 20 images" in outputs[0] and "images.zip with" not in outputs[1]
    expected, found = newest_weights(alone), newest_weights(together)
    assert expected.pop("meta").size and found.pop("meta").size
    assert found.keys() == expected.keys()
    for name in expected:
        tolerance = 1e-4 if "/adam/" in name else 0
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=1e-5, err_msg=name)


def test_two_machines_train_for_as_many_steps_as_the_chief_plans(small_root, tmp_path):
    out = tmp_path / "out"
    statuses, outputs = finished(start(["train", "--data", small_root, "--out", str(out), "--minutes", "0.5",
                                        "--decay-start", "0.5"], cluster=True))
    assert statuses == [0, 0], "\n".join(outputs)
    [planned] = {int(re.search(r"the (?:run|schedules) end.* at step ([0-9]+)", output)[1]) for output in outputs}
    meta = read_meta(list_checkpoints(str(out / "checkpoints"))[0])
    assert (meta.step, meta.total_steps) == (planned, planned)


@pytest.mark.parametrize("dies", [0, 1])
def test_when_one_machine_dies_the_other_ends_with_an_error_and_the_checkpoint_is_whole(small_root, tmp_path, dies):
    out = tmp_path / "out"
    processes = start(["train", "--data", small_root, "--out", str(out), "--epochs", "100000",
                       "--checkpoint-minutes", "0.01"], cluster=True)
    try:
        wait_for_steps(out, processes)
        processes[dies].send_signal(signal.SIGKILL)
        killed = time.monotonic()
        [status], [output] = finished([processes[1 - dies]], FOUND_DEAD_WITHIN)
    finally:
        for process in processes:
            process.kill()
    assert time.monotonic() - killed < FOUND_DEAD_WITHIN
    assert status == 2, output
    assert "error: Another machine of the cluster" in output
    assert "Traceback" not in output
    assert read_arrays(list_checkpoints(str(out / "checkpoints"))[0])["photo_to_monet/adam/iterations"] > 0


def test_a_machine_that_cannot_start_ends_the_others_with_a_sentence(small_root, tmp_path):
    processes = start(["train", "--data", small_root, "--out", str(tmp_path), "--epochs", "1"], cluster=True,
                      others=["--data", str(tmp_path / "none")])
    statuses, outputs = finished(processes, FOUND_DEAD_WITHIN)
    assert statuses == [2, 2], outputs
    assert "error: Another machine of the cluster" in outputs[0]
    assert "Traceback" not in "".join(outputs)


def test_sigterm_to_one_machine_ends_training_on_all(small_root, tmp_path):
    out = tmp_path / "out"
    processes = start(["train", "--data", small_root, "--out", str(out), "--epochs", "100000",
                       "--checkpoint-minutes", "0.01"], cluster=True)
    try:
        wait_for_steps(out, processes)
        processes[1].send_signal(signal.SIGTERM)
        statuses, outputs = finished(processes, 120)
    finally:
        for process in processes:
            process.kill()
    assert statuses == [0, 0], outputs
    assert ["Told to terminate" in output for output in outputs] == [False, True]
    assert all("Stopping at step" in output for output in outputs)
    assert (out / "photo_to_monet.npz").exists()


def test_a_machine_that_waits_for_the_others_can_be_interrupted(small_root, tmp_path):
    [process, other] = start(["train", "--data", small_root, "--out", str(tmp_path), "--epochs", "1"], cluster=True)
    other.kill()
    try:
        while "waiting for the others" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(3)  # it says so before it waits
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT, output
    assert "Traceback" not in output


@pytest.mark.parametrize("text", [
    "{", "[]", '"worker"', '{"cluster": {"worker": ["a:1", "b:1"]}}',
    '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
    '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}',
    '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
    '{"cluster": {"worker": [1, 2]}, "task": {"type": "worker", "index": 0}}',
    '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": "first"}}'])
def test_an_invalid_cluster_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r"\$TF_CONFIG .*Unset"):
        cluster_task()


@pytest.mark.parametrize("text", ["", " ", "{}", '{"task": {"type": "worker", "index": 0}}',
                                  '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'])
def test_one_machine_is_not_a_cluster(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster_task() is None
    assert open_cluster(make_config()).writes


@pytest.mark.parametrize(("cluster", "kind", "index", "chief"), [
    ({"worker": ["a:1", "b:1"]}, "worker", 0, True), ({"worker": ["a:1", "b:1"]}, "worker", 1, False),
    ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0, False),
    ({"chief": ["a:1"], "worker": ["b:1"]}, "chief", 0, True)])
def test_one_machine_of_a_cluster_is_its_chief(monkeypatch, cluster, kind, index, chief):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))
    task = cluster_task()
    assert (task.kind, task.index, task.machines, task.chief) == (kind, index, 2, chief)
    assert open_cluster(make_config()).writes == chief


@pytest.mark.parametrize(("select_by", "words"), [("mifid", " scores MiFID"), ("best", ": colours")])
def test_the_chief_scores_checkpoints_and_the_others_wait(small_root, tmp_path, monkeypatch, select_by, words):
    write_state_dict(tmp_path / "narrow.pth", random_state(narrow=16))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "narrow.pth"))
    out = tmp_path / "together"
    outputs = run(small_root, out, "--epochs", "2", "--steps-per-epoch", "2", "--checkpoint-epochs", "1",
                  "--select-by", select_by, cluster=True)
    assert [f"Step 2{words}" in output and f"Step 4{words}" in output for output in outputs] == [True, False]
    assert {"best.npz", "scores.csv"} <= {path.name for path in out.iterdir()}
    assert "Painting with step" in outputs[0] and "images.zip with 20 images" in outputs[0]
