"""Several devices match one: the same weights from the same global batch, and the same pictures."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from monet.core.config import make_config
from monet.training.arrays import value_of
from monet.training.state import system_variables
from monet.training.trainer import Trainer

pytestmark = pytest.mark.lengthy

COUNTS = (1, 2, 4)
COMPILED = "2, compiled by XLA"
SETTINGS = {"generator_filters": 2, "generator_levels": 2, "discriminator_filters": 2, "discriminator_levels": 1,
            "image_size": 32, "jitter": 40, "batch_size": 8, "epochs": 1, "steps_per_epoch": 3, "steps_per_call": 2,
            "dropout": 0.0, "gamma_mean": 1.0, "ema_decay": 0.9, "decay_start": 0.3, "tensorboard": False,
            "hold_out": 0.2}
# In its own process, because a CPU can be split into logical devices only before its first use. Each number of devices
# trains from the same seed, and saves its weights and its paintings of 5 photos, which no two can share evenly.
CODE = """
    import json, sys
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    from monet.training.arrays import value_of
    from monet.training.state import system_variables
    from monet.core.config import make_config
    from monet.data.validation import find_data
    from monet.training.trainer import Trainer
    settings, count, file = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    config = make_config(**settings)
    devices = [f"CPU:{number}" for number in range(count)]
    strategy = tf.distribute.MirroredStrategy(devices) if count > 1 else tf.distribute.get_strategy()
    trainer = Trainer(config, find_data(config.data), strategy)
    trainer.fit()
    found = {name: value_of(variable) for name, variable in system_variables(trainer.engine.system).items()}
    np.savez(file, painted=np.asarray(trainer.engine.paint(trainer.photos[:5])),
             overfitting=list(trainer.engine.overfitting().values()), **found)
    """


@pytest.fixture(scope="module")
def results(small_root, tmp_path_factory):
    """Weights and paintings by number of devices."""
    folder, found = tmp_path_factory.mktemp("devices"), {}
    for number, case in enumerate([*COUNTS, COMPILED]):
        file, compiled = folder / f"{number}.npz", case == COMPILED
        count = "2" if compiled else str(case)
        settings = {**SETTINGS, "data": small_root, "out": str(folder / str(number)),
                    "xla": "on" if compiled else "off"}
        run = subprocess.run([sys.executable, "-c", textwrap.dedent(CODE), json.dumps(settings), count, str(file)],
                             capture_output=True, text=True, timeout=400)
        assert run.returncode == 0, run.stderr
        with np.load(file) as arrays:
            found[case] = dict(arrays)
    return found


@pytest.mark.keras_2
@pytest.mark.parametrize("count", [*COUNTS[1:], COMPILED])
def test_several_devices_end_with_the_weights_of_one(results, count):
    assert results[count]["photo_to_monet/adam/iterations"] == 3
    for name, expected in results[1].items():
        if name == "overfitting":  # has its own test, and its own tolerance
            continue
        tolerance = 1e-4 if "/adam/" in name else 0  # moments are not weights, and some exceed 1
        np.testing.assert_allclose(results[count][name], expected, rtol=tolerance, atol=1e-5, err_msg=name)


def test_the_weights_are_those_of_training(results, small_data, tmp_path):
    """The weights that the devices agree on are not the initial ones."""
    config = make_config(**{**SETTINGS, "data": small_data.root, "out": str(tmp_path / "out")})
    trainer = Trainer(config, small_data, tf.distribute.get_strategy())
    for name, variable in system_variables(trainer.engine.system).items():
        if name.endswith("conv/kernel") and "/adam/" not in name and "/average/" not in name:
            assert np.abs(value_of(variable) - results[1][name]).max() > 1e-4, name


def test_several_devices_paint_what_one_paints(results):
    for count in COUNTS:
        assert results[count]["painted"].shape == (5, 256, 256, 3)
        np.testing.assert_allclose(results[count]["painted"], results[1]["painted"], atol=1e-4)


def test_several_devices_see_the_overfitting_that_one_sees(results):
    for case, found in results.items():
        assert found["overfitting"].shape == (5,)
        np.testing.assert_allclose(found["overfitting"], results[1]["overfitting"], atol=1e-3, err_msg=str(case))


# A system whose loss is a random draw.
DRAWS = """
    import json, sys
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from monet.core.config import make_config
    from monet.data.validation import find_data
    from monet.training.engine import make_steps, open_batches

    class Chance:
        networks, optimizers, length, loss_scale, loss_names = {}, {}, 9, None, ("draw",)

        def losses_and_gradients(self, photo, monet, seed, progress, share):
            return {"draw": tf.random.stateless_uniform([], seed)}, {}

    settings = json.loads(sys.argv[1])
    config, found = make_config(**settings), []
    for devices in (["CPU:0"], ["CPU:0", "CPU:1"], ["CPU:0", "CPU:1"]):
        strategy = tf.distribute.MirroredStrategy(devices)
        steps = make_steps(strategy, Chance(), config)
        batches = open_batches(strategy, find_data(config.data), config, 0)
        found.append([float(steps(batches, *map(tf.constant, (step, step, 1)))[0]) for step in (0, 1, 2)])
    print(json.dumps(found))
    """


def test_each_device_and_step_has_its_own_repeatable_draw(small_root):
    """The loss of two devices is the mean of the first one's draw and another."""
    settings = {**SETTINGS, "data": small_root}
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(DRAWS), json.dumps(settings)], capture_output=True,
                         text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    one, two, again = json.loads(run.stdout.splitlines()[-1])
    assert two == again
    others = [2 * mean - first for first, mean in zip(one, two, strict=True)]
    draws = [*one, *others]
    assert all(0 <= draw < 1 for draw in draws)
    assert min(abs(a - b) for number, a in enumerate(draws) for b in draws[:number]) > 1e-3
