"""What one preset of a comparison is to do, and the settings it then trains with."""

import dataclasses

from monet.core.config import Config
from monet.core.presets import resolve_config
from monet.gan.systems import check_config

WIDTH, BATCH = 8, 4  # at most, without an accelerator: every preset gets dozens of steps a minute on two cores
# For all presets, unless --set says otherwise: a preset made for another machine still trains on this one.
COMMON = {"resume": False, "tensorboard": False, "accelerator": "auto", "max_minutes": 0.0}


@dataclasses.dataclass(frozen=True)
class Job:
    """What one preset is to do, in the form that goes to its process."""

    preset: str
    data: str  # folder or gs:// address
    out: str  # folder of this preset
    seconds: float  # of training
    seed: int = 0
    width: int = 0  # most filters of a network's first layer; 0: as the machine demands
    batch_size: int = 0  # likewise
    maps: bool = False  # keep the discriminators' maps, too
    values: dict = dataclasses.field(default_factory=dict)  # fields set for all presets
    weights: str = ""  # file of the FID Inception's; empty: FID is not measured


def job_config(job: Job, accelerated: bool) -> tuple[Config, list[str]]:
    """The config that the job trains, and what it reduces of the preset's: 'generator_filters 64 to 8'.

    Raises:
        UserError: for settings that the preset does not take.
    """
    own = resolve_config({**COMMON, **job.values, "preset": job.preset, "data": job.data, "out": job.out,
                          "seed": job.seed})
    width, batch = (job.width, job.batch_size) if accelerated else (job.width or WIDTH, job.batch_size or BATCH)
    most = {"generator_filters": width, "discriminator_filters": width, "batch_size": batch}
    reduced = {name: value for name, value in most.items() if value and getattr(own, name) > value}
    if not accelerated and own.precision == "bfloat16":  # a CPU only emulates it
        reduced["precision"] = "float32"
    reduced = {name: value for name, value in reduced.items() if name not in job.values}
    config = resolve_config({**dataclasses.asdict(own), **reduced})
    check_config(config)
    return config, [f"{name} {getattr(own, name)} to {value}" for name, value in reduced.items()]
