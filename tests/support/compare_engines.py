"""Trains with both engines from the same weights, and prints how far they are apart:

    python compare_engines.py '{"data": FOLDER, "devices": 8, …fields of Config}'

In a process of its own, because the number of devices is set before JAX and TensorFlow start. Prints JSON: the number
of devices, and the relative distances of weights, Adam's moments, averages, pools and batch statistics, of the losses,
of paintings, and of what the Monet discriminators make of paintings and fakes.
"""

import dataclasses
import json
import os
import sys

settings = json.loads(sys.argv[1])
count = settings.pop("devices", 1)
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tpu_compiler.equal import relative_distance  # noqa: E402

from monet.core.presets import resolve_config  # noqa: E402
from monet.data.hold_out import split_data  # noqa: E402
from monet.data.validation import find_data  # noqa: E402
from monet.machine.devices import choose_strategy, device_of  # noqa: E402
from monet.machine.jax_devices import open_jax_devices  # noqa: E402
from monet.training.engines import make_engine  # noqa: E402
from monet.training.settled import settled  # noqa: E402

STEPS = 5


def trained(engine, steps_per_call: int) -> tuple[np.ndarray, dict]:
    """Trains `STEPS` steps; returns the sums of the losses, and the state."""
    sums = [np.asarray(engine.run_steps(step, min(steps_per_call, STEPS - step)))
            for step in range(0, STEPS, steps_per_call)]
    return sum(sums), {name: np.asarray(array) for name, array in engine.state()}


def main() -> None:
    """Trains and compares."""
    if count > 1:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * count)
    config = resolve_config({**settings, "accelerator": "cpu"})
    data = split_data(find_data(config.data, False), config)
    engines = []
    for name, devices in (("tensorflow", choose_strategy(config)), ("jax", open_jax_devices(config))):
        own = dataclasses.replace(config, engine=name)
        engines.append(make_engine(settled(own, device_of(devices), data), data, devices))
    engines[1].load({name: np.asarray(array) for name, array in engines[0].state()}, "the other engine")
    outputs = [[value for name, value in engine.overfitting().items() if name != "r_v"] for engine in engines]
    (losses, state), (jax_losses, jax_state) = (trained(engine, config.steps_per_call or 1) for engine in engines)
    assert list(state) == list(jax_state)
    groups = {}
    for name in state:
        part = next((part for part in ("adam", "pool", "average", "moving") if f"/{part}" in name), "weights")
        groups.setdefault(part, []).append(name)
    distances = {group: relative_distance([jax_state[name] for name in names], [state[name] for name in names])
                 for group, names in groups.items()}
    photos = np.random.default_rng(0).uniform(-1, 1, [3, config.image_size, config.image_size, 3]).astype(np.float32)
    for engine in engines:
        engine.update_painter()
    paintings = [np.asarray(engine.paint(photos)) for engine in engines]
    print(json.dumps({"devices": engines[1].device.count, **distances,
                      "losses": relative_distance([jax_losses], [losses]),
                      "overfitting": relative_distance([np.array(outputs[1])], [np.array(outputs[0])]),
                      "paintings": relative_distance(paintings[1:], paintings[:1])}))


if __name__ == "__main__":
    main()
