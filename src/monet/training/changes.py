"""What a resumed run changes: which settings can change on the way, and the record of those that did."""

import dataclasses

from monet.core.config import ARCHITECTURE_FIELDS, FIELDS, FORMER_NAMES, Config
from monet.core.errors import LOG, UserError
from monet.training.checkpoint import Meta
from monet.training.deadline import has_schedules

START_FIELDS = ("gamma_mean", "gamma_stddev")  # of the initial weights
# Settings that do not change what the networks learn: where, how fast and how long, what is kept, how it is painted.
FREE_FIELDS = (
    "preset", "data", "out", "resume", "accelerator", "engine", "xla", "steps_per_call", "space_to_depth",
    "max_minutes", "checkpoint_minutes", "checkpoint_epochs", "keep_checkpoints", "select_by", "select_photos",
    "preview_minutes", "tensorboard", "num_images", "paint_margin", "image_names", "jpeg_quality", "jpeg_subsampling",
    "match_jpeg")
LEARNING_FIELDS = tuple(name for name in FIELDS if name not in (*ARCHITECTURE_FIELDS, *START_FIELDS, *FREE_FIELDS))


def recorded_settings(meta: Meta) -> dict:
    """All settings of a checkpoint, by today's names. What an earlier version did not have is at its default."""
    named = {FORMER_NAMES.get(name, name): value for name, value in meta.config.items()}
    return {name: named.get(name, field.default) for name, field in FIELDS.items()}


def check_start_unchanged(meta: Meta, asked: Config) -> None:
    """Raises UserError if a setting differs that only has an effect at the start of a run."""
    before = recorded_settings(meta)
    changed = [f"{name} was {before[name]!r}, now {getattr(asked, name)!r}" for name in START_FIELDS
               if before[name] != getattr(asked, name)]
    if changed:
        raise UserError(f"{'; '.join(changed)}: this only decides the initial weights, and the run in {asked.out} has "
                        "begun. Give the earlier value, another --out, or --resume false, which sets that run aside.")


def changed_settings(meta: Meta, asked: Config, run: Config) -> list[dict]:
    """What the settings change in how a run goes on from the checkpoint; changes at its own step are undone first.

    Before the first step, only the seed can: initial weights came from it.

    Args:
        meta: the checkpoint's.
        asked: the config as asked.
        run: the same, settled. Earlier versions recorded settled values, which are no change.

    Returns:
        For each changed setting, the first `step` to which it applies, the `setting`, and what it `was` and is `now`.
    """
    before = recorded_settings(meta) | {change["setting"]: change["was"] for change in meta.changes
                                        if change["step"] == meta.step}
    return [{"step": meta.step, "setting": name, "was": before[name], "now": getattr(asked, name)}
            for name in (LEARNING_FIELDS if meta.step else ("seed",))
            if before[name] not in (getattr(asked, name), getattr(run, name))]


def holds_out_trained(meta: Meta, run: Config) -> bool:
    """Whether `run` holds out paintings that the checkpoint's run trained on. Of the same seed, a smaller share is part
    of a larger one."""
    before = recorded_settings(meta)
    return run.hold_out > (before["hold_out"] if run.seed == before["seed"] else 0.0)


def in_words(changes: list[dict]) -> str:
    """Changes as a phrase."""
    return ", ".join(f"{change['setting']} {change['now']!r} (was {change['was']!r})" for change in changes)


def known_steps(meta: Meta | None, run: Config) -> int | None:
    """Steps of the whole run; None if `minutes` decide it and its pace must be measured first.

    A run goes on by the number in its checkpoint, on any machine, as long as its minutes stay the same.

    Args:
        meta: the checkpoint's; None: the run begins.
        run: the settled config.
    """
    if not run.minutes:
        return run.total_steps
    if meta is None:
        return None
    known = meta.total_steps if recorded_settings(meta)["minutes"] == run.minutes else None
    is_over = meta.step and meta.seconds >= 60 * run.minutes
    return meta.step if known is None and is_over else known


def expected_steps(meta: Meta | None, run: Config) -> int | None:
    """Steps of the whole run at the pace so far, by which it goes on while its pace is measured anew; None if there is
    no pace yet. Arguments as above."""
    if meta is None or not meta.step or not meta.seconds:
        return None
    return max(meta.step + 1, round(meta.step * 60 * run.minutes / meta.seconds))


def end_in_words(meta: Meta, run: Config) -> str:
    """Why nothing is left to train, and what would be; arguments as above."""
    if run.minutes:
        more = int(max(run.minutes, meta.seconds / 60)) + 1
        return (f"--minutes {run.minutes:g} are over, after {meta.seconds / 60:.1f} minutes. To train further, give "
                f"--minutes {more} or more")
    return (f"--epochs {run.epochs}, each of {run.steps_per_epoch}, ends at step {run.total_steps}. To train further, "
            f"give --epochs {meta.step // run.steps_per_epoch + 1} or more")


def resumed_settings(meta: Meta | None, asked: Config, run: Config) -> tuple[Config, Config, list[dict]]:
    """The settings of a run that goes on from a checkpoint: those to record, those to use, and all changes so far.

    New changes are logged. If nothing is left to train, what decides the training stays as it was, because it has no
    effect any more; and a moving average that was trained paints.

    Args:
        meta: the checkpoint's; None: the run begins.
        asked: the config as asked.
        run: the same, settled.

    Raises:
        UserError: if a setting differs that cannot change any more.
    """
    if meta is None:
        return asked, run, []
    total = known_steps(meta, run)
    check_start_unchanged(meta, asked)
    changes = changed_settings(meta, asked, run)
    if total is None or meta.step < total:
        if changes:
            LOG.info("From step %d on, other settings apply: %s", meta.step, in_words(changes))
        if has_schedules(run) and {"epochs", "steps_per_epoch", "minutes"} & {change["setting"] for change in changes}:
            LOG.warning("The schedules of the learning rate and the weights are now those of a run of %s, and may jump "
                        "here", f"{run.minutes:g} minutes" if total is None else f"{total} steps")
        if meta.step and holds_out_trained(meta, run):
            LOG.warning("Some paintings that are held out from now on were trained on before, and are still known: r_v "
                        "is too low for a while")
        return asked, run, [change for change in meta.changes if change["step"] < meta.step] + changes
    LOG.info("Nothing is left to train: the run in %s has done %d steps, and %s", asked.out, meta.step,
             end_in_words(meta, run))
    if changes:
        LOG.warning("So these settings have no effect: %s", in_words(changes))
    before = recorded_settings(meta)
    kept = dataclasses.replace(asked, **{name: before[name] for name in LEARNING_FIELDS})
    return kept, dataclasses.replace(run, ema_decay=kept.ema_decay), list(meta.changes)
