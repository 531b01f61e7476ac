"""monet.core.config and monet.presets: what is refused, and how values travel."""

import dataclasses
import json

import pytest

from monet.core.config import FIELDS, Config, check_field_value, make_config, parse_field, read_config_values
from monet.core.errors import UserError
from monet.core.files import write_config
from monet.core.presets import PRESETS, resolve_config


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_explained_and_survives_the_command_line(name):
    default = FIELDS[name].default
    assert FIELDS[name].metadata["help"]
    assert parse_field(name, str(default)) == default
    check_field_value(name, default)


@pytest.mark.parametrize(("values", "said"), [
    ({"epochs": 0}, "--epochs 0: must be at least 1"),
    ({"steps_per_epoch": -1}, "--steps-per-epoch -1: must be at least 0"),
    ({"generator_filters": 0}, "--generator-filters 0: must be at least 1"),
    ({"generator_levels": 0}, "--generator-levels 0: must be at least 1"),
    ({"discriminator_filters": -2}, "--discriminator-filters -2: must be at least 1"),
    ({"discriminator_levels": 0}, "--discriminator-levels 0: must be at least 1"),
    ({"residual_blocks": -1}, "--residual-blocks -1: must be at least 0"),
    ({"ema_decay": 1.0}, "--ema-decay 1.0: must be at least 0.0 and at most 0.99999"),
    ({"batch_size": -1}, "--batch-size -1: must be at least 1"),
    ({"epochs": "5"}, "expected int, got str"),
    ({"epochs": True}, "expected int, got bool"),
    ({"mirror": 1}, "expected bool, got int"),
    ({"jpeg_quality": 101}, "at least 1 and at most 100"),
    ({"num_images": 10001}, "at most 10000"),
    ({"learning_rate": float("nan")}, "--learning-rate nan"),
    ({"gamma_mean": float("inf")}, "must be a finite number"),
    ({"upsample": "bicubic"}, "choose one of transpose, resize, nearest"),
    ({"jitter": 200}, "smaller than --image-size 256"),
    ({"batchsize": 4}, "Did you mean batch_size?"),
    ({"system": "cut"}, "--system cut has no way back, so that --cycle-weight 10"),
    ({"residual_blocks": 3}, "--residual-blocks 3: --generator unet has none"),
    ({"cycle_weight": 0.0, "identity_weight": 0.0, "cycle_fall": 0.5}, "leave nothing for --cycle-fall 0.5"),
    ({"cycle_weight": 0.0, "feature_cycle": 0.5}, "--cycle-weight 0 leaves nothing for --feature-cycle 0.5"),
    ({"system": "cut", "cycle_weight": 0.0, "identity_weight": 0.0, "cycle_loss": "l2"}, "--cycle-loss mean nothing"),
    ({"generator_levels": 1000000}, "--generator-levels 1000000: must be at least 1 and at most 16"),
    ({"discriminator": "two_objective", "discriminator_loss": "bce"}, "--discriminator-loss bce: the heads"),
])
def test_impossible_values_are_refused_with_what_is_allowed(values, said):
    with pytest.raises(UserError) as refusal:
        make_config(**values)
    assert said in str(refusal.value)


@pytest.mark.parametrize(("name", "text", "said"), [
    ("epochs", "many", "--epochs many: expected a whole number"),
    ("epochs", "2.5", "expected a whole number"),
    ("learning_rate", "fast", "expected a number"),
    ("mirror", "perhaps", "expected true or false"),
])
def test_text_of_the_wrong_type_is_refused(name, text, said):
    with pytest.raises(UserError, match="expected") as refusal:
        parse_field(name, text)
    assert said in str(refusal.value)


def test_a_whole_number_will_do_for_a_fraction_and_becomes_one():
    assert isinstance(make_config(cycle_weight=3).cycle_weight, float)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().epochs = 3


def test_a_config_json_of_an_earlier_version_is_read(tmp_path):
    """It calls `jitter` by its former name, and has none of the fields that today's preset of its name sets."""
    (tmp_path / "config.json").write_text(json.dumps({"preset": "cpu", "jitter_size": 300, "epochs": 7}))
    config = resolve_config({}, str(tmp_path / "config.json"))
    assert (config.jitter, config.epochs) == (300, 7)
    assert PRESETS["cpu"]["diffaugment"] and not config.diffaugment


def test_config_json_gives_the_same_config_back(tmp_path):
    config = make_config(preset="cpu", epochs=7, data="somewhere")
    write_config(config, str(tmp_path / "config.json"))
    assert resolve_config({}, str(tmp_path / "config.json")) == config
    assert resolve_config({"epochs": 9}, str(tmp_path / "config.json")).epochs == 9


@pytest.mark.parametrize(("text", "said"), [("{", "is not JSON"), ("[1]", "holds no settings"),
                                            (None, "cannot be read")])
def test_a_config_file_that_is_none_is_refused(tmp_path, text, said):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_config_values(str(path))


def test_a_config_file_with_an_unknown_name_is_refused(tmp_path):
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


def test_an_unknown_preset_offers_near_names():
    with pytest.raises(UserError, match="Did you mean tutorial"):
        resolve_config({"preset": "tutorail"})


def test_preset_and_config_file_exclude_each_other(tmp_path):
    write_config(Config(), str(tmp_path / "config.json"))
    with pytest.raises(UserError, match="exclude each other"):
        resolve_config({"preset": "cpu"}, str(tmp_path / "config.json"))
