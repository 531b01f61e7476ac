"""Checkpoints: written files are complete, damaged ones are skipped, and unsuitable ones are refused."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from support.damage import damaged
from support.settings import FIXTURES

from monet.core.array_files import read_arrays, write_arrays
from monet.core.config import make_config
from monet.core.errors import UserError
from monet.data.records import Data, ImageSet
from monet.gan.cyclegan import CycleGan
from monet.networks.build import build_generator
from monet.training.arrays import assign_arrays, export_network, value_of
from monet.training.checkpoint import (
    Meta,
    check_unchanged,
    data_identity,
    list_checkpoints,
    load_newest,
    restore_network,
    save_checkpoint,
)
from monet.training.generate import import_network
from monet.training.state import load_state, state_of, system_variables
from monet.training.train_step import make_gradients, train_step

COUNTS = {"monet": 10, "photo": 16, "swap_sides": False}
SEED = tf.constant([1, 2])


def restore(folder, system):
    """Restores the newest checkpoint as a Trainer does."""
    newest = load_newest(folder)
    if newest is None:
        return None
    meta, arrays = newest
    load_state(system, arrays, folder)
    return meta


def tiny_system(**values):
    return CycleGan(make_config(generator_filters=2, generator_levels=3, discriminator_filters=2, **values))


def values_of(system):
    return {name: value_of(variable) for name, variable in system_variables(system).items()}


def meta(step, **config):
    return Meta(step, vars(make_config(**config)), COUNTS)


def trained(steps=2):
    system = tiny_system()
    images = tf.random.stateless_uniform([1, 32, 32, 3], [0, 0], -1, 1)
    for _ in range(steps):
        train_step(system, make_gradients(system, system.config), images, images, SEED)
    return system


def test_everything_is_restored(tmp_path):
    system = trained()
    save_checkpoint(str(tmp_path), state_of(system), meta(2), keep=5)
    other = tiny_system()
    assert restore(str(tmp_path), other).step == 2
    expected, found = values_of(system), values_of(other)
    assert list(expected) == list(found)
    for name in expected:
        np.testing.assert_array_equal(expected[name], found[name], err_msg=name)
    assert found["monet_discriminator/adam/iterations"] == 2
    assert np.abs(found["photo_to_monet/adam/m/down1_conv/kernel"]).max() > 0


def saved_by(folder, **values):
    """A `tiny_system` after one step, with its checkpoint in `folder`."""
    system = tiny_system(image_size=32, jitter=0, **values)
    images = tf.random.stateless_uniform([1, 32, 32, 3], [0, 0], -1, 1)
    train_step(system, make_gradients(system, system.config), images, images, SEED)
    save_checkpoint(str(folder), state_of(system), meta(1), keep=1)
    return system


def restored_to(folder, **values):
    system = tiny_system(image_size=32, jitter=0, **values)
    assert restore(str(folder), system).step == 1
    return values_of(system)


def test_averages_and_pools_that_a_checkpoint_lacks_start_anew(tmp_path):
    weights = values_of(saved_by(tmp_path))
    found = restored_to(tmp_path, ema_decay=0.9, image_pool=2)
    for name in ("photo_to_monet/down1_conv/kernel", "monet_to_photo/image_conv/bias"):
        network, _, rest = name.partition("/")
        np.testing.assert_array_equal(found[f"{network}/average/{rest}"], weights[name])
    assert found["monet_discriminator/pool/count"] == 0


def test_averages_and_pools_that_are_no_longer_wanted_are_dropped(tmp_path):
    expected = values_of(saved_by(tmp_path, ema_decay=0.9, image_pool=2))
    found = restored_to(tmp_path)
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_a_pool_of_another_size_starts_empty(tmp_path):
    expected = values_of(saved_by(tmp_path, image_pool=2))
    assert expected["photo_discriminator/pool/count"] == 1
    np.testing.assert_array_equal(restored_to(tmp_path, image_pool=2)["photo_discriminator/pool/images"],
                                  expected["photo_discriminator/pool/images"])
    found = restored_to(tmp_path, image_pool=3)
    assert found["photo_discriminator/pool/count"] == 0
    assert not found["photo_discriminator/pool/images"].any()


def test_a_checkpoint_of_an_earlier_version_fits(tmp_path):
    """It lacks the fields added later, which had their defaults."""
    old = {name: value for name, value in vars(make_config()).items()
           if name not in ("residual_blocks", "norm_affine", "discriminator_levels", "generator_leak")}
    save_checkpoint(str(tmp_path), state_of(tiny_system()), Meta(3, old, COUNTS), keep=1)
    check_unchanged(str(tmp_path), make_config(), COUNTS)
    with pytest.raises(UserError, match=r"norm_affine was True, now False"):
        check_unchanged(str(tmp_path), make_config(norm_affine=False), COUNTS)


@pytest.mark.parametrize(("generator", "size", "blocks"), [
    ("resnet", 256, 9), ("resnet", 128, 6), ("residual_unet", 256, 3)])
def test_residual_blocks_that_an_earlier_version_did_not_record_are_inferred(tmp_path, generator, size, blocks):
    kind = {"generator": generator, "generator_levels": 4, "image_size": size}
    save_checkpoint(str(tmp_path), state_of(tiny_system()), meta(3, **kind, residual_blocks=0), keep=1)
    check_unchanged(str(tmp_path), make_config(**kind, residual_blocks=blocks), COUNTS)
    with pytest.raises(UserError, match=f"residual_blocks was {blocks}, now 2"):
        check_unchanged(str(tmp_path), make_config(**kind, residual_blocks=2), COUNTS)


@pytest.mark.parametrize(("commit", "settings"), [
    ("56b5236", {}), ("5e02028", {}), ("366b849", {"image_pool": 1, "ema_decay": 0.9})])
@pytest.mark.parametrize("now", [{}, {"image_pool": 2, "ema_decay": 0.5}])
def test_checkpoints_of_earlier_commits_are_read_and_trained_further(tmp_path, commit, settings, now):
    """Of three steps each, on 80 paintings and 240 photos."""
    file = tmp_path / "step-00000003.npz"
    file.write_bytes((FIXTURES / "checkpoints" / f"{commit}.npz").read_bytes())
    config = make_config(generator_filters=1, generator_levels=2, discriminator_filters=1, image_size=32, jitter=0,
                         **{**settings, **now})
    check_unchanged(str(tmp_path), config, {"monet": 80, "photo": 240, "swap_sides": False})
    with pytest.raises(UserError, match="other data"):
        check_unchanged(str(tmp_path), config, {"monet": 80, "photo": 240, "swap_sides": True})
    system = CycleGan(config)
    found = restore(str(tmp_path), system)
    assert (found.step, found.skipped, found.seconds) == (3, 0, 0.0)
    written, state = read_arrays(str(file)), values_of(system)
    names = [name for name in written if name in state and "/pool/" not in name]
    assert len(names) > 100
    for name in names:
        np.testing.assert_array_equal(state[name], written[name], err_msg=name)
    images = tf.random.stateless_uniform([1, 32, 32, 3], [0, 0], -1, 1)
    train_step(system, make_gradients(system, system.config), images, images, SEED)
    assert values_of(system)["photo_to_monet/adam/iterations"] == 4


def test_a_checkpoint_of_another_system_is_refused(tmp_path):
    save_checkpoint(str(tmp_path), state_of(tiny_system()), meta(1), keep=1)
    with pytest.raises(UserError, match="system was 'cyclegan', now 'cut'"):
        check_unchanged(str(tmp_path), make_config(system="cut", cycle_weight=0.0, identity_weight=0.0), COUNTS)


def test_the_generator_restored_from_a_checkpoint_is_the_average(tmp_path):
    expected = values_of(saved_by(tmp_path, ema_decay=0.9))
    generator = build_generator(make_config(generator_filters=2, generator_levels=3), "monet_to_photo")
    restore_network(str(tmp_path), generator)
    np.testing.assert_array_equal(generator.get_layer("down1_conv").get_weights()[0],
                                  expected["monet_to_photo/average/down1_conv/kernel"])


def test_without_checkpoints_nothing_is_restored(tmp_path):
    assert restore(str(tmp_path / "none"), tiny_system()) is None


def test_the_newest_are_kept(tmp_path):
    system = tiny_system()
    for step in (9, 10, 100, 1000):
        save_checkpoint(str(tmp_path), state_of(system), meta(step), keep=2)
    assert [Path(path).name for path in list_checkpoints(str(tmp_path))] == ["step-00001000.npz", "step-00000100.npz"]
    assert sorted(os.listdir(tmp_path)) == ["step-00000100.npz", "step-00001000.npz"]


def test_checkpoints_are_ordered_by_number(tmp_path):
    """Also one that somebody has renamed. Other files are none."""
    for name in ("step-6.npz", "step-00000009.npz", "step-²1.npz", "step-00000003.npz.part", "step-00000007 (1).npz"):
        (tmp_path / name).write_bytes(b"")
    assert [Path(path).name for path in list_checkpoints(str(tmp_path))] == ["step-00000009.npz", "step-6.npz"]


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def flip_a_bit(path):
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)


def empty(path):
    os.truncate(path, 0)


def make_other_npz(path):
    write_arrays(path, [("meta", np.frombuffer(b'{"unknown": 1}', np.uint8))])


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, make_other_npz])
def test_an_unreadable_checkpoint_is_skipped_and_logged(tmp_path, caplog, damage):
    system = trained()
    save_checkpoint(str(tmp_path), state_of(system), meta(1), keep=5)
    damage(save_checkpoint(str(tmp_path), state_of(system), meta(2), keep=5))
    assert restore(str(tmp_path), tiny_system()).step == 1
    assert "step-00000002.npz cannot be read" in caplog.text
    assert len(list_checkpoints(str(tmp_path))) == 2, "the damaged file is left for its owner to look at"


def test_whatever_byte_is_damaged_the_checkpoint_before_is_read(tmp_path):
    """A damage that changes no array, such as one to a date in the zip, may be overlooked."""
    chance, state = random.Random(0), [(f"network/layer{number}/kernel", np.full(300, number)) for number in range(9)]
    save_checkpoint(str(tmp_path), state, meta(1), keep=5)
    newest = Path(save_checkpoint(str(tmp_path), state, meta(2), keep=5))
    content, steps = newest.read_bytes(), set()
    for _ in range(500):
        newest.write_bytes(damaged(content, chance))
        found, arrays = load_newest(str(tmp_path))
        steps.add(found.step)
        assert list(arrays) == [name for name, _ in state]
        assert all((arrays[name] == expected).all() for name, expected in state)
    assert steps == {1, 2}


def test_a_damaged_newest_checkpoint_does_not_cost_the_good_ones(tmp_path):
    """It counts as newer than all that follow, until the run has got that far again."""
    state = [("a", np.zeros(3))]
    save_checkpoint(str(tmp_path), state, meta(4), keep=5)
    truncate(save_checkpoint(str(tmp_path), state, meta(8), keep=5))
    for step in (5, 6):
        save_checkpoint(str(tmp_path), state, meta(step), keep=1)
        assert load_newest(str(tmp_path))[0].step == step
    save_checkpoint(str(tmp_path), state, meta(9), keep=1)
    assert [Path(path).name for path in list_checkpoints(str(tmp_path))] == ["step-00000009.npz"]


def test_no_readable_checkpoint_is_an_error_not_a_new_start(tmp_path):
    truncate(save_checkpoint(str(tmp_path), state_of(tiny_system()), meta(1), keep=5))
    with pytest.raises(UserError, match=r"\b1 checkpoints .*--resume false"):
        load_newest(str(tmp_path))


def test_another_architecture_is_refused_with_the_fields_that_differ(tmp_path):
    save_checkpoint(str(tmp_path), state_of(tiny_system()), meta(1, generator_filters=2), keep=5)
    now = make_config(generator_filters=4, upsample="resize", match_detail=True, epochs=99)
    with pytest.raises(UserError) as refusal:
        check_unchanged(str(tmp_path), now, COUNTS)
    message = str(refusal.value)
    assert "generator_filters was 2, now 4; upsample was 'transpose', now 'resize'; match_detail was" in message
    assert "--generator-filters 2 --upsample transpose --match-detail false" in message
    assert "epochs" not in message
    check_unchanged(str(tmp_path), make_config(generator_filters=2, epochs=99), COUNTS)


def test_other_data_is_refused(tmp_path):
    save_checkpoint(str(tmp_path), state_of(tiny_system()), meta(1), keep=5)
    with pytest.raises(UserError, match="other data"):
        check_unchanged(str(tmp_path), make_config(), {"monet": 300, "photo": 7038})


def test_other_pictures_in_the_same_number_are_other_data(tmp_path):
    def data(photos: int, kind: str = "images"):
        return data_identity(Data("", ImageSet((), "tfrec", 10, fingerprint=1),
                                  ImageSet((), kind, 16, fingerprint=photos), False), make_config())

    save_checkpoint(str(tmp_path), state_of(tiny_system()), dataclasses.replace(meta(1), data=data(2)), keep=5)
    check_unchanged(str(tmp_path), make_config(), data(2))
    check_unchanged(str(tmp_path), make_config(), data(3, "tfrec"))  # perhaps the same pictures
    with pytest.raises(UserError, match="other data.*photo_images_fingerprint was 2, now 3"):
        check_unchanged(str(tmp_path), make_config(), data(3))
    save_checkpoint(str(tmp_path), state_of(tiny_system()), meta(2), keep=5)  # as earlier versions wrote it
    check_unchanged(str(tmp_path), make_config(), data(3))


def test_the_earlier_file_survives_a_failure_while_writing(tmp_path):
    path = str(tmp_path / "arrays.npz")
    write_arrays(path, [("a", np.arange(3))])

    def failing():
        yield "a", np.arange(1000)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        write_arrays(path, failing())
    np.testing.assert_array_equal(read_arrays(path)["a"], np.arange(3))
    assert os.listdir(tmp_path) == ["arrays.npz"]


def run_python(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_full_disk_is_reported_and_harms_nothing(tmp_path):
    """A real write error: past 100 kB the system refuses this process, as if the disk were full."""
    process = run_python("""
        import os, resource, signal, sys
        import numpy as np
        from monet.core.array_files import write_arrays, read_arrays
        from monet.core.errors import UserError
        path = sys.argv[1]
        write_arrays(path, [("a", np.arange(3))])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_arrays(path, [("a", np.zeros(1_000_000))])
        except UserError as error:
            print(error)
        print(read_arrays(path)["a"].tolist(), os.listdir(os.path.dirname(path)))
        """, tmp_path / "arrays.npz")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "The disk is full" in output
    assert "[0, 1, 2] ['arrays.npz']" in output


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.1])
def test_a_kill_at_any_moment_leaves_whole_checkpoints(tmp_path, delay):
    """SIGKILL hits a process that writes checkpoints without a pause."""
    process = run_python("""
        import sys
        import numpy as np
        from monet.core.array_files import write_arrays
        for step in range(100_000):
            write_arrays(f"{sys.argv[1]}/step-{step:08d}.npz", [("a", np.full(3_000_000, step))])
            print(step, flush=True)
        """, tmp_path)
    for _ in range(3):
        process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    checkpoints = list_checkpoints(str(tmp_path))
    assert len(checkpoints) >= 3
    for path in checkpoints:
        step = int(Path(path).stem.split("-")[1])
        np.testing.assert_array_equal(read_arrays(path)["a"], np.full(3_000_000, step))


def fixture_generator():
    """The network of tests/fixtures, as tests/fixtures/make.py builds it."""
    return build_generator(make_config(generator_filters=2, generator_levels=3), "photo_to_monet")


@pytest.mark.parametrize("version", ["keras-2", "keras-3"])
def test_a_generator_exported_under_either_keras_paints_the_same_here(version):
    generator = fixture_generator()
    import_network(generator, str(FIXTURES / f"{version}.npz"))
    expected = read_arrays(str(FIXTURES / f"{version}-painted.npz"))
    painted = generator([tf.constant(expected["photo"]), SEED], training=False)
    np.testing.assert_allclose(painted, expected["painted"], atol=1e-5)
    assert np.abs(expected["painted"]).max() > 0.1


def test_export_and_import(tmp_path):
    first, second = fixture_generator(), fixture_generator()
    path = str(tmp_path / "photo_to_monet.npz")
    export_network(first, path)
    import_network(second, path)
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert "up1_norm/gamma" in read_arrays(path)


def test_a_file_that_does_not_fit_is_refused_naming_its_first_array(tmp_path):
    path = str(tmp_path / "other.npz")
    export_network(build_generator(make_config(generator_filters=4, generator_levels=3), "g"), path)
    generator = fixture_generator()
    before = generator.get_weights()
    with pytest.raises(UserError, match=r"'down1_conv/kernel' .*\(4, 4, 3, 4\), .*\(4, 4, 3, 2\)"):
        import_network(generator, path)
    for now, then in zip(generator.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_missing_and_extra_arrays_are_named():
    generator = fixture_generator()
    arrays = dict(zip(["a/b"], [np.zeros(2)], strict=True))
    with pytest.raises(UserError, match="'a/b' .*none, expected"):
        assign_arrays({"a/b": generator.weights[0]}, {}, "file")
    with pytest.raises(UserError, match=r"'a/b' .*\(2,\), expected none"):
        assign_arrays({}, arrays, "file")


def test_a_file_that_is_not_an_export_is_refused(tmp_path):
    (tmp_path / "photo.npz").write_bytes(b"no zip")
    for path in (tmp_path / "photo.npz", tmp_path / "absent.npz"):
        with pytest.raises(UserError, match=r"(photo|absent)\.npz"):
            import_network(fixture_generator(), str(path))


def test_a_generator_alone_is_restored_from_a_checkpoint(tmp_path):
    system = trained()
    save_checkpoint(str(tmp_path), state_of(system), meta(2), keep=5)
    generator = fixture_generator()
    restore_network(str(tmp_path), generator)
    for one, other in zip(generator.get_weights(), system.networks["photo_to_monet"].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="/none .*--weights"):
        restore_network(str(tmp_path / "none"), generator)
