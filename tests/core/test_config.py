"""monet.core.config and monet.core.presets: validation, parsing, and config.json round trips."""

import dataclasses
import json

import pytest

from monet.core.config import FIELDS, Config, check_field_value, make_config
from monet.core.errors import UserError
from monet.core.files import write_config
from monet.core.options import parse_field, read_config_values
from monet.core.presets import PRESETS, resolve_config


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_help_text_and_survives_the_command_line(name):
    default = FIELDS[name].default
    assert FIELDS[name].metadata["help"]
    assert parse_field(name, str(default)) == default
    check_field_value(name, default)


@pytest.mark.parametrize(("values", "words"), [
    ({"epochs": 0}, ["--epochs 0: must be at least 1"]),
    ({"steps_per_epoch": -1}, ["--steps-per-epoch -1: must be at least 0"]),
    ({"generator_filters": 0}, ["--generator-filters 0: must be at least 1"]),
    ({"generator_levels": 0}, ["--generator-levels 0: must be at least 1"]),
    ({"discriminator_filters": -2}, ["--discriminator-filters -2: must be at least 1"]),
    ({"discriminator_levels": 0}, ["--discriminator-levels 0: must be at least 1"]),
    ({"residual_blocks": -1}, ["--residual-blocks -1: must be at least 0"]),
    ({"ema_decay": 1.0}, ["--ema-decay 1.0: must be at least 0.0 and at most 0.99999"]),
    ({"batch_size": -1}, ["--batch-size -1: must be at least 1"]),
    ({"epochs": "5"}, ["expected int, got str"]),
    ({"epochs": True}, ["expected int, got bool"]),
    ({"mirror": 1}, ["expected bool, got int"]),
    ({"jpeg_quality": 101}, ["at least 1 and at most 100"]),
    ({"num_images": 10001}, ["at most 10000"]),
    ({"learning_rate": float("nan")}, ["--learning-rate nan"]),
    ({"gamma_mean": float("inf")}, ["must be a finite number"]),
    ({"upsample": "bicubic"}, ["choose one of transpose, resize, nearest"]),
    ({"jitter": 200}, ["--jitter 200", "--image-size 256"]),
    ({"batchsize": 4}, ["Did you mean batch_size?"]),
    ({"system": "cut"}, ["--system cut", "--cycle-weight 10", "--identity-weight 5"]),
    ({"residual_blocks": 3}, ["--residual-blocks 3", "--generator unet"]),
    ({"cycle_weight": 0.0, "identity_weight": 0.0, "cycle_fall": 0.5}, ["--cycle-fall 0.5", "--cycle-weight 0"]),
    ({"cycle_weight": 0.0, "feature_cycle": 0.5}, ["--feature-cycle 0.5", "--cycle-weight 0"]),
    ({"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0, "cycle_loss": "l2"}, ["--cycle-loss"]),
    ({"generator_levels": 1000000}, ["--generator-levels 1000000: must be at least 1 and at most 16"]),
    ({"discriminator": "two_objective", "discriminator_loss": "bce"}, ["--discriminator-loss bce", "two_objective"]),
])
def test_invalid_values_are_rejected_with_the_option_and_its_limits(values, words):
    with pytest.raises(UserError) as error:
        make_config(**values)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("epochs", "many", "a whole number"),
    ("epochs", "2.5", "a whole number"),
    ("learning_rate", "fast", "a number"),
    ("mirror", "perhaps", "true or false"),
])
def test_text_of_the_wrong_type_is_rejected(name, text, expected):
    option = f"--{name.replace('_', '-')} {text}"
    with pytest.raises(UserError, match=f"{option}: expected {expected}"):
        parse_field(name, text)


def test_an_int_is_accepted_for_a_float_and_converted():
    assert isinstance(make_config(cycle_weight=3).cycle_weight, float)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().epochs = 3


def test_a_config_json_of_an_earlier_version_is_read(tmp_path):
    """`jitter` had another name then, `penalty_start` was a setting, and the preset of that name sets values today that
    it did not set then."""
    (tmp_path / "config.json").write_text(json.dumps(
        {"preset": "cpu", "jitter_size": 300, "epochs": 7, "penalty_start": 18.5}))
    config = resolve_config({}, str(tmp_path / "config.json"))
    assert (config.jitter, config.epochs) == (300, 7)
    assert PRESETS["cpu"]["diffaugment"] and not config.diffaugment


def test_config_json_gives_the_same_config_back(tmp_path):
    config = make_config(preset="cpu", epochs=7, data="somewhere")
    write_config(config, str(tmp_path / "config.json"))
    assert resolve_config({}, str(tmp_path / "config.json")) == config
    assert resolve_config({"epochs": 9}, str(tmp_path / "config.json")).epochs == 9


@pytest.mark.parametrize(("text", "problem"), [("{", "not JSON"), ("[1]", "not a JSON object"),
                                               (None, "cannot be read")])
def test_an_invalid_config_file_is_rejected(tmp_path, text, problem):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=f"config.json .*{problem}"):
        read_config_values(str(path))


def test_a_config_file_with_an_unknown_name_or_type_is_rejected(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"epoch": 3}))
    with pytest.raises(UserError, match="Did you mean epochs"):
        resolve_config({}, str(tmp_path / "config.json"))
    (tmp_path / "config.json").write_text(json.dumps({"preset": ["cpu"]}))
    with pytest.raises(UserError, match="expected str, got list"):
        resolve_config({}, str(tmp_path / "config.json"))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_resolves_and_can_be_overridden(preset):
    config = resolve_config({"preset": preset, "epochs": 3})
    assert (config.preset, config.epochs) == (preset, 3)


def test_the_default_is_the_tutorial():
    config = resolve_config({})
    assert config.preset == "tutorial"
    assert (config.epochs, config.steps_per_epoch, config.batch_size) == (25, 300, 1)
    assert (config.cycle_weight, config.identity_weight, config.learning_rate, config.beta_1) == (10, 5, 2e-4, 0.5)


def test_an_unknown_preset_suggests_similar_names():
    with pytest.raises(UserError, match="--preset tutorail: .* Did you mean tutorial"):
        resolve_config({"preset": "tutorail"})


def test_preset_and_config_file_exclude_each_other(tmp_path):
    write_config(Config(), str(tmp_path / "config.json"))
    with pytest.raises(UserError, match="--preset and --config"):
        resolve_config({"preset": "cpu"}, str(tmp_path / "config.json"))
