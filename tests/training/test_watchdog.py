"""monet.training.watchdog: when a call is hung, and what then happens to the process."""

import json
import os
import subprocess
import sys
import textwrap
import zipfile

from console import module_environment

import numpy as np
import pytest
from support.settings import TESTS, TINY

from monet.machine.restarts import FIRST_START_VARIABLE, HUNG_VARIABLE
from monet.training.checkpoint import list_checkpoints
from monet.training.engines import choose_devices
from monet.training.trainer import Trainer
from monet.training.watchdog import CHECK_SECONDS, COMPILING_SECONDS, LEAST_SECONDS, TIMES_LONGEST, Watchdog


class Watched:
    """A watchdog with a clock that only `wait` moves."""

    def __init__(self):
        self.time = 0.0
        self.dog = Watchdog(lambda: self.time)

    def wait(self, seconds):
        """Lets time pass; returns after how much of it the call was hung, or None."""
        for passed in np.arange(CHECK_SECONDS, seconds + 1, CHECK_SECONDS):
            self.time += CHECK_SECONDS
            if self.dog.hung():
                return passed
        return None

    def make_calls(self, name, *seconds):
        for each in seconds:
            with self.dog.call(name):
                assert self.wait(each) is None


@pytest.fixture
def watched():
    return Watched()


def hangs_after(watched, name):
    with watched.dog.call(name):
        return watched.wait(10 * COMPILING_SECONDS) - CHECK_SECONDS


def test_the_first_calls_may_compile(watched):
    assert hangs_after(watched, "steps") == COMPILING_SECONDS == 20 * 60
    watched.make_calls("painting", 700)
    assert hangs_after(watched, "painting") == COMPILING_SECONDS  # how long it takes without compiling is not known yet


@pytest.mark.parametrize(("longest", "limit"), [(0, LEAST_SECONDS), (5, 300), (45, 450), (400, 4000)])
def test_later_ones_have_five_minutes_and_ten_times_the_longest(watched, longest, limit):
    assert (LEAST_SECONDS, TIMES_LONGEST) == (300, 10)
    watched.make_calls("steps", 1000, longest, 0)  # compiling does not count
    watched.make_calls("saving", 1000, 1000)  # nor do others
    assert hangs_after(watched, "steps") == limit


def test_nothing_hangs_between_calls_and_after_an_error(watched):
    watched.make_calls("steps", 1, 1)
    assert watched.wait(1e5) is None
    with pytest.raises(ValueError, match="broken"), watched.dog.call("steps"):
        raise ValueError("broken")
    assert watched.wait(1e5) is None


def test_a_call_within_a_call_has_its_own_time(watched):
    paint = watched.dog.watched(lambda images: (watched.wait(200), images)[1])
    with watched.dog.call("score"):
        for _ in range(20):
            np.testing.assert_array_equal(paint([1, 2]), [1, 2])
            assert watched.wait(200) is None
        assert hangs_after(watched, "painting 2 images") == 2000
        assert watched.wait(COMPILING_SECONDS + 5) == COMPILING_SECONDS + 5


def test_time_in_which_the_process_stood_still_does_not_count(watched):
    watched.make_calls("steps", 1, 1)
    with watched.dog.call("steps"):
        for _ in range(20):
            watched.time += 3600
            assert not watched.dog.hung()


def test_a_run_watches_all_that_waits_for_the_device(tiny, small_data):
    config = tiny(max_minutes=30.0, num_images=20, epochs=1)
    trainer = Trainer(config, small_data, choose_devices(config), deadline=float("inf"), hands_in=True)
    trainer.fit()
    trainer.paint(trainer.photos)
    counts = trainer.watchdog.counts
    assert counts["steps"] == 3
    assert counts["losses"] >= 1 and counts["saving"] == counts["preview"] == 2
    assert counts["painting 16 images"] >= 3 and counts["painting 8 images"] == 1


# The process. These start one that does not load TensorFlow.

PROGRAM = """
    import fcntl, logging, os, sys, threading
    from monet.core.errors import LOG
    from monet.machine.restarts import first_start, past_hangs
    from monet.training import watchdog
    LOG.addHandler(logging.StreamHandler())
    watchdog.CHECK_SECONDS, watchdog.COMPILING_SECONDS = 0.05, 0.2
    print(os.getpid(), sys.argv[1:], past_hangs(), first_start(3.0), os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    device_file = open("lock", "w")
    os.set_inheritable(device_file.fileno(), True)  # as C code opens files
    fcntl.flock(device_file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails if the start before still holds it

    def wait_for_the_device():
        dog = watchdog.Watchdog()
        dog.start("GPU:tensorflow", {is_single}, 2.5)
        lock = threading.Lock()
        with dog.call("steps"), lock, lock:  # for ever, in C
            pass

    {more}
    if len(past_hangs()) < 2:
        wait_for_the_device()
    """


def run_program(folder, is_single=True, more=""):
    path = folder / "program.py"
    path.write_text(textwrap.dedent(PROGRAM.format(is_single=is_single, more=more)))
    return subprocess.run([sys.executable, path, "--word", "two words"], cwd=folder, env=module_environment(),
                          capture_output=True, text=True, timeout=60)


def test_a_hung_process_starts_anew_with_the_same_words_and_nothing_open(tmp_path):
    process = run_program(tmp_path)
    assert process.returncode == 0, process.stderr
    first, second, third = process.stdout.splitlines()
    number, rest = first.split(" ", 1)
    assert rest == "['--word', 'two words'] [] 3.0 None"
    assert second == f"{number} ['--word', 'two words'] ['GPU:tensorflow'] 2.5 None"
    assert third == f"{number} ['--word', 'two words'] ['GPU:tensorflow', 'GPU:tensorflow'] 2.5 -1"
    assert process.stderr.count("in wait_for_the_device") == 2  # in the stacks
    assert "without XLA" in process.stderr and "on the CPU" in process.stderr


@pytest.mark.parametrize(("is_single", "more", "said"), [
    (False, "", "several machines"),
    (True, "sys.modules['ipykernel'] = sys", "run all cells"),
    (True, "sys.executable = '/no/python'", "failed")], ids=["cluster", "notebook", "failure"])
def test_what_cannot_restart_ends_and_says_how_to_go_on(tmp_path, is_single, more, said):
    process = run_program(tmp_path, is_single, more)
    assert process.returncode == 2
    assert len(process.stdout.splitlines()) == 1
    assert said in process.stderr and "newest checkpoint" in process.stderr
    assert "in wait_for_the_device" in process.stderr and "Traceback" not in process.stderr


# The run.


def test_a_restarted_run_resumes_even_if_it_had_set_an_earlier_one_aside(tiny, small_data, trained_out, monkeypatch):
    monkeypatch.setenv(HUNG_VARIABLE, "CPU:tensorflow")
    config = tiny(resume=False)
    trainer = Trainer(config, small_data, choose_devices(config))
    assert trainer.state.step == 6
    assert json.loads((trained_out / "config.json").read_text())["resume"] is False


SETTINGS = {**TINY, "accelerator": "cpu", "num_images": 40, "checkpoint_minutes": 0.0, "steps_per_epoch": 5}


def hanging_run(hangs, root, out, **settings):
    words = [f"--{name.replace('_', '-')}={str(value).lower()}" for name, value in {**SETTINGS, **settings}.items()]
    process = subprocess.run([sys.executable, TESTS / "support" / "hanging_run.py", str(hangs), "run", "--data", root,
                              "--out", out, *words], capture_output=True, text=True, timeout=300,
                             env={name: value for name, value in module_environment().items()
                                  if name not in (HUNG_VARIABLE, FIRST_START_VARIABLE)})
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("in hanging_step") == hangs
    assert (out / "run.log").read_text().count("in hanging_step") == hangs
    with zipfile.ZipFile(out / "images.zip") as archive:
        assert archive.testzip() is None and len(archive.namelist()) == SETTINGS["num_images"]
    return process.stderr


def steps_done(out):
    return int(os.path.basename(list_checkpoints(str(out / "checkpoints"))[0])[5:-4])


@pytest.mark.lengthy
@pytest.mark.keras_2
def test_a_step_that_sleeps_is_survived(small_root, tmp_path):
    """Also with --resume false, which must not set aside what the first start trained."""
    out = tmp_path / "out"
    log = hanging_run(1, small_root, out, resume=False)
    assert "Resuming from step 4" in log
    assert steps_done(out) == 10
    assert json.loads((out / "config.json").read_text())["resume"] is False
    assert not (out / "previous-1").exists()


@pytest.mark.lengthy
def test_after_a_second_hang_the_cpu_paints(small_root, tmp_path):
    out = tmp_path / "out"
    log = hanging_run(2, small_root, out, max_minutes=20.0)
    assert "Resuming from step 4" in log and "Painting with step 8" in log
    assert steps_done(out) == 8
    assert "refuses fewer than 7000" in log
