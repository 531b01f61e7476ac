"""monet.training.choice: which checkpoint of a series of measurements is handed in."""

import pytest

from monet.training.choice import BY_HEART_R_V, EQUAL, Measurement, choose, judge

NONE = float("nan")
# `--preset cpu --system cut --cycle-weight 0 --identity-weight 0 --epochs 48` on 300 Monets and 1,408 photos: step,
# colours left of 64 photos against 30 Monets that were not trained on, r_v, the discriminator's loss. By eye, the
# paintings are good from 2,000 to 5,600, have screaming colours at 6,087 and are nearly black from 6,666 on.
COLLAPSING = [Measurement(step, colours, NONE, r_v, loss) for step, colours, r_v, loss in (
    (399, 0.705, 0.20, 0.687), (867, 0.535, -0.06, 0.652), (1293, 0.488, 0.06, 0.555),
    (1659, 0.460, 0.04, 0.469), (2044, 0.432, 0.11, 0.513), (2373, 0.363, 0.08, 0.495),
    (2677, 0.445, 0.03, 0.482), (3096, 0.431, 0.05, 0.555), (3548, 0.430, 0.07, 0.554),
    (4060, 0.385, 0.01, 0.559), (4534, 0.377, -0.06, 0.458), (5027, 0.641, -0.01, 0.414),
    (5556, 0.357, -0.02, 0.221), (6087, 0.839, -0.01, 0.150), (6666, 1.434, 0.01, 0.183),
    (7532, 1.894, 0.02, 0.139), (7917, 1.827, 0.02, 0.129), (8204, 1.817, 0.05, 0.10))]
LAST_GOOD = 5600


def series(*colours, **columns):
    """Measurements of steps 100, 200, …; the `columns` are sequences."""
    return [Measurement(100 * (index + 1), colour, **{name: values[index] for name, values in columns.items()})
            for index, colour in enumerate(colours)]


# `--preset cpu` without its penalty, 4 times its steps, colours before they were matched. By its loss it goes
# astray between steps 5,019 and 6,456.
MATCHED = [Measurement(step, colours, NONE, NONE, loss) for step, colours, loss in (
    (1070, 0.657, 0.672), (2102, 0.569, 0.484), (3430, 0.559, 0.518), (4229, 0.552, 0.472),
    (5019, 0.478, 0.346), (5714, 0.581, 0.160), (6456, 1.554, 0.135), (7287, 1.435, 0.188))]


def without_signals(measurements):
    return [Measurement(measurement.step, measurement.colour_left) for measurement in measurements]


@pytest.mark.parametrize("measured", [COLLAPSING, without_signals(COLLAPSING)], ids=["signals", "colours only"])
def test_a_run_that_collapses_hands_in_a_late_checkpoint_from_before(measured):
    assert choose(measured) == 4534
    for end in range(6, len(measured) + 1):  # wherever the run had ended
        assert min(measured[end - 1].step, LAST_GOOD) / 2 < choose(measured[:end]) <= LAST_GOOD


def test_the_choice_so_far_never_needs_a_checkpoint_that_was_not_kept():
    for end in range(1, len(COLLAPSING) + 1):
        assert judge(COLLAPSING[:end]) == judge(COLLAPSING)[:end]


def test_a_run_with_matched_colours_hands_in_the_last_before_its_collapse():
    verdicts = judge(MATCHED, matched=True)
    assert [verdict.chosen for verdict in verdicts] == [True] * 5 + [False] * 3
    assert "tells all paintings apart" in verdicts[5].why and "come apart" in verdicts[6].why


def test_colours_that_will_be_matched_may_swing():
    swinging = series(0.55, 0.70, 0.60, 0.54, 0.55)
    assert all(verdict.chosen for verdict in judge(swinging, matched=True))
    assert not all(verdict.chosen for verdict in judge(swinging))


def test_a_run_that_only_improves_hands_in_the_last():
    assert choose(series(0.9, 0.7, 0.6, 0.5, 0.45, 0.42, 0.4, 0.39)) == 800


def test_equal_checkpoints_leave_it_to_the_last():
    assert choose(series(0.8, 0.45, 0.44, 0.45, 0.46, 0.44, 0.45)) == 700
    assert choose(series(0.45)) == 100


def test_small_losses_do_not_add_up():
    colours = [0.4 * (1 + 0.6 * EQUAL) ** index for index in range(10)]
    assert choose(series(*colours)) == 200


@pytest.mark.parametrize(("broken", "last"), [(NONE, 700), (float("inf"), 700), (0.02, 700), (3.0, 700)])
def test_a_single_broken_measurement_changes_nothing_later(broken, last):
    measured = series(0.5, 0.45, 0.44, broken, 0.44, 0.44, 0.43)
    assert choose(measured) == last
    assert broken == 0.02 or not judge(measured)[3].chosen


def test_without_any_measurement_nothing_is_chosen():
    assert choose([]) is None and choose(series(NONE, NONE)) is None
    assert [verdict.chosen for verdict in judge(series(NONE, 0.5))] == [False, True]


@pytest.mark.parametrize(("columns", "words"), [
    ({"r_v": [0.1, 0.2, 0.3, 0.8, 0.9]}, "r_v 0.80"),
    ({"loss": [0.6, 0.7, 0.6, 0.2, 0.02]}, "loss 0.2"),
])
def test_a_discriminator_that_has_won_leaves_equal_checkpoints_to_the_earlier(columns, words):
    measured = series(0.5, 0.44, 0.44, 0.44, 0.43, **columns)
    assert choose(measured) == 300
    assert words in judge(measured)[3].why


def test_clearly_better_colours_count_whatever_the_discriminator_knows():
    measured = series(0.5, 0.49, 0.4, 0.3, 0.29, r_v=[0, 0.2, *[BY_HEART_R_V + 0.1] * 3])
    assert choose(measured) == 500


def test_the_inception_decides_between_checkpoints_whose_colours_hold():
    """An ImageNet network found the last of them, with screaming colours, the best of a run."""
    measured = series(0.5, 0.45, 0.46, 0.5, 1.8, 1.9, distance=[0.09, 0.08, 0.06, 0.05, 0.03, 0.02])
    assert choose(measured) == 400
    assert "come apart" in judge(measured)[-1].why
    # What came apart sets no standard for what follows.
    assert choose([*measured, *series(*[0.45] * 8, distance=[0.05] * 8)[6:]]) == 800


def test_distances_that_not_all_have_are_not_compared():
    measured = series(0.5, 0.4, 0.45, distance=[NONE, 0.08, 0.01])
    assert choose(measured) == 300 and "distance" not in judge(measured)[-1].why
    assert choose(series(0.5, NONE, 0.45, distance=[0.09, NONE, 0.1])) == 100
