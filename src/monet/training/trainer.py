"""The training loop's policy: when to save, preview, score, stop, and go back after a setback."""

import dataclasses
import signal
import time
from collections.abc import Callable, Sequence

import numpy as np

from monet.core.config import SUBMISSION_SIZE, Config, look_up
from monet.core.errors import LOG, UserError
from monet.core.files import write_config
from monet.core.progress import Interval, progress_bar
from monet.data.hold_out import split_data
from monet.data.pipeline import first_images
from monet.data.read_errors import explain_step_errors
from monet.data.records import Data
from monet.gan.systems import check_config
from monet.machine.cluster import ONE_MACHINE, OneMachine
from monet.machine.devices import check_reach, device_of
from monet.submission.images_zip import rehearse_submission
from monet.training.arrays import export_network
from monet.training.changes import expected_steps, known_steps, resumed_settings
from monet.training.checkpoint import Meta, data_identity, list_checkpoints, load_newest, save_checkpoint
from monet.training.deadline import Clock, Interrupted, first_call_guess, log_stop, noted_signal, warn_of_pace
from monet.training.engines import make_engine
from monet.training.first_call import first_call
from monet.training.history import History
from monet.training.pace import Pace, say_what_fits
from monet.training.previews import write_previews
from monet.training.readings import Broken, Readings, broken_if_not_finite, epoch_of
from monet.training.report import update_report, write_facts
from monet.training.run_files import check_all_see_one, check_same_step, prepare_out
from monet.training.run_state import RunState, log_start
from monet.training.selections import SELECTIONS
from monet.training.settled import compiles_at_first_call, settled
from monet.training.watchdog import Watchdog

PREVIEW_IMAGES = 8
MOST_SETBACKS = 3  # times that a run goes back to its last checkpoint without getting any further


class Trainer:
    """One training run, from the state in `config.out` to its last step or an earlier end.

    Attributes:
        asked: the config as given, but for what has no effect any more; checkpoints and config.json keep it.
        changes: settings that changed during the run, from `resumed_settings`.
        config: the settled config.
        data: the two sets.
        engine: runs the steps, and paints with the weights of the last preview.
        files: where the run keeps its files.
        state: how far it has come.
        clock: knows the deadline, and how long each part takes.
        pace: plans a run of `minutes`.
        began: `clock.now()` at which training would have begun without the breaks between sessions.
        paint: the engine's, watched by the watchdog.
    """

    def __init__(self, config: Config, data: Data, devices, deadline: float | None = None, hands_in: bool = False,
                 terminated: Sequence = (), now: Callable[[], float] = time.monotonic,
                 cluster: OneMachine = ONE_MACHINE, watchdog: Watchdog | None = None):
        """Builds the system on the devices and restores the newest checkpoint.

        Args:
            config: the run, as asked.
            data: the two sets.
            devices: from `monet.training.engines.choose_devices`.
            deadline: `now()` by which everything must be over; None for no limit.
            hands_in: the submission is painted after training, and must be over by the deadline, too.
            terminated: training ends as soon as this is no longer empty.
            now: returns the time in seconds.
            cluster: the machines that train together.
            watchdog: watches the device; None: nothing does.

        Raises:
            UserError: for a folder, batch, checkpoint or setting that cannot be used.
        """
        check_config(config)
        check_reach(data.root)
        self.asked, self.config, self.data = config, settled(config, device_of(devices), data), data
        self.hands_in, self.terminated = hands_in, terminated
        self.clock = Clock(deadline, 60 * config.max_minutes, now)
        self.files = prepare_out(config, data, cluster)
        cluster.barrier("the chief has set an earlier run aside")
        newest = load_newest(self.files.checkpoints)
        self.asked, self.config, self.changes = resumed_settings(newest[0] if newest else None, config, self.config)
        data = self.data = split_data(data, self.asked)
        self.engine, self.state = make_engine(self.config, data, devices, cluster), RunState()
        self.watchdog = watchdog or Watchdog()
        self.paint = self.watchdog.watched(self.engine.paint)
        self.restore(newest)
        meta, newest = newest[0] if newest else None, None  # frees a copy of all weights
        self.began = now() - (meta.seconds if meta else 0.0)
        self.set_length(known_steps(meta, self.config), expected_steps(meta, self.config))
        self.pace = Pace(self.config, self.clock, is_planned=self.state.total_steps is not None)
        self.engine.seek(self.state.step + self.state.skipped)
        write_config(self.asked, self.files.config, self.changes)
        self.photos = first_images(data.photo, PREVIEW_IMAGES, SUBMISSION_SIZE)
        self.selection_method = look_up(SELECTIONS, config.select_by, "select_by")
        self.selection = (self.selection_method.open(self.config, data, self.files, self.engine.strategy,
                                                     self.state.step)
                          if self.selection_method and cluster.writes else None)
        self.history = History(self.files, self.state.step, config.tensorboard)
        self.readings = Readings(self.config, self.engine.loss_names, self.state.step, now,
                                 self.engine.overfitting)
        log_start(self.config, self.engine.device, self.state)

    # The run as a whole.

    def fit(self) -> None:
        """Trains to the last step or the deadline, saving as it goes and at the end.

        Raises:
            Interrupted: after Ctrl-C, with everything saved.
            UserError: if losses repeatedly break, the disk is full, or another machine is gone.
        """
        stopping = "Stopping after this step and saving; press Ctrl-C again to stop at once"
        with noted_signal(signal.SIGINT, stopping) as interrupted, explain_step_errors(self.data.root):
            self.preview()
            self.score_what_was_saved()
            self.rehearse()
            with progress_bar("Training", self.state.total_steps, "step", self.state.step) as show:
                while True:
                    try:
                        self.train(show, interrupted)
                        break
                    except Broken as broken:
                        self.go_back(broken)
            self.preview(finished=True)
            export_network(self.engine.painter, self.files.generator)
            update_report(self.files)
        if interrupted:
            raise Interrupted

    def train(self, show: Callable, interrupted: Sequence) -> None:
        """Runs steps until the run ends, and saves the last.

        Args:
            show: from `progress_bar`.
            interrupted: no longer empty after Ctrl-C.

        Raises:
            Broken: if losses or weights are not finite or diverge; that state is not saved.
        """
        state = self.state
        if state.step >= state.end:
            return
        self.save_first()
        by_epochs = self.config.checkpoint_epochs > 0
        checkpoint_due = Interval(float("inf") if by_epochs else 60 * self.config.checkpoint_minutes, self.clock.now)
        preview_due = Interval(60 * self.config.preview_minutes, self.clock.now)
        while state.step < state.end:
            save, preview, stop = self.decide(checkpoint_due, preview_due, interrupted)
            if save and state.step != state.saved_at:
                self.read_losses()
                update_report(self.files)
                self.save()
            if preview:
                self.preview()
            if stop:
                log_stop(self.clock, self.config, state, bool(interrupted or self.terminated))
                break
            with self.watchdog.call("steps"):
                self.advance()
            if self.readings.is_due(state.step):
                self.read_losses()
                self.plan()
            show(state.step, self.readings.text, state.total_steps)
        self.read_losses()
        if state.step != state.saved_at:
            self.save()

    def decide(self, checkpoint_due: Interval, preview_due: Interval, interrupted: Sequence) -> list[bool]:
        """Whether to save, to preview and to stop now. All machines of a cluster do what any of them must."""
        writes, every = self.engine.cluster.writes, self.config.checkpoint_steps
        return self.engine.cluster.any(
            (writes and checkpoint_due.due()) or bool(every and self.state.step % every == 0),
            writes and preview_due.due(), bool(interrupted) or self.must_stop())

    def advance(self) -> None:
        """Runs the steps of one call."""
        if self.engine.open_data():
            self.readings.pause()
        count, started = self.state.next_count(self.config), self.clock.now()
        if "step" in self.clock.seconds:
            sums = self.engine.run_steps(self.state.step, count)
        else:
            with self.clock.measured("first call"):
                sums = first_call(self.engine, self.asked, self.state.step, count, self.restore)
            self.pace.start(self.engine.position, count)
        # Single steps may queue up on a device; a call of several is long enough to wait for.
        self.readings.add(count, sums if self.config.steps_per_call == 1 else np.asarray(sums))
        self.state.step += count
        self.clock.seconds["step"] = (self.clock.now() - started) / count

    def read_losses(self) -> None:
        """Reads, checks and records the losses since the last reading, and signals of overfitting.

        Raises:
            Broken: if one is NaN or infinite, or has diverged; this state is never saved.
        """
        if not self.readings.pending:
            return
        step = self.state.step
        with self.watchdog.call("losses"):  # the device may still have to make the steps
            losses, seconds = self.readings.read(step)
        self.clock.seconds["step"] = seconds
        self.history.add(step, epoch_of(step, self.config), seconds, losses)
        if self.readings.count == 2:  # the first is slower
            warn_of_pace(self.config, self.state, self.clock, seconds)

    # The length of the run, and the deadline.

    def set_length(self, steps: int | None, expected: int | None = None) -> None:
        """Sets the steps of the whole run; None: `minutes` decide it, and its schedules follow the `expected` ones."""
        self.state.total_steps = steps
        if self.config.minutes and (steps or expected):
            self.engine.set_length(steps or expected)
        write_facts(self.files, self.config, self.data, self.engine.device, steps)

    def plan(self) -> None:
        """Plans the steps of the run as soon as its pace is known, if `minutes` decide it."""
        if steps := self.pace.plan(self.state.step, self.engine, self.clock.now() - self.began):
            self.set_length(steps)

    def must_stop(self) -> bool:
        """Whether training must end: on a signal, or to leave time for the rest before the deadline."""
        if self.terminated:
            return True
        count = self.state.next_count(self.config)
        if "step" in self.clock.seconds:
            return self.clock.left() < count * self.clock.seconds["step"]
        compiled = compiles_at_first_call(self.config, self.engine.device)
        return self.clock.left() < first_call_guess(self.config, self.clock, len(self.photos), count, compiled)

    def rehearse(self) -> None:
        """Measures how long handing in will take, if it has a deadline to meet; says if the run does not fit."""
        trains = self.state.step < self.state.end and not self.terminated
        if self.clock.deadline is not None and trains and self.hands_in and self.engine.cluster.writes:
            self.clock.seconds["hand in"] = rehearse_submission(self.paint, self.data.photo, self.config)
        if trains and self.state.total_steps is None:
            say_what_fits(self.config, self.clock, self.clock.now() - self.began)

    # Checkpoints.

    def restore(self, newest: tuple[Meta, dict[str, np.ndarray]] | None = None) -> None:
        """Loads `newest`, from `load_newest`; without it, the newest checkpoint, if there is one.

        Raises:
            UserError: if it does not fit, cannot be read, or is not the same on all machines.
        """
        folder, state = self.files.checkpoints, self.state
        if newest := newest or load_newest(folder):
            meta, arrays = newest
            self.engine.load(arrays, folder)
            state.step, state.skipped, state.saved_at = meta.step, meta.skipped, meta.step
            LOG.info("Resuming from step %d of %s, after %.1f minutes", meta.step, folder, meta.seconds / 60)
        check_same_step(state.step, folder, self.engine.cluster)

    def save_first(self) -> None:
        """Saves before the first step, for a first setback to go back to. This also shows early whether the disk is too
        small, and how long saving takes."""
        if self.state.saved_at is None or (self.clock.deadline is not None and "save" not in self.clock.seconds):
            self.save()
        self.engine.cluster.barrier("the chief has saved")
        check_all_see_one(self.files.checkpoints, self.engine.cluster)

    def save(self) -> None:
        """Writes a checkpoint of this step. The losses up to it must have been read and found finite.

        Raises:
            Broken: if a weight is not finite.
            UserError: if it cannot be written; in a cluster also if a weight is not finite.
        """
        state = self.state
        meta = Meta(state.step, dataclasses.asdict(self.asked), data_identity(self.data, self.config), state.skipped,
                    self.clock.now() - self.began, self.changes, state.total_steps)
        with self.clock.measured("save"), self.watchdog.call("saving"), \
                broken_if_not_finite(state.step, self.engine.cluster.is_single):
            if self.engine.cluster.writes:
                save_checkpoint(self.files.checkpoints, self.engine.state(), meta, self.config.keep_checkpoints)
            else:
                self.engine.read_state()
        slow = self.selection and self.selection.judge.inception and self.clock.deadline  # which must allow for it
        if self.config.select_by != "last" and self.engine.cluster.any(bool(state.step or slow))[0]:
            self.score()
        state.saved_at = state.step
        self.readings.pause()
        if state.step > state.broke_at:
            state.setbacks = 0

    def go_back(self, broken: Broken) -> None:
        """Returns to the last checkpoint and continues from there with the data that would have come next.

        Raises:
            UserError: if that has happened `MOST_SETBACKS` times since training last got further than before.
        """
        state, newest = self.state, list_checkpoints(self.files.checkpoints)[0]
        state.setbacks += 1
        if state.setbacks > MOST_SETBACKS:
            raise UserError(f"{broken}, after {MOST_SETBACKS} earlier setbacks, each with other data. The newest "
                            f"checkpoint, {newest}, is from before. Try a lower --learning-rate, --precision float32, "
                            "or another --seed with another --out.")
        LOG.warning("%s: going back to %s and continuing with other data", broken, newest)
        state.broke_at = max(state.broke_at, state.step)
        self.restore()
        state.skipped = self.engine.position - state.step
        self.readings.restart(state.step)
        self.history = History(self.files, state.step, self.config.tensorboard)

    # Pictures and scores.

    def preview(self, finished: bool = False) -> None:
        """Paints and writes the preview, and measures the time per image.

        Args:
            finished: training is over; the weights that are handed in paint it, and stay in the painter.
        """
        with self.watchdog.call("preview"):
            self.engine.update_painter()
            if finished and self.engine.cluster.writes and self.selection_method:
                self.selection_method.choose(self.engine.painter, self.files)
                self.engine.painter_changed()
            if "paint" not in self.clock.seconds:
                with self.clock.measured("first paint"):  # makes the graph
                    np.asarray(self.engine.paint(self.photos))
            with self.clock.measured("preview"):
                with self.clock.measured("paint"):
                    painted = np.asarray(self.engine.paint(self.photos))
                picture = write_previews(self.photos, painted, self.files, self.state.step)
                self.history.add_picture(self.state.step, picture)
        self.readings.pause()

    def score_what_was_saved(self) -> None:
        """Scores a checkpoint that an earlier session saved but ended before scoring."""
        step = self.state.step
        if self.engine.cluster.any(bool(step and self.selection and not self.selection.has_score(step)))[0]:
            self.score()

    def score(self) -> None:
        """Scores the latest weights, and keeps them if they are the best. In a cluster, only the chief has scores."""
        if self.selection:
            with self.watchdog.call("features of the paintings"):
                self.selection.prepare()
        with self.clock.measured("score"), self.watchdog.call("score"):
            self.engine.update_painter()
            if self.selection:
                scores = self.selection.consider(self.state.step, self.paint, self.engine.painter)
                self.history.add_scores(self.state.step, scores)
