"""The named configurations: what each changes of the defaults, and where it comes from."""

from collections.abc import Mapping

from monet.config import Config, UserError, make_config, pick, read_config_values

PRESETS = {
    # The Monet CycleGAN tutorial (Amy Jang, Kaggle 2020): Config's own defaults.
    "tutorial": {},
    "cpu": {},
}


def resolve_config(overrides: Mapping, config_file: str = "") -> Config:
    """The config that a command line asks for.

    Later wins: Config's defaults, the preset, the fields of `config_file` (a run's config.json), `overrides`.

    Args:
        overrides: field values by name, as the command line gives them; `preset` among them.
        config_file: path of a JSON file with field values, or empty.

    Raises:
        UserError: for an unknown preset, a preset beside a file, or anything that `make_config` refuses.
    """
    if config_file and "preset" in overrides:
        raise UserError("--preset and --config exclude each other: the file already says every setting. Give one of "
                        "them, and single settings beside it.")
    from_file = read_config_values(config_file) if config_file else {}
    preset = {"preset": Config.preset, **from_file, **overrides}["preset"]
    return make_config(**{**pick(PRESETS, preset, "preset"), **from_file, **overrides, "preset": preset})
