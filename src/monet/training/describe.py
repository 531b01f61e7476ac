"""The command `describe`: what a run would be, before it is one."""

import dataclasses

from monet.core.config import FIELDS, Config
from monet.core.errors import UserError
from monet.gan.systems import SYSTEMS
from monet.machine.devices import choose_strategy, devices_found, set_precision
from monet.networks.build import parameter_count
from monet.training.run import open_data


def describe_command(config: Config) -> int:
    """`describe`: the resolved config, the networks' sizes, the device and the data."""
    for name, value in dataclasses.asdict(config).items():
        mark = " " if value == FIELDS[name].default else "*"
        print(f"{mark} {name:22} {value!s:12} {FIELDS[name].metadata['help']}")
    print("(* not the tutorial's value)\n")
    strategy = choose_strategy(config, alone=True)
    precision = set_precision(config, strategy)
    for name, network in SYSTEMS[config.system](config).networks.items():
        print(f"{name:22} {parameter_count(network):>12,} parameters")
    print(f"device                 {strategy.num_replicas_in_sync} of {devices_found()}, {precision}")
    try:
        print(f"data                   {open_data(config).describe()}")
    except UserError as error:
        if config.data:
            raise
        print(f"data                   none: {error}")
    return 0
