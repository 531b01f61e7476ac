"""Settled configs: each `auto` becomes what suits the device and the data, and explicit values stay."""

import dataclasses

import pytest

from monet.core.config import make_config
from monet.core.errors import UserError
from monet.machine.devices import Device
from monet.machine.restarts import HUNG_VARIABLE
from monet.training.settled import compiles_at_first_call, settled

CPU, T4S, A100, TPU = Device("CPU"), Device("GPU", 2, (7, 5)), Device("GPU", 1, (8, 0)), Device("TPU", 8)


@pytest.mark.parametrize(("device", "expected"), [
    (CPU, ("float32", "off", 1, "off")), (T4S, ("float16", "on", 25, "off")), (A100, ("bfloat16", "on", 25, "off")),
    (TPU, ("bfloat16", "off", 25, "on"))])
def test_auto_follows_the_device(device, expected):
    config = settled(make_config(), device)
    assert (config.precision, config.xla, config.steps_per_call, config.space_to_depth) == expected
    assert compiles_at_first_call(config, device) == (device is not CPU)


@pytest.mark.parametrize("asked", ["auto", "on"])
def test_a_gpu_that_hung_goes_on_without_xla(monkeypatch, asked):
    monkeypatch.setenv(HUNG_VARIABLE, "GPU:tensorflow")
    assert settled(make_config(xla=asked), T4S).xla == "off"
    monkeypatch.setenv(HUNG_VARIABLE, "TPU:tensorflow")
    assert settled(make_config(xla=asked), T4S).xla == "on"


def test_explicit_values_stay():
    asked = make_config(precision="float32", xla="off", steps_per_call=7, space_to_depth="on", residual_blocks=4,
                        generator="resnet", steps_per_epoch=11, diffaugment="cutout")
    for device in (CPU, T4S, TPU):
        assert settled(asked, device) == asked


def test_the_network_and_the_size_determine_residual_blocks():
    blocks = [settled(make_config(**values), CPU).residual_blocks for values in (
        {}, {"generator": "resnet"}, {"generator": "resnet", "image_size": 128}, {"generator": "residual_unet"})]
    assert blocks == [0, 9, 6, 3]


def test_the_data_determines_epochs_and_augmentation(small_data):
    asked = make_config(steps_per_epoch=0, batch_size=3, diffaugment="cutout", augment_most=9)
    config = settled(asked, CPU, small_data)
    assert (config.steps_per_epoch, config.diffaugment) == (6, "")  # 16 photos in threes; 10 paintings
    assert settled(dataclasses.replace(asked, augment_most=10), CPU, small_data).diffaugment == "cutout"
    assert settled(asked, CPU) == dataclasses.replace(
        asked, precision="float32", xla="off", steps_per_call=1, space_to_depth="off")


def test_a_penalty_rises_for_passes_over_the_paintings(small_data):
    asked = make_config(batch_size=4, gradient_penalty=1.0, penalty_rise=2.0)
    assert settled(asked, CPU, small_data).penalty_rise == 5  # 20 of 10 paintings, in fours
    assert settled(asked, CPU).penalty_rise == 2


def test_a_batch_that_devices_cannot_share_is_refused(small_data):
    assert settled(make_config(batch_size=4), T4S, small_data).batch_size == 4
    with pytest.raises(UserError, match=r"--batch-size 3 .* 2 devices.* multiple of 2"):
        settled(make_config(batch_size=3), T4S, small_data)


def test_a_pool_must_hold_a_devices_part_of_the_batch(small_data):
    assert settled(make_config(batch_size=6, image_pool=3), T4S, small_data).image_pool == 3
    with pytest.raises(UserError, match=r"--image-pool 3 .* batch of 4"):
        settled(make_config(batch_size=4, image_pool=3), CPU, small_data)
