"""The named configurations: what each changes of the defaults, and where it comes from."""

from collections.abc import Mapping

from monet.config import Config, UserError, check_field_value, make_config, pick, read_config_values

PRESETS = {
    # The Monet CycleGAN tutorial (Amy Jang, Kaggle 2020): Config's own defaults.
    "tutorial": {},
    # For two cores and a quarter of an hour. Decided on 300 Monets and 1,408 photos of monet2photo, with 150 to 240 s
    # of training for each choice, by looking at the paintings and by the distance of the colours of 200 of them from
    # the Monets' (sliced Wasserstein over 4 scales; the photos themselves: 72; the Monets' two halves: 13). With the
    # tutorial's losses it stayed at 58 to 61; cycle weight 3 and identity weight 0.5 brought it to 30.
    "cpu": {
        "image_size": 128,  # crops of the 286: twice the steps in the same time, and strokes keep their size
        "generator_filters": 16,
        "generator_levels": 5,
        "discriminator_filters": 32,
        "upsample": "resize",  # transposed convolutions left a checkerboard in every sky
        "gamma_mean": 1.0,
        "cycle_weight": 3.0,
        "identity_weight": 0.5,
        "paint_margin": 16,
        "epochs": 16,
        "steps_per_epoch": 300,
        "max_minutes": 14.0,
    },
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
    check_field_value("preset", preset)
    return make_config(**{**pick(PRESETS, preset, "preset"), **from_file, **overrides, "preset": preset})
