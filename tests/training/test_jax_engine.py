"""monet.training.jax_engine: the same training as TensorFlow's, on devices of JAX. Both run on CPU devices here."""

import dataclasses
import importlib.metadata
import json
import subprocess
import sys

from console import module_environment

import numpy as np
import pytest
import tensorflow as tf
from benchmark.inception_state import random_state, write_state_dict
from support.settings import ROOT, TESTS, TINY

from monet.core.array_files import read_arrays
from monet.core.config import make_config
from monet.core.errors import UserError
from monet.core.random_numbers import device_generator, fold_in, split_seed, uniform
from monet.machine import jax_devices
from monet.machine.cluster import open_cluster
from monet.machine.devices import Device, precision_for
from monet.machine.jax_devices import JaxDevices, check_jax, open_jax_devices, probe_jax
from monet.machine.restarts import HUNG_VARIABLE
from monet.scoring.inception_weights import WEIGHTS_VARIABLE
from monet.submission.painter import make_painter
from monet.training import engines
from monet.training.best_generator import read_best
from monet.training.engines import choose_devices
from monet.training.settled import compiles_at_first_call, settled
from monet.training.state import system_variables
from monet.training.trainer import Trainer

needs_jax = pytest.mark.skipif(sys.version_info < (3, 12), reason="no JAX goes with Python 3.11's TensorFlow")
# Adam divides by a gradient's own size: where gradients are nearly 0, it turns rounding errors into whole steps. With
# these settings they are not, and the step is small.
SMOOTH = {"norm_epsilon": 1.0, "gamma_mean": 1.0, "learning_rate": 2e-5}
TOLERANCE = 1e-4


def compare_engines(root: str, python=sys.executable, **settings) -> dict[str, float]:
    """The distances that support/compare_engines.py prints."""
    request = {"data": root, **{name: value for name, value in TINY.items() if name != "batch_size"},
               "steps_per_epoch": 5, "hold_out": 0.2, **SMOOTH, **settings}
    process = subprocess.run([python, TESTS / "support" / "compare_engines.py", json.dumps(request)], cwd=ROOT,
                             capture_output=True, text=True, env=module_environment())
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout.splitlines()[-1])


def check_equal(distances: dict[str, float], devices: int = 1) -> None:
    assert distances.pop("devices") == devices
    # A value at the kink of a ReLU shows in what follows from single gradients: Adam's moments, a few paintings.
    coarse = {name: distances.pop(name) for name in ("adam", "paintings")}
    assert max(distances.values()) < TOLERANCE, distances
    assert 0 < max(coarse.values()) < 100 * TOLERANCE, coarse  # two programs, not one


@needs_jax
@pytest.mark.lengthy
@pytest.mark.parametrize("preset", ["tutorial", "paper", "unet-32", "residual-unet", "cut", "cpu", "tpu"])
def test_weights_equal_those_of_the_tensorflow_engine(small_root, preset):
    check_equal(compare_engines(small_root, preset=preset, batch_size=2))


REGULARIZED = {"gradient_penalty": 1.0, "penalty_every": 2, "discriminator_rate": 1e-5, "label_smoothing": 0.1,
               "instance_noise": 0.1, "diffaugment": "color,translation,cutout", "color_strength": 0.2,
               "augment_target": 0.6, "augment_start": 0.5, "augment_kimg": 0.1, "monet_turns": True}


@needs_jax
@pytest.mark.lengthy
@pytest.mark.parametrize("settings", [
    {"preset": "tutorial"}, {"preset": "tutorial", "discriminator_norm": "none"},
    {"preset": "cut", "discriminator_norm": "spectral", "steps_per_call": 3}], ids=["cyclegan", "none", "spectral"])
def test_what_keeps_discriminators_in_doubt_is_the_same(small_root, settings):
    check_equal(compare_engines(small_root, batch_size=2, **REGULARIZED, **settings))


@needs_jax
@pytest.mark.lengthy
@pytest.mark.parametrize("settings", [
    {"preset": "residual-unet", "image_pool": 3, "diffaugment": "color,translation,cutout", "ema_decay": 0.9,
     "steps_per_call": 3},
    {"preset": "cut"}], ids=["cyclegan", "cut"])
def test_eight_devices_share_a_batch_as_under_a_mirrored_strategy(small_root, settings):
    """With all that a device has of its own: dropout, augmentation, a pool, batch statistics; in calls of 3 and 2."""
    check_equal(compare_engines(small_root, devices=8, batch_size=8, **settings), devices=8)


@needs_jax
@pytest.mark.lengthy
def test_kaggles_release_of_jax_computes_the_same(small_root, tpu_python):
    """0.7.2, in the environment of `make tpu-env`."""
    check_equal(compare_engines(small_root, tpu_python, preset="tutorial", batch_size=2, devices=2), devices=2)


@pytest.fixture
def jax_run(tiny, small_data):
    """A function that trains with an engine, to the end, and returns the trainer."""
    def run(engine, **settings):
        config = tiny(engine=engine, accelerator="cpu", **settings)
        trainer = Trainer(config, small_data, choose_devices(config))
        trainer.fit()
        return trainer

    return run


@needs_jax
@pytest.mark.lengthy
def test_a_run_continues_with_the_other_engine(jax_run, tmp_path):
    whole = jax_run("tensorflow", epochs=3, out=str(tmp_path / "whole"), **SMOOTH)
    for epochs, engine in enumerate(("jax", "tensorflow", "jax"), 1):
        parts = jax_run(engine, epochs=epochs, out=str(tmp_path / "parts"), decay_start=1.0, **SMOOTH)
        assert parts.state.step == epochs * 3
        assert parts.engine.device.engine == engine
    expected = {name: np.asarray(variable) for name, variable in system_variables(whole.engine.system).items()}
    for name, array in parts.engine.state():
        np.testing.assert_allclose(np.asarray(array), expected[name], atol=TOLERANCE, err_msg=name)
    with open(parts.files.history, encoding="utf-8") as file:
        assert len(file.readlines()) == 4  # a header, and a reading at the end of each part


@needs_jax
@pytest.mark.lengthy
def test_bfloat16_trains_several_steps_a_call_and_stays_finite(jax_run):
    trainer = jax_run("jax", precision="bfloat16", steps_per_call=2, image_pool=4, ema_decay=0.9)
    assert trainer.state.step == 6
    for name, array in trainer.engine.state():
        assert np.isfinite(np.asarray(array)).all(), name


def seeds_and_numbers(number):
    seeds = split_seed(fold_in([1, 2], number), 3)
    return [*seeds, uniform([2, 5], seeds[1]), fold_in(seeds[2], number)]


@pytest.mark.parametrize("number", [0, 7, 2**31 - 1])
def test_compiled_graphs_draw_the_same_numbers(number):
    number = tf.constant(number)
    compiled = tf.function(seeds_and_numbers, jit_compile=True, autograph=False)(number)
    for actual, expected in zip(compiled, seeds_and_numbers(number), strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_the_devices_own_generator_draws_uniformly_by_the_seed():
    with device_generator():
        draw = tf.function(lambda seed: uniform([10_000], seed), jit_compile=True,
                           input_signature=[tf.TensorSpec([2], tf.int32)]).get_concrete_function()
    first, again, other = (draw(tf.constant(seed)).numpy() for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first, again)
    assert 0 <= first.min() < 0.01 and 0.99 < first.max() < 1
    assert abs(first.mean() - 0.5) < 0.01 and abs(first.std() - 12**-0.5) < 0.01
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05


def test_what_the_device_decides_is_decided_for_jaxs_device():
    config = make_config()
    tpu = settled(config, Device("TPU", 8, engine="jax"))
    assert (tpu.precision, tpu.space_to_depth, tpu.steps_per_call) == ("bfloat16", "on", 25)
    assert precision_for("auto", Device("GPU", 1, (9, 0), "jax")) == "bfloat16"
    assert precision_for("auto", Device("GPU", 2, (7, 5), "jax")) == "float32"  # float16 needs a loss scale
    with pytest.raises(UserError, match="float16"):
        precision_for("float16", Device("GPU", 1, (9, 0), "jax"))
    assert compiles_at_first_call(settled(config, Device("CPU", engine="jax")), Device("CPU", engine="jax"))


def test_an_unknown_engine_is_refused():
    with pytest.raises(UserError, match="tensorflow, jax"):
        make_config(engine="torch")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="of Python 3.11")
def test_python_3_11_has_no_jax_engine():
    with pytest.raises(UserError, match=r"3\.12"):
        choose_devices(make_config(engine="jax"))


@needs_jax
def test_jax_that_is_missing_or_too_old_is_named(monkeypatch):
    monkeypatch.setattr(jax_devices, "OLDEST_JAX", (99, 0))
    with pytest.raises(UserError, match=r"older than 99\.0"):
        check_jax()

    def no_jax(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", no_jax)
    with pytest.raises(UserError, match="EXTRAS=jax"):
        check_jax()
    assert probe_jax()[0] is None


@needs_jax
def test_an_accelerator_that_jax_does_not_see_is_an_error():
    with pytest.raises(UserError, match="--accelerator tpu"):
        open_jax_devices(make_config(engine="jax", accelerator="tpu"))


@needs_jax
def test_jax_trains_on_one_machine(monkeypatch):
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(UserError, match="TF_CONFIG"):
        open_jax_devices(make_config(engine="jax"), open_cluster(make_config()))


@needs_jax
def test_auto_asks_jax_about_a_gpu_that_tensorflow_does_not_see(tmp_path, monkeypatch, caplog):
    """Here JAX, asked in a process of its own, sees none either: TensorFlow trains on the CPU."""
    driver = tmp_path / "nvidiactl"
    driver.touch()
    monkeypatch.setattr(engines, "NVIDIA_DRIVER", str(driver))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert isinstance(choose_devices(make_config()), tf.distribute.Strategy)
    assert "TensorFlow sees 1 CPU" in caplog.text and "sees 1 CPU" in caplog.text.split("TensorFlow sees 1 CPU")[1]
    caplog.clear()
    assert isinstance(choose_devices(make_config(engine="tensorflow")), tf.distribute.Strategy)
    assert isinstance(choose_devices(make_config(accelerator="cpu")), tf.distribute.Strategy)
    assert not caplog.text


@needs_jax
@pytest.mark.parametrize("accelerator", ["gpu", "tpu"])
def test_what_each_engine_saw_is_said_of_an_accelerator_that_is_missing(monkeypatch, caplog, accelerator):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(UserError, match=f"--accelerator {accelerator}"):
        choose_devices(make_config(accelerator=accelerator))
    assert "TensorFlow sees 1 CPU" in caplog.text and "sees 1 CPU" in caplog.text.split("TensorFlow sees 1 CPU")[1]


@needs_jax
def test_auto_takes_jax_where_it_sees_what_tensorflow_does_not(tmp_path, monkeypatch, caplog):
    driver = tmp_path / "nvidiactl"
    driver.touch()
    monkeypatch.setattr(engines, "NVIDIA_DRIVER", str(driver))
    monkeypatch.setitem(jax_devices.KINDS, "cpu", "GPU")  # as if JAX's CPU were one
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    caplog.set_level("INFO")
    devices = choose_devices(dataclasses.replace(make_config()))
    assert devices.device == Device("GPU", 1, (0, 0), "jax")
    assert "Engine: jax" in caplog.text


@needs_jax
def test_after_a_hang_on_a_tpu_the_other_engine_goes_on(monkeypatch, caplog):
    """Here both see only a CPU."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv(HUNG_VARIABLE, "TPU:tensorflow")
    assert isinstance(choose_devices(make_config(engine="tensorflow")), JaxDevices)
    assert not caplog.text
    assert isinstance(choose_devices(make_config(accelerator="tpu")), tf.distribute.Strategy)
    assert "Going on with the CPU" in caplog.text
    monkeypatch.setenv(HUNG_VARIABLE, "TPU:jax")
    assert isinstance(choose_devices(make_config(engine="jax")), tf.distribute.Strategy)


@needs_jax
@pytest.mark.parametrize("asked", ["auto", "tensorflow", "jax"])
def test_a_hang_elsewhere_does_not_change_what_was_asked(monkeypatch, asked):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv(HUNG_VARIABLE, "CPU:tensorflow")
    assert isinstance(choose_devices(make_config(engine=asked)), JaxDevices) == (asked == "jax")


@needs_jax
@pytest.mark.lengthy
@pytest.mark.parametrize("select_by", ["mifid", "best"])
def test_the_best_checkpoint_is_kept_and_handed_in(jax_run, tmp_path, monkeypatch, select_by):
    write_state_dict(tmp_path / "narrow.pth", random_state(narrow=16))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "narrow.pth"))
    trainer = jax_run("jax", select_by=select_by, checkpoint_epochs=1, gamma_mean=1.0, ema_decay=0.5)
    kept, handed_in = read_arrays(trainer.files.best), read_arrays(trainer.files.generator)
    assert read_best(trainer.files.best).step in (3, 6) and len(trainer.selection.rows) == 2
    for name, array in handed_in.items():
        np.testing.assert_array_equal(array, kept[name], err_msg=name)
    photos = np.random.default_rng(0).uniform(-1, 1, [16, 64, 64, 3]).astype(np.float32)
    painted = make_painter(trainer.engine.painter)(tf.constant(photos))  # with TensorFlow's copy of the weights
    np.testing.assert_allclose(np.asarray(trainer.paint(photos)), painted, atol=1e-3)
