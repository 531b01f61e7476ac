"""What the players of every system share: optimizers and their rate, discriminators and what they are shown."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf
from tensorflow import keras

from monet.augment import make_augmentation, split_seed
from monet.config import Config, UserError, pick
from monet.folding import fold, image_tile, inner_ends, unfold
from monet.losses import ADVERSARIAL_LOSSES, AdversarialLoss
from monet.networks import FEATURES, build_discriminator

# The losses of `two_objective`'s heads, as in the public kernel that it comes from.
HEADS = ("hinge", "bce")
# Of the loss scale, as in Keras: where it begins, and the steps without an overflow after which it doubles.
FIRST_SCALE, DOUBLED_AFTER = 2.0**15, 2000


class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is constant for `decay_start` of the run and then falls linearly to 0 (Zhu et al. 2017).

    It depends on the optimizer's step alone, so that a resumed run goes on with the rate it would have had.
    """

    def __init__(self, config: Config):
        self.rate, self.total = config.learning_rate, config.total_steps
        self.start = config.decay_start * config.total_steps

    def __call__(self, step):
        """The rate at `step`, a float32 scalar."""
        left = (self.total - tf.cast(step, tf.float32)) / max(self.total - self.start, 1.0)
        return self.rate * tf.clip_by_value(left, 0.0, 1.0)

    def get_config(self):
        """What Keras asks of every schedule."""
        return {"rate": self.rate, "start": self.start, "total": self.total}


def raw(variable):
    """TensorFlow's variable, which Keras 3 wraps in its own."""
    return variable if isinstance(variable, tf.Variable) else variable.value


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, the same numbers, with TensorFlow's one operation for what Keras takes a dozen passes for."""

    def update_step(self, gradient, variable, learning_rate=None):
        """One variable's step (Kingma & Ba 2015); Keras 3 gives the rate of this step, Keras 2 does not."""
        keras_3 = hasattr(self, "_trainable_variables_indices")
        place = (self._trainable_variables_indices if keras_3 else self._index_dict)[self._var_key(variable)]
        step = tf.cast(self.iterations, tf.float32) + 1.0
        tf.raw_ops.ResourceApplyAdam(
            var=raw(variable).handle, m=raw(self._momentums[place]).handle, v=raw(self._velocities[place]).handle,
            beta1_power=tf.pow(self.beta_1, step), beta2_power=tf.pow(self.beta_2, step),
            lr=self.learning_rate if learning_rate is None else learning_rate, beta1=self.beta_1, beta2=self.beta_2,
            epsilon=self.epsilon, grad=gradient)


class AveragingAdam(FusedAdam):
    """Adam with a moving average of the weights that does not remember how they began.

    Its decay rises to `ema_momentum` as min(ema_momentum, (1 + step) / (10 + step)), as TensorFlow's own
    ExponentialMovingAverage does: with a constant 0.999, half of what paints after 700 steps would be the noise that
    the weights were drawn from.
    """

    @property
    def ema_momentum(self):
        """The decay at the optimizer's present step, a float32 scalar."""
        step = tf.cast(self.iterations, tf.float32)
        return tf.minimum(self._most_momentum, (1.0 + step) / (10.0 + step))

    @ema_momentum.setter
    def ema_momentum(self, value: float):
        self._most_momentum = value


def make_optimizer(config: Config, network: keras.Model, average: bool = False) -> keras.optimizers.Optimizer:
    """The Adam that trains `network`, with all its variables built.

    Args:
        config: gives the rate and its decay, beta_1 and ema_decay.
        network: what it trains.
        average: keep the moving average of the weights, if `config.ema_decay` asks for one.
    """
    rate = LinearDecay(config) if config.decay_start < 1 else config.learning_rate
    if average and config.ema_decay:
        optimizer = AveragingAdam(rate, beta_1=config.beta_1, use_ema=True, ema_momentum=config.ema_decay)
    else:
        optimizer = FusedAdam(rate, beta_1=config.beta_1)
    optimizer.build(network.trainable_variables)
    for variable, mean in averages(network, optimizer):
        mean.assign(variable)
    return optimizer


def averages(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[tuple]:
    """Pairs of a trainable variable of `network` and its moving average; none if the optimizer keeps none."""
    if not optimizer.use_ema:
        return []
    # One name and one order in Keras 2 and 3.
    return list(zip(network.trainable_variables, optimizer._model_variables_moving_average, strict=True))


def copy_to_paint(network: keras.Model, optimizer: keras.optimizers.Optimizer, painter: keras.Model) -> None:
    """Gives `painter`, a network like `network`, the moving averages and what else `network` holds."""
    means = {id(variable): mean for variable, mean in averages(network, optimizer)}
    for target, source in zip(painter.weights, network.weights, strict=True):
        target.assign(means.get(id(source), source))


class ImagePool:
    """Past fakes (Shrivastava et al. 2017): half of what a discriminator is shown are fakes of earlier steps.

    Each device has a pool of its own. Positions are drawn from the step's seed; both variables belong to the checkpoint
    (of several devices' pools, the first's).
    """

    def __init__(self, config: Config):
        """An empty pool of `config.image_pool` images.

        Raises:
            UserError: if a batch does not fit into it.
        """
        self.size = config.image_pool
        batch = config.batch_size // tf.distribute.get_strategy().num_replicas_in_sync
        if self.size < batch:
            raise UserError(f"--image-pool {self.size} is smaller than a device's batch of {batch} (--batch-size "
                            f"{config.batch_size}), which must fit into it. Give a larger pool, or 0 for none.")
        side = config.image_size
        options = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ,
                   "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self.images = tf.Variable(tf.zeros([self.size, side, side, 3]), name="pool_images", **options)
        self.count = tf.Variable(0, dtype=tf.int64, name="pool_count", **options)

    def swapped(self, fakes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Puts fakes into the pool and returns as many to show: each the new one or, once the pool is full, as likely
        an old one whose place it takes.

        Args:
            fakes: float32 `[batch, height, width, 3]`; the batch is at most the pool's size.
            seed: int32 `[2]`.
        """
        batch = fakes.shape[0]
        filling = self.count < self.size
        order, chance = tf.split(tf.random.stateless_uniform([self.size + batch], seed), [self.size, batch])
        shuffled = tf.argsort(order)[:batch]
        in_order = tf.cast((self.count + tf.range(batch, dtype=tf.int64)) % self.size, tf.int32)
        places = tf.where(filling, in_order, shuffled)
        stored = tf.logical_or(filling, chance < 0.5)[:, None, None, None]
        old = tf.gather(self.images, places)
        shown = tf.where(tf.logical_and(stored, tf.logical_not(filling)), old, fakes)
        kept = tf.where(stored, fakes, old)
        self.images.assign(tf.tensor_scatter_nd_update(self.images, places[:, None], kept))
        self.count.assign(tf.minimum(self.count + batch, self.size))
        return shown


def apply_apart(network, batches: list[tf.Tensor], config: Config) -> list:
    """`network(batch)` of each of `batches`, in one call where that is the same: it halves the graph.

    With batch normalization it is not: images of one call see each other.
    """
    if config.norm == "batch":
        return [network(batch) for batch in batches]
    outputs = network(tf.concat(batches, 0) if len(batches) > 1 else batches[0])
    parts = [tf.split(output, len(batches)) for output in tf.nest.flatten(outputs)]
    return [tf.nest.pack_sequence_as(outputs, part) for part in zip(*parts, strict=True)]


class Discriminator:
    """One discriminator as a player: its network, what it is shown, and its losses.

    Attributes:
        network: the Keras model.
        judge: the same, of pictures in tiles if it folds them; all losses are of such pictures.
        features: what `judge` makes of them before the last convolution.
        state: what it remembers between steps beside its weights, variables by name.
    """

    def __init__(self, config: Config, name: str):
        """Builds the network `name`; `monet_discriminator` is the one that DiffAugment and two objectives are for.

        Raises:
            UserError: for a network, a loss or an augmentation that there is not.
        """
        self.config = config
        of_monet = name == "monet_discriminator"
        two = config.discriminator == "two_objective"
        self.network = build_discriminator(config, name, "patch" if two and not of_monet else config.discriminator)
        names = HEADS if two and of_monet else (config.adversarial_loss,)
        self.losses = [mixed_loss(head, config.discriminator_loss) for head in names]
        augmentations = config.diffaugment if of_monet else ""
        self.augmented = make_augmentation(dataclasses.replace(config, diffaugment=augmentations))
        self.augments = bool(augmentations)
        self.pool = ImagePool(config) if config.image_pool else None
        self.tile = image_tile(config)
        inputs, outputs = inner_ends(self.network)
        self.judge = keras.Model(inputs, outputs)
        self.features = keras.Model(inputs, self.network.get_layer(FEATURES).output)
        self.state = {"pool/images": self.pool.images, "pool/count": self.pool.count} if self.pool else {}

    def shown(self, pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """What is judged of `pictures`."""
        return fold(self.augmented(unfold(pictures, self.tile), seed), self.tile) if self.augments else pictures

    def fooling_loss(self, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The generator's adversarial loss on `fake` images, the mean over heads: a float32 scalar."""
        heads = tf.nest.flatten(self.judge(self.shown(fake, seed), training=True))
        return tf.add_n([loss.generator(logits) for loss, logits in zip(self.losses, heads, strict=True)]) / len(heads)

    def loss_and_gradients(self, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor, share: float):
        """The discriminator's loss on two batches of images, the mean over heads, and `share` times its gradients."""
        fake = tf.stop_gradient(fake)
        of_pool, *own_seeds = split_seed(seed, 3)
        if self.pool:
            fake = fold(self.pool.swapped(unfold(fake, self.tile), of_pool), self.tile)
        batches = list(map(self.shown, (real, fake), own_seeds))
        with tf.GradientTape() as tape:
            judged = apply_apart(lambda images: self.judge(images, training=True), batches, self.config)
            real_heads, fake_heads = (tf.nest.flatten(heads) for heads in judged)
            losses = [loss.discriminator(*pair)
                      for loss, *pair in zip(self.losses, real_heads, fake_heads, strict=True)]
            loss = self.config.discriminator_weight * tf.add_n(losses) / len(losses)
            scaled = share * loss
        return loss, tape.gradient(scaled, self.network.trainable_variables)


def mixed_loss(name: str, discriminators: str) -> AdversarialLoss:
    """The loss `name`, but with the discriminators' side of the loss `discriminators`, if that is not empty."""
    loss = pick(ADVERSARIAL_LOSSES, name, "adversarial_loss")
    if not discriminators:
        return loss
    return AdversarialLoss(loss.generator, pick(ADVERSARIAL_LOSSES, discriminators, "discriminator_loss").discriminator)


class LossScale:
    """Dynamic loss scaling (Micikevicius et al. 2018), without which float16 gradients become 0.

    Losses are multiplied by a power of two before the gradients are taken, and these divided by it. Gradients that are
    not finite count as 0 for this step, on all devices, and halve the scale; `DOUBLED_AFTER` good steps double it.

    Attributes:
        scale: the present factor, float32.
        state: variables by name, for the checkpoint.
    """

    def __init__(self):
        """Begins at `FIRST_SCALE`."""
        options = {"trainable": False, "synchronization": tf.VariableSynchronization.ON_READ,
                   "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}  # all devices come to the same
        self.scale = tf.Variable(FIRST_SCALE, name="loss_scale", **options)
        self.good_steps = tf.Variable(0, dtype=tf.int64, name="good_steps", **options)
        self.state = {"scale": self.scale, "good_steps": self.good_steps}

    def unscaled(self, gradients: dict) -> dict:
        """The gradients of losses that were multiplied by `scale`, and the scale adjusted for the next step."""
        context = tf.distribute.get_replica_context()
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in tf.nest.flatten(gradients)])
        devices = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(finite, tf.float32))
        good = devices > context.num_replicas_in_sync - 0.5
        factor = tf.where(good, 1.0 / self.scale, 0.0)
        result = tf.nest.map_structure(
            lambda gradient: tf.where(good, gradient * factor, tf.zeros_like(gradient)), gradients)
        counted = tf.where(good, self.good_steps + 1, 0)
        double = counted >= DOUBLED_AFTER
        change = tf.where(good, tf.where(double, 2.0, 1.0), 0.5)
        self.scale.assign(tf.clip_by_value(self.scale * change, 1.0, FIRST_SCALE**2))
        self.good_steps.assign(tf.where(double, tf.zeros_like(counted), counted))
        return result


def make_loss_scale() -> LossScale | None:
    """What the present precision needs: a loss scale in float16, whose smallest number is 6e-8, else none."""
    return LossScale() if keras.mixed_precision.global_policy().compute_dtype == "float16" else None


def states_of(discriminators: dict, loss_scale: LossScale | None) -> dict:
    """What players remember beside their weights, dicts of variables by name.

    Args:
        discriminators: each `Discriminator` by its network's name.
        loss_scale: of `make_loss_scale`.
    """
    states = {name: discriminator.state for name, discriminator in discriminators.items()}
    return states | ({"loss_scale": loss_scale.state} if loss_scale else {})


def train_step(system, photo: tf.Tensor, monet: tf.Tensor, seed: tf.Tensor, progress: float = 0.0,
               compute: Callable | None = None) -> dict:
    """One step of all players on this replica's part of the global batch; the optimizers sum over replicas.

    Args:
        system: a `monet.cyclegan.CycleGan`, or another that `monet.preparing.SYSTEMS` holds.
        photo: float32 `[batch, height, width, 3]` in [-1, 1].
        monet: the same for paintings.
        seed: int32 `[2]`, of all that is random.
        progress: the part of the run that is over, 0 to 1.
        compute: the system's `losses_and_gradients`, compiled; None: as it is.

    Returns:
        The losses by name, each this replica's share of the global mean: their sum over replicas is the mean.
    """
    share = 1.0 / tf.distribute.get_replica_context().num_replicas_in_sync
    scaled_share = share * system.loss_scale.scale if system.loss_scale else share
    losses, gradients = (compute or system.losses_and_gradients)(photo, monet, seed, progress, scaled_share)
    if system.loss_scale:
        gradients = system.loss_scale.unscaled(gradients)
    for name, optimizer in system.optimizers.items():
        optimizer.apply_gradients(zip(gradients[name], system.networks[name].trainable_variables, strict=True))
    return {name: share * loss for name, loss in losses.items()}
