"""The training loop: steps, progress, checkpoints, setbacks, and the ways a run can end."""

import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tqdm import tqdm

from monet.core.config import SUBMISSION_SIZE, Config
from monet.core.errors import LOG, UserError
from monet.core.files import write_config
from monet.core.progress import Interval
from monet.data.pipeline import first_images
from monet.data.records import Data
from monet.data.validation import step_explained
from monet.gan.optimizers import copy_to_paint
from monet.gan.systems import SYSTEMS, check_config, settled
from monet.machine.cluster import make_agreement, same_everywhere, spans_machines, writes_files
from monet.machine.devices import check_batch, check_reach, first_call_compiles, set_precision, steps_a_call
from monet.networks.build import build_generator
from monet.submission.painter import make_painter
from monet.training.checkpoint import (
    Meta,
    NotFiniteError,
    export_network,
    identity_of,
    list_checkpoints,
    restore,
    save_checkpoint,
    system_variables,
    value_of,
)
from monet.training.deadline import Clock, Interrupted, guessed_first_call, say_why, signal_noted, warn_of_pace
from monet.training.history import History, write_preview
from monet.training.run_files import prepare_out
from monet.training.selection import choose_best, open_selection
from monet.training.train_step import broken_loss, make_steps, open_batches

READ_EVERY = 25  # steps between readings of the losses, which make the host wait for the device
LOG_SECONDS = 30  # between log lines where there is no progress bar
PREVIEW_IMAGES = 8
MOST_SETBACKS = 3  # times that a run goes back to its last checkpoint without getting any further


class Broken(Exception):
    """Losses or weights are no longer finite, or losses have diverged: the message says which."""


class Trainer:
    """One run of training, from what `config.out` holds to its last step or an earlier end.

    Attributes:
        step: steps done.
        skipped: steps' worth of data that were passed over because they led to losses that are not finite.
        paint: the function that paints with the weights of the last preview.
    """

    def __init__(self, config: Config, data: Data, strategy: tf.distribute.Strategy, deadline: float | None = None,
                 rehearse: Callable | None = None, terminated: Sequence = ()):
        """Builds the system on the strategy's devices and restores the newest checkpoint.

        Args:
            config: the run.
            data: its two sets.
            strategy: from `choose_strategy`.
            deadline: `time.monotonic()` by which painting, too, must be over; None for no limit.
            rehearse: a function of (paint, photos, config) to the seconds that all that comes after training will take.
            terminated: training ends as soon as this is no longer empty.

        Raises:
            UserError: for a folder, batch, checkpoint or setting that cannot be used.
        """
        check_config(config)
        self.config = config = settled(config, data)
        self.data, self.strategy, self.terminated = data, strategy, terminated
        self.clock, self.rehearse = Clock(deadline, 60 * config.max_minutes), rehearse
        check_batch(config, strategy)
        check_reach(data.root)
        self.writes = writes_files(strategy)
        self.files, self.agreed = prepare_out(config, data, strategy), make_agreement(strategy)
        self.agreed([False])  # the chief has set an earlier run aside
        precision = set_precision(config, strategy)
        keras.utils.set_random_seed(config.seed)
        self.step = self.skipped = self.setbacks = self.broke_at = self.readings = 0
        with strategy.scope():
            self.system = SYSTEMS[config.system](config)
            meta = self.restore()
        self.saved_at = meta and meta.step  # None: there is no checkpoint yet
        self.seconds_before, self.began = meta.seconds if meta else 0.0, time.monotonic()
        self.painter = self.make_painter_network()
        write_config(config, self.files.config)
        self.total, self.per_call = config.total_steps, steps_a_call(config, strategy)
        self.save_every = config.checkpoint_epochs * config.steps_per_epoch  # steps; 0: by the minutes
        self.paint = make_painter(self.painter, config.paint_margin, None if spans_machines(strategy) else strategy)
        self.photos = first_images(data.photo, PREVIEW_IMAGES, SUBMISSION_SIZE)
        self.selection = open_selection(config, data, self.files, strategy, self.step) if self.writes else None
        self.history = History(self.files, self.step, config.tensorboard)
        self.steps_function, self.batches = make_steps(strategy, self.system, config), None
        self.unread, self.last_read, self.read_at = [], self.step, time.monotonic()
        LOG.info("Training %s with %d device(s) in %s: from step %d to %d, into %s", config.preset,
                 strategy.num_replicas_in_sync, precision, self.step, self.total, config.out)

    def restore(self) -> Meta | None:
        """Goes to the newest checkpoint, if there is one, and returns what it says.

        Raises:
            UserError: if it does not fit, cannot be read, or is not the same on all machines.
        """
        meta = restore(self.files.checkpoints, self.system)
        if meta:
            self.step, self.skipped = meta.step, meta.skipped
            LOG.info("Resuming from step %d of %s, after %.1f minutes of training", meta.step, self.files.checkpoints,
                     meta.seconds / 60)
        if not same_everywhere(self.agreed, self.step):
            raise UserError(f"The machines of the cluster found different checkpoints (here: step {self.step} in "
                            f"{self.files.checkpoints}). Give an --out that is the same folder on all of them.")
        return meta

    def make_painter_network(self) -> keras.Model:
        """The network that paints: the generator itself, or one of its own for other weights, averages or the best, and
        in a cluster, where the generator's weights are read by all machines or none."""
        generator = self.system.networks["photo_to_monet"]
        if spans_machines(self.strategy):
            return build_generator(self.config, generator.name)
        with self.strategy.scope():
            own = self.config.ema_decay or self.config.select_by != "last"
            return build_generator(self.config, generator.name) if own else generator

    def fit(self) -> None:
        """Trains to the last step or the deadline, saving as it goes and at the end.

        Raises:
            Interrupted: after Ctrl-C, with everything saved.
            UserError: if losses are not finite again and again, the disk is full, or another machine is gone.
        """
        with signal_noted(signal.SIGINT, "Stopping after this step and saving; press Ctrl-C again to stop at once") \
                as interrupted, step_explained(self.data.root):
            self.preview()
            if self.agreed([bool(self.step and self.selection and not self.selection.knows(self.step))])[0]:
                self.score()  # what an earlier session saved, and was ended before it was scored
            timed = self.clock.deadline is not None and self.step < self.total and not self.terminated
            if timed and self.rehearse and self.writes:
                self.clock.seconds["hand in"] = self.rehearse(self.paint, self.data.photo, self.config)
            with tqdm(total=self.total, initial=self.step, unit="step",
                      disable=not (self.writes and sys.stderr.isatty())) as bar:
                while not self.train(bar, interrupted):
                    bar.update(self.step - bar.n)
            self.preview(finished=True)
            export_network(self.painter, self.files.generator)
        if interrupted:
            raise Interrupted

    def train(self, bar: tqdm, interrupted: Sequence) -> bool:
        """Trains until the run ends, which gives True, or has gone back to its last checkpoint, which gives False."""
        try:
            self.run_steps(bar, interrupted)
        except Broken as broken:
            self.go_back(broken)
            return False
        return True

    def run_steps(self, bar: tqdm, interrupted: Sequence) -> None:
        """Makes steps until the run ends, and saves the last.

        Raises:
            Broken: if losses or weights are not finite or diverge; nothing of that is saved.
        """
        if self.step >= self.total:
            return
        checkpoint_due = Interval(float("inf") if self.save_every else 60 * self.config.checkpoint_minutes)
        preview_due, log_due = Interval(60 * self.config.preview_minutes), Interval(LOG_SECONDS)
        if self.saved_at is None or (self.clock.deadline is not None and "save" not in self.clock.seconds):
            self.save()  # what a first setback goes back to; a disk too small is found out now, and the time it takes
        self.agreed([False])  # the chief has written it
        if self.agreed([not list_checkpoints(self.files.checkpoints)])[0]:
            raise UserError(f"Not all machines of the cluster see the checkpoint in {self.files.checkpoints}. Give an "
                            "--out that is the same folder on all of them.")
        while self.step < self.total:
            save_now, preview_now, stop = self.agreed([
                (self.writes and checkpoint_due.due()) or bool(self.save_every and self.step % self.save_every == 0),
                self.writes and preview_due.due(), bool(interrupted) or self.ends_now()])
            if save_now and self.step != self.saved_at:
                self.read_losses(bar, log_due)
                self.save()
            if preview_now:
                self.preview()
            if stop:
                say_why(self.clock, self.config, self.step, bool(interrupted or self.terminated))
                break
            self.advance()
            bar.update(self.step - bar.n)
            if self.step // READ_EVERY > self.last_read // READ_EVERY:
                self.read_losses(bar, log_due)
        self.read_losses(bar, log_due)
        if self.step != self.saved_at:
            self.save()

    def call(self, function: Callable, count: int):
        """`function` of what `make_steps`'s function takes, for the next `count` steps."""
        if self.batches is None:
            self.batches = open_batches(self.strategy, self.data, self.config, self.step + self.skipped)
            self.read_at = time.monotonic()
        return function(self.batches, *map(tf.constant, (self.step + self.skipped, self.step, count)))

    def next_count(self) -> int:
        """Steps of the next call: up to the next multiple of their number, the next checkpoint, or the end."""
        ends = [self.per_call - self.step % self.per_call, self.total - self.step]
        if self.save_every:
            ends.append(self.save_every - self.step % self.save_every)
        return min(ends)

    def advance(self) -> None:
        """Makes the steps of one call."""
        count, started = self.next_count(), time.monotonic()
        sums = self.call(self.steps_function, count)
        # Single steps may queue up on a device; a call of several is long enough to be waited for.
        self.unread.append((count, sums if self.per_call == 1 else np.asarray(sums)))
        self.step += count
        self.clock.seconds["step"] = (time.monotonic() - started) / count

    def ends_now(self) -> bool:
        """Whether training must end: on a signal, or so that what comes after it ends before the deadline."""
        if self.terminated:
            return True
        if "step" in self.clock.seconds:
            return self.clock.left() < self.next_count() * self.clock.seconds["step"]
        compiled = first_call_compiles(self.config, self.strategy)
        return self.clock.left() < guessed_first_call(self.config, self.clock, len(self.photos), self.next_count(),
                                                      compiled)

    def read_losses(self, bar: tqdm, log_due: Interval) -> None:
        """Fetches the losses since the last reading, checks and records their means.

        Raises:
            Broken: if one is NaN, infinite or beyond all measure: nothing of this state is ever saved.
        """
        if not self.unread:
            return
        count = sum(count for count, _ in self.unread)
        means = np.sum([np.asarray(sums, np.float64) for _, sums in self.unread], axis=0) / count
        losses = dict(zip(self.system.loss_names, means.tolist(), strict=True))
        seconds = (time.monotonic() - self.read_at) / count
        self.unread, self.last_read, self.read_at = [], self.step, time.monotonic()
        self.clock.seconds["step"] = seconds
        if broken := broken_loss(losses, self.config):
            raise Broken(f"The loss {broken} became {losses[broken]:g} before step {self.step}")
        epoch = (self.step - 1) // self.config.steps_per_epoch + 1
        self.history.add(self.step, epoch, seconds, losses)
        text = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        bar.set_postfix_str(text, refresh=False)
        if bar.disable and log_due.due():
            left = (self.total - self.step) * seconds / 60
            LOG.info("epoch %d, step %d of %d, %.2f s a step, %.0f min left: %s",
                     epoch, self.step, self.total, seconds, left, text)
        self.readings += 1
        if self.readings == 2:  # the first is slower
            self.say_pace(seconds)

    def say_pace(self, seconds: float) -> None:
        """Warns if the time limit, at `seconds` a step, will not let the schedules come to their end."""
        if self.clock.deadline is not None:
            warn_of_pace(self.config, int(self.step + self.clock.left() / seconds), seconds)

    def go_back(self, broken: Broken) -> None:
        """Returns to the last checkpoint, to go on from there with the data that would have come next.

        Raises:
            UserError: if that has happened `MOST_SETBACKS` times since training last got further than before.
        """
        newest = list_checkpoints(self.files.checkpoints)[0]
        self.setbacks += 1
        if self.setbacks > MOST_SETBACKS:
            raise UserError(f"{broken}, and so it went {MOST_SETBACKS} times before, each time with other data. The "
                            f"newest checkpoint, {newest}, is from before. Try a lower --learning-rate, --precision "
                            "float32, or another --seed with another --out.")
        broke, seen = self.step, self.step + self.skipped
        LOG.warning("%s: going back to %s, and on with other data", broken, newest)
        self.saved_at = self.restore().step
        self.skipped, self.broke_at = seen - self.step, max(self.broke_at, broke)
        self.unread, self.last_read, self.batches = [], self.step, None
        self.history = History(self.files, self.step, self.config.tensorboard)

    def save(self) -> None:
        """Writes a checkpoint of this step; the losses up to it must have been read, and so found finite.

        Raises:
            Broken: if a weight is not finite.
            UserError: if it cannot be written; in a cluster also if a weight is not finite.
        """
        meta = Meta(self.step, dataclasses.asdict(self.config), identity_of(self.data, self.config), self.skipped,
                    self.seconds_before + time.monotonic() - self.began)
        with self.clock.measured("save"):
            if self.writes:
                try:
                    save_checkpoint(self.files.checkpoints, self.system, meta, self.config.keep_checkpoints)
                except NotFiniteError as error:
                    if spans_machines(self.strategy):  # the others still read: this one cannot go back with them
                        raise
                    raise Broken(f"{error.name} became NaN or infinite before step {self.step}") from None
            else:  # some variables are sums over all machines, which all of them must ask for
                for variable in system_variables(self.system).values():
                    value_of(variable)
        if self.config.select_by != "last" and (self.step or self.clock.deadline is not None):  # that needs the time
            self.score()
        self.saved_at, self.read_at = self.step, time.monotonic()
        if self.step > self.broke_at:
            self.setbacks = 0

    def score(self) -> None:
        """Scores the weights so far, and keeps them if they are the best; in a cluster, the others take part."""
        self.update_painter()
        if self.selection:
            self.selection.prepare()
            with self.clock.measured("score"):
                self.history.add_scores(self.step, self.selection.consider(self.step, self.paint, self.painter))

    def update_painter(self) -> None:
        """Gives the network that paints the weights so far."""
        generator = self.system.networks["photo_to_monet"]
        if self.painter is not generator:
            copy_to_paint(generator, self.system.optimizers[generator.name], self.painter)

    def preview(self, finished: bool = False) -> None:
        """Paints the preview with the weights so far, or if training is `finished`, with those that are handed in and
        stay in the painter; writes the picture, and measures the time an image."""
        with self.clock.measured("preview"):
            self.update_painter()
            if finished and self.writes:
                choose_best(self.painter, self.files, self.config)
            if "paint" not in self.clock.seconds:
                with self.clock.measured("first paint"):  # makes the graph
                    np.asarray(self.paint(self.photos))
            with self.clock.measured("paint"):
                painted = np.asarray(self.paint(self.photos))
            picture = write_preview(self.photos, painted, self.files.preview)
            self.history.add_picture(self.step, picture)
        self.read_at = time.monotonic()
