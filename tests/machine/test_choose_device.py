"""monet.machine.devices: available devices are used, and missing ones are reported."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.machine.devices import (
    call_with_timeout,
    check_reach,
    choose_strategy,
    device_of,
    keep_operations_on_one_core,
    precision_for,
    set_precision,
)


@pytest.fixture
def no_tpu(monkeypatch):
    for name in ("TPU_NAME", "TPU_ACCELERATOR_TYPE", "ISTPUVM"):
        monkeypatch.delenv(name, raising=False)


def test_the_cpu_is_one_device(no_tpu):
    assert choose_strategy(make_config(accelerator="cpu")).num_replicas_in_sync == 1


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="this machine has a GPU")
def test_a_missing_gpu_is_an_error_that_lists_the_devices(no_tpu):
    with pytest.raises(UserError, match="--accelerator gpu: .* 1 CPU"):
        choose_strategy(make_config(accelerator="gpu"))


def test_a_missing_tpu_is_an_error_that_lists_the_devices(no_tpu):
    with pytest.raises(UserError, match="--accelerator tpu: .* 1 CPU"):
        choose_strategy(make_config(accelerator="tpu"))


@pytest.mark.parametrize(("name", "root", "reached"), [
    ("", "/data", True), ("local", "/data", True), ("tpu-1", "gs://bucket/data", True), ("tpu-1", "/data", False)])
def test_a_tpu_on_another_machine_reads_only_buckets(monkeypatch, name, root, reached):
    monkeypatch.setenv("TPU_NAME", name)
    if reached:
        check_reach(root)
    else:
        with pytest.raises(UserError, match="tpu-1 .*--data gs://BUCKET/FOLDER"):
            check_reach(root)


def test_a_hanging_call_times_out():
    assert call_with_timeout(5, lambda: 7) == 7
    with pytest.raises(TimeoutError, match=r"\b0\.1 s"):
        call_with_timeout(0.1, lambda: time.sleep(60))
    with pytest.raises(ValueError, match="of its own"):
        call_with_timeout(5, lambda: int("of its own"))


def test_a_hanging_call_does_not_keep_the_program_from_ending():
    code = """
        import time
        from monet.machine.devices import call_with_timeout
        try:
            call_with_timeout(0.1, lambda: time.sleep(600))
        except TimeoutError as error:
            print(error)
        """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and run.stdout.endswith(" 0.1 s\n"), run.stderr


def test_a_tpu_that_does_not_start_is_an_error_and_not_a_run_on_the_cpu(tmp_path):
    """This TensorFlow was built without TPUs, like that of Kaggle's TPU image; the environment names one."""
    environment = {**os.environ, "TPU_ACCELERATOR_TYPE": "v5litepod-8"}
    run = subprocess.run([sys.executable, "-m", "monet", "train", "--out", str(tmp_path)], env=environment,
                         capture_output=True, text=True, timeout=240)
    assert run.returncode == 2
    assert "error: The TPU of this machine" in run.stderr
    assert " 1 CPU" in run.stderr and "--accelerator gpu or cpu" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.lengthy
def test_an_unknown_tpu_is_an_error_about_the_tpu(tmp_path):
    """Which takes 3 minutes to give up; here, 5 seconds."""
    program = ("from monet import cli; from monet.machine import devices; devices.TPU_START_SECONDS = 5; "
               f"raise SystemExit(cli.main(['train', '--out', {str(tmp_path)!r}]))")
    run = subprocess.run([sys.executable, "-c", program], env={**os.environ, "TPU_NAME": "grpc://127.0.0.1:1"},
                         capture_output=True, text=True, timeout=240)
    assert run.returncode == 2
    assert "error: The TPU of this machine" in run.stderr and "Traceback" not in run.stderr


def test_an_invalid_cluster_ends_with_a_sentence(tmp_path):
    run = subprocess.run([sys.executable, "-m", "monet", "train", "--out", str(tmp_path)],
                         env={**os.environ, "TF_CONFIG": "{worker"}, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert "error: $TF_CONFIG" in run.stderr and "Traceback" not in run.stderr


def test_precision_is_that_of_the_networks_built_next():
    device = device_of(tf.distribute.get_strategy())
    assert precision_for("auto", device) == "float32"
    assert tf.keras.layers.Dense(1).compute_dtype == "float32"
    set_precision(precision_for("bfloat16", device))
    layer = tf.keras.layers.Dense(1)
    assert (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32")


def test_on_two_cores_an_operation_has_one_thread(monkeypatch):
    """In its own process, because the number of threads is fixed with TensorFlow's first computation."""
    code = """
        import os
        import tensorflow as tf
        from monet.core.config import make_config
        from monet.machine.devices import choose_strategy, keep_operations_on_one_core
        threads = tf.config.threading.get_intra_op_parallelism_threads
        os.cpu_count = lambda: 8
        keep_operations_on_one_core()
        print(threads())
        os.cpu_count = lambda: 2
        os.environ["TF_NUM_INTRAOP_THREADS"] = "2"
        keep_operations_on_one_core()
        print(threads())
        del os.environ["TF_NUM_INTRAOP_THREADS"]
        choose_strategy(make_config(accelerator="cpu"))
        print(threads())
        """
    output = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                            timeout=120, check=True).stdout
    assert output.split() == ["0", "0", "1"]
    tf.constant(1.0) + 1.0
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    keep_operations_on_one_core()  # too late, and no error


def test_several_devices_share_the_batch():
    """In its own process, because a CPU can be split into logical devices only before its first use."""
    code = """
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from monet.machine.devices import choose_strategy, device_of
        from monet.training.settled import check_batch
        from monet.core.config import make_config
        from monet.core.errors import UserError
        strategy = choose_strategy(make_config(accelerator="cpu", batch_size=4))
        print(strategy.num_replicas_in_sync)
        check_batch(make_config(batch_size=4), device_of(strategy))
        try:
            check_batch(make_config(batch_size=3), device_of(strategy))
        except UserError as error:
            print(error)
        """
    output = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                            timeout=120, check=True).stdout
    assert output.splitlines()[0] == "2"
    assert "--batch-size 3 " in output and " multiple of 2." in output


def test_a_run_on_several_devices_trains_and_paints(small_root, tmp_path):
    code = f"""
        import sys
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from monet.cli import main
        sys.exit(main("run --accelerator cpu --batch-size 2 --generator-filters 2 --generator-levels 3 --image-size 64 "
                      "--jitter 0 --discriminator-filters 2 --epochs 1 --steps-per-epoch 3 --num-images 20 "
                      "--tensorboard false --ema-decay 0.9".split()
                      + ["--data", {small_root!r}, "--out", {str(tmp_path)!r}]))
        """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "with 2 CPU device(s) by tensorflow in float32: from step 0 to 3" in run.stderr
    assert "images.zip with 20 images" in run.stderr
