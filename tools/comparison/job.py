"""What one preset of a comparison does, the settings it trains with, and why it failed."""

import dataclasses
from pathlib import Path

from monet.core.config import Config
from monet.core.errors import UserError
from monet.core.presets import resolve_config
from monet.gan.systems import check_config

MAX_WIDTH, MAX_BATCH = 8, 4  # without an accelerator, so that two cores make dozens of steps a minute
# Settings of every preset, unless --set gives others: a preset made for another machine trains on this one, too.
COMMON = {"resume": False, "tensorboard": False, "accelerator": "auto", "minutes": 0.0, "max_minutes": 0.0}


@dataclasses.dataclass(frozen=True)
class Job:
    """What one preset is to do, as it is sent to its process."""

    preset: str
    data: str  # folder or gs:// address
    out: str  # folder of this preset
    seconds: float  # of training
    seed: int = 0
    width: int = 0  # most filters of a network's first layer; 0: `MAX_WIDTH`, or no limit with an accelerator
    batch_size: int = 0  # most images of each set per step; 0: `MAX_BATCH`, or no limit with an accelerator
    maps: bool = False  # keep the discriminators' maps
    values: dict = dataclasses.field(default_factory=dict)  # config fields set for all presets
    weights: str = ""  # file of the FID Inception's weights; empty: no scores


def job_config(job: Job, accelerated: bool) -> tuple[Config, list[str]]:
    """Returns the config that the job trains with, and how it reduces the preset's: 'generator_filters 64 to 8'.

    Raises:
        UserError: if the preset does not accept the settings.
    """
    if job.values.get("minutes"):
        raise UserError("--set minutes: a comparison trains each preset for --seconds. Leave it out.")
    own = resolve_config({**COMMON, **job.values, "preset": job.preset, "data": job.data, "out": job.out,
                          "seed": job.seed})
    width, batch = (job.width, job.batch_size) if accelerated else (job.width or MAX_WIDTH, job.batch_size or MAX_BATCH)
    limits = {"generator_filters": width, "discriminator_filters": width, "batch_size": batch}
    reduced = {name: limit for name, limit in limits.items() if limit and getattr(own, name) > limit}
    if not accelerated and own.precision == "bfloat16":  # a CPU only emulates it
        reduced["precision"] = "float32"
    reduced = {name: value for name, value in reduced.items() if name not in job.values}
    config = resolve_config({**dataclasses.asdict(own), **reduced})
    check_config(config)
    return config, [f"{name} {getattr(own, name)} to {value}" for name, value in reduced.items()]


def failure_reason(status: int, log: Path) -> str:
    """Returns one line on why a process ended with `status`: the signal, or the last line of its log."""
    if status < 0:
        return f"ended by signal {-status}" + ", perhaps out of memory" * (status == -9)
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"ended with status {status}"
