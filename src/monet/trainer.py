"""The training loop: steps, progress, checkpoints, and the ways a run can end."""

import contextlib
import dataclasses
import logging
import math
import signal
import sys
import time

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tqdm import tqdm

from monet.accelerator import check_batch, set_precision
from monet.augment import make_augmentation
from monet.checkpoint import (
    Meta,
    check_unchanged,
    export_network,
    list_checkpoints,
    restore,
    save_checkpoint,
)
from monet.config import LOG, SUBMISSION_SIZE, Config, UserError, pick
from monet.cut import Cut
from monet.cyclegan import CycleGan
from monet.files import write_config
from monet.losses import ADVERSARIAL_LOSSES, DISTANCES
from monet.networks import block_count, build_generator, check_networks
from monet.pipeline import first_images, training_pairs
from monet.players import copy_to_paint
from monet.records import Data, explained
from monet.reporting import Every, History, RunFiles, open_run, set_aside, write_preview

SYSTEMS = {"cyclegan": CycleGan, "cut": Cut}

READ_EVERY = 25  # steps between readings of the losses, which make the host wait for the device
LOG_SECONDS = 30  # between log lines where there is no progress bar
PREVIEW_IMAGES = 8
PAINT_RESERVE = 1.25  # the time kept for painting and zipping, over the time that the network was measured to take
SPARE = 0.05  # of the time limit, kept for what nobody foresees


class Interrupted(Exception):
    """Ctrl-C during training, after everything was saved."""


def make_painter(generator: keras.Model, margin: int = 0):
    """A function that paints images `[batch, height, width, 3]` in [-1, 1], traced once for each shape.

    `margin` pixels are mirrored around them before, and cut off after.
    """
    seed = tf.zeros([2], tf.int32)  # no dropout without training: the seed is unused

    @tf.function(autograph=False)
    def paint(images):
        height, width = images.shape[1:3]
        around = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
        painted = generator([tf.pad(images, around, "REFLECT"), seed], training=False)
        return painted[:, margin:margin + height, margin:margin + width]

    return lambda images: paint(tf.convert_to_tensor(images))


def make_step(strategy: tf.distribute.Strategy, system, config: Config):
    """The training step as a graph: (photo, monet, step) to the global means of the losses by name."""

    def replica_step(photo, monet, step):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.random.experimental.stateless_fold_in([config.seed, 2], step)
        progress = tf.cast(step, tf.float32) / config.total_steps
        return system.train_step(photo, monet, tf.random.experimental.stateless_fold_in(seed, replica), progress)

    @tf.function(autograph=False)
    def step_function(photo, monet, step):
        losses = strategy.run(replica_step, args=(photo, monet, step))
        return {name: strategy.reduce("SUM", loss, axis=None) for name, loss in losses.items()}

    return step_function


@contextlib.contextmanager
def ctrl_c_noted():
    """Turns the first Ctrl-C into a note, a list that is no longer empty; the second interrupts as usual."""
    noted = []

    def note(number, frame):
        noted.append(number)
        signal.signal(signal.SIGINT, previous)
        LOG.info("Stopping after this step and saving; press Ctrl-C again to stop at once")

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, previous)


def identity_of(data: Data, config: Config) -> dict:
    """What a checkpoint remembers of the data it saw: the same data in another folder is no other data."""
    return {"monet": data.monet.count, "photo": data.photo.count, "swap_sides": config.swap_sides}


def check_config(config: Config) -> None:
    """Raises UserError for names that there are not, and for networks that cannot be, before anything else is done."""
    pick(SYSTEMS, config.system, "system")
    check_networks(config)
    pick(ADVERSARIAL_LOSSES, config.adversarial_loss, "adversarial_loss")
    pick(ADVERSARIAL_LOSSES, config.discriminator_loss or config.adversarial_loss, "discriminator_loss")
    pick(DISTANCES, config.cycle_loss, "cycle_loss")
    make_augmentation(config)


def settled(config: Config, data: Data) -> Config:
    """The config with what it leaves to the data and to other settings: the steps of an epoch that shows each image of
    the larger set once, the residual blocks, and whether paintings are few enough to be augmented."""
    steps = math.ceil(max(data.monet.count, data.photo.count) / config.batch_size)
    many = config.augment_most and data.monet.count > config.augment_most
    return dataclasses.replace(config, steps_per_epoch=config.steps_per_epoch or steps,
                               residual_blocks=block_count(config), diffaugment="" if many else config.diffaugment)


def prepare_out(config: Config, data: Data) -> RunFiles:
    """Makes the run's folder and, before anything expensive is done, refuses one that holds another run.

    Raises:
        UserError: if `out` is a file or cannot be written, or holds a run that this one cannot go on from.
    """
    files = open_run(config.out)
    if config.resume:
        check_unchanged(files.checkpoints, config, identity_of(data, config))
    else:
        set_aside(files)
    return files


class Trainer:
    """One run of training, from what `config.out` holds to its last step or an earlier end."""

    def __init__(self, config: Config, data: Data, strategy: tf.distribute.Strategy, deadline: float | None = None,
                 images_to_paint: int = 0):
        """Builds the system on the strategy's devices and restores the newest checkpoint.

        Args:
            config: the run.
            data: its two sets.
            strategy: from `choose_strategy`.
            deadline: `time.monotonic()` by which painting, too, must be over; None for no limit.
            images_to_paint: how many images are painted after training, for the time to keep.

        Raises:
            UserError: for a folder, batch, checkpoint or setting that cannot be used.
        """
        check_config(config)
        self.config = config = settled(config, data)
        self.data, self.deadline, self.images_to_paint = data, deadline, images_to_paint
        check_batch(config, strategy)
        self.strategy, self.files = strategy, prepare_out(config, data)
        precision = set_precision(config, strategy)
        keras.utils.set_random_seed(config.seed)
        with self.strategy.scope():
            self.system = SYSTEMS[config.system](config)
            self.step = restore(self.files.checkpoints, self.system)
            generator = self.system.networks["photo_to_monet"]
            # Averages need a network of their own to paint.
            self.painter = build_generator(config, generator.name) if config.ema_decay else generator
        write_config(config, self.files.config)
        self.total = config.total_steps
        self.paint = make_painter(self.painter, config.paint_margin)
        self.photos = first_images(data.photo, PREVIEW_IMAGES, SUBMISSION_SIZE)
        self.history = History(self.files, self.step, config.tensorboard)
        self.unread, self.read_at = [], time.monotonic()
        self.seconds_per_image = 0.0
        LOG.info("Training %s with %d device(s) in %s: from step %d to %d, into %s", config.preset,
                 self.strategy.num_replicas_in_sync, precision, self.step, self.total, config.out)

    def fit(self) -> None:
        """Trains to the last step or the deadline, saving as it goes and at the end.

        Raises:
            Interrupted: after Ctrl-C, with everything saved.
            UserError: if a loss is no longer finite, or the disk is full.
        """
        step_function = make_step(self.strategy, self.system, self.config)
        checkpoint_due = Every(60 * self.config.checkpoint_minutes)
        every = self.config.checkpoint_epochs * self.config.steps_per_epoch
        preview_due, log_due = Every(60 * self.config.preview_minutes), Every(LOG_SECONDS)
        self.preview()
        first_step = self.step
        bar = tqdm(total=self.total, initial=self.step, unit="step", disable=not sys.stderr.isatty())
        with bar, ctrl_c_noted() as interrupted:
            batches = iter(self.strategy.experimental_distribute_dataset(
                training_pairs(self.data, self.config, self.step)))
            self.read_at = time.monotonic()
            while self.step < self.total and not interrupted and not self.out_of_time():
                with explained(self.data.root):
                    batch = next(batches)
                self.unread.append(step_function(*batch, tf.constant(self.step)))
                self.step += 1
                bar.update()
                save_now = self.step % every == 0 if every else checkpoint_due.due()
                if save_now or self.step % READ_EVERY == 0:
                    self.read_losses(bar, log_due)
                if save_now:
                    self.save()
                if preview_due.due():
                    self.preview()
            self.read_losses(bar, log_due)
            if self.step > first_step:
                self.save()
        self.preview()
        export_network(self.painter, self.files.generator)
        if interrupted:
            raise Interrupted

    def read_losses(self, bar: tqdm, log_due: Every) -> None:
        """Fetches the losses since the last reading, checks and records their means.

        Raises:
            UserError: if one is NaN or infinite: nothing of this state is ever saved.
        """
        if not self.unread:
            return
        losses = {name: float(np.mean([float(step[name]) for step in self.unread])) for name in self.unread[0]}
        seconds = (time.monotonic() - self.read_at) / len(self.unread)
        self.unread, self.read_at = [], time.monotonic()
        broken = [name for name, loss in losses.items() if not np.isfinite(loss)]
        if broken:
            saved = list_checkpoints(self.files.checkpoints)
            kept = f"The newest checkpoint, {saved[0]}, is from before." if saved else "No checkpoint was due yet."
            raise UserError(f"The loss {broken[0]} became {losses[broken[0]]} before step {self.step}. {kept} Try a "
                            "lower --learning-rate, --precision float32, or another --seed with another --out.")
        epoch = (self.step - 1) // self.config.steps_per_epoch + 1
        self.history.add(self.step, epoch, seconds, losses)
        text = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        bar.set_postfix_str(text, refresh=False)
        if bar.disable and log_due.due():
            left = (self.total - self.step) * seconds / 60
            LOG.info("epoch %d, step %d of %d, %.2f s a step, %.0f min left: %s",
                     epoch, self.step, self.total, seconds, left, text)

    def save(self) -> None:
        """Writes a checkpoint of this step; the losses up to it must have been read, and so found finite.

        Raises:
            UserError: if it cannot be written, or a weight is not finite.
        """
        meta = Meta(self.step, dataclasses.asdict(self.config), identity_of(self.data, self.config))
        save_checkpoint(self.files.checkpoints, self.system, meta, self.config.keep_checkpoints)
        self.read_at = time.monotonic()

    def preview(self) -> None:
        """Paints the preview's photos with the weights so far, writes the picture, and measures the time an image."""
        generator = self.system.networks["photo_to_monet"]
        if self.painter is not generator:
            copy_to_paint(generator, self.system.optimizers[generator.name], self.painter)
        self.paint(self.photos)  # traced, or the caches warmed, outside the measurement
        started = time.monotonic()
        painted = np.asarray(self.paint(self.photos))
        self.seconds_per_image = (time.monotonic() - started) / len(painted)
        picture = write_preview(self.photos, painted, self.files.preview)
        self.history.add_picture(self.step, picture)
        self.read_at = time.monotonic()

    def out_of_time(self) -> bool:
        """Whether training must end now so that painting ends before the deadline."""
        if self.deadline is None:
            return False
        reserve = PAINT_RESERVE * self.images_to_paint * self.seconds_per_image
        over = time.monotonic() + reserve + SPARE * 60 * self.config.max_minutes > self.deadline
        if over:
            LOG.log(logging.INFO if self.step else logging.WARNING, "Stopping at step %d of %d, so that the run ends "
                    "within %g minutes; --max-minutes sets another time", self.step, self.total,
                    self.config.max_minutes)
        return over
