"""A system's whole state by name: weights, optimizers, averages, pools. Checkpoints use these names.

The names are the project's own (`photo_to_monet/down1_conv/kernel`), so a checkpoint outlives the version of Keras that
wrote it.
"""

import re
from collections.abc import Iterator

import numpy as np
from tensorflow import keras

from monet.core.keras_compat import adam_slots, weight_names
from monet.gan.optimizers import averages
from monet.training.arrays import LazyArray, assign_arrays, value_of

AVERAGE = "average/"  # prefix of the names of moving averages, after their network's


def adam_variables(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict:
    """The variables of the Adam that trains `network`, by name: its step count, and two moments per weight."""
    names = {id(variable): name for name, variable in weight_names(network).items()}
    found = {"iterations": optimizer.iterations}
    for variable, first, second in zip(network.trainable_variables, *adam_slots(optimizer), strict=True):
        found[f"m/{names[id(variable)]}"] = first
        found[f"v/{names[id(variable)]}"] = second
    return found


def player_variables(system) -> dict:
    """The players' state besides their weights: variables by name."""
    return {f"{name}/{key}": variable for name, state in system.states.items() for key, variable in state.items()}


def system_variables(system) -> dict:
    """Every variable that the training of a system (such as `monet.gan.cyclegan.CycleGan`) needs to resume, by name."""
    found = {}
    for name, network in system.networks.items():
        optimizer, names = system.optimizers[name], weight_names(network)
        found |= {f"{name}/{key}": variable for key, variable in names.items()}
        found |= {f"{name}/adam/{key}": variable for key, variable in adam_variables(network, optimizer).items()}
        own = {id(variable): key for key, variable in names.items()}
        found |= {f"{name}/{AVERAGE}{own[id(variable)]}": mean for variable, mean in averages(network, optimizer)}
    return found | player_variables(system)


def fitted_arrays(system, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint, for a system with more or less state than the one that wrote it.

    A missing moving average starts from the weights. A player's state starts anew if any of it is missing or has
    another shape. Averages, pools, loss scales and probabilities of augmentation that the system does not have are left
    out.
    """
    variables = system_variables(system)
    found = {name: array for name, array in arrays.items()
             if name in variables or not re.search(rf"/(?:{AVERAGE}|pool/|augment/)|^loss_scale/", name)}
    for name in variables:
        if f"/{AVERAGE}" in name:
            found.setdefault(name, arrays.get(name.replace(f"/{AVERAGE}", "/")))
    for player in system.states:
        own = {name: variable for name, variable in player_variables(system).items() if name.startswith(f"{player}/")}
        if any(name not in arrays or arrays[name].shape != tuple(variable.shape) for name, variable in own.items()):
            found |= {name: value_of(variable) for name, variable in own.items()}
    return found


def state_of(system) -> Iterator[tuple[str, LazyArray]]:
    """All of `system_variables`, as arrays by name."""
    return ((name, LazyArray(variable)) for name, variable in system_variables(system).items())


def load_state(system, arrays: dict[str, np.ndarray], source: str) -> None:
    """Loads what `state_of` returned for a system with the same networks.

    Raises:
        UserError: naming `source` and the first array that does not fit.
    """
    assign_arrays(system_variables(system), fitted_arrays(system, arrays), source)
