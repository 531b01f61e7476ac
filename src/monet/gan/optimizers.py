"""Adam, its learning rate over a run, and moving averages of the weights."""

import dataclasses

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config
from monet.core.keras_compat import adam_slots, averaged_variables, slot_index, tf_variable

# Steps of a run whose length is not known yet, a float32: its rate is full, and its progress 0.
ENDLESS = 1e30


def run_length(config: Config) -> int | tf.Variable:
    """Steps of the whole run, by which rates and weights change: a number, or a float32 variable if `minutes` decide
    it. Whoever measures the pace sets the variable, and no graph has to be traced or compiled anew."""
    if config.minutes:
        return tf.Variable(ENDLESS, trainable=False, name="run_length")
    return max(config.total_steps, 1)


class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is constant for `decay_start` of the run, then falls linearly to 0 (Zhu et al. 2017).

    It depends on the optimizer's step and the run's length alone, so a resumed run continues with the right rate.
    """

    def __init__(self, config: Config, length: int | tf.Variable):
        self.rate, self.start, self.length = config.learning_rate, config.decay_start, length

    def __call__(self, step):
        """The rate at `step`, a float32 scalar."""
        remaining = (self.length - tf.cast(step, tf.float32)) / (self.length - self.start * self.length)
        return self.rate * tf.clip_by_value(remaining, 0.0, 1.0)

    def get_config(self):
        """The fields; Keras requires this of every schedule."""
        return {"rate": self.rate, "start": self.start, "length": float(self.length)}


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with the same numbers, as one TensorFlow operation where Keras makes a dozen passes.

    With `tutorial` at batch size 1 on two CPU cores, the first step takes 0.84 of the time (0.77 to 1.00), later ones
    0.94 (0.84 to 1.51). With `cpu`, peak memory is 0.98 (0.95 to 0.99). Medians of 7 pairs, on and off.
    """

    def update_step(self, gradient, variable, learning_rate=None):
        """Updates one variable (Kingma & Ba 2015); Keras 3 passes the step's learning rate, Keras 2 does not."""
        index, step = slot_index(self, variable), tf.cast(self.iterations, tf.float32) + 1.0
        first, second = (slots[index] for slots in adam_slots(self))
        tf.raw_ops.ResourceApplyAdam(
            var=tf_variable(variable).handle, m=tf_variable(first).handle, v=tf_variable(second).handle,
            beta1_power=tf.pow(self.beta_1, step), beta2_power=tf.pow(self.beta_2, step),
            lr=self.learning_rate if learning_rate is None else learning_rate, beta1=self.beta_1, beta2=self.beta_2,
            epsilon=self.epsilon, grad=gradient)


class AveragingAdam(FusedAdam):
    """Adam with a moving average of the weights that soon forgets their initial values.

    The decay rises to `ema_momentum` as min(ema_momentum, (1 + step) / (10 + step)), the schedule of TensorFlow's
    ExponentialMovingAverage. With a constant 0.999, half of the average after 700 steps would be initial noise.
    """

    @property
    def ema_momentum(self):
        """The decay at the optimizer's current step, a float32 scalar."""
        step = tf.cast(self.iterations, tf.float32)
        return tf.minimum(self._full_momentum, (1.0 + step) / (10.0 + step))

    @ema_momentum.setter
    def ema_momentum(self, value: float):
        self._full_momentum = value


def own_rate(config: Config, name: str) -> Config:
    """The config with the learning rate of the network `name`: discriminators may have their own."""
    has_own = config.discriminator_rate and name.endswith("_discriminator")
    return dataclasses.replace(config, learning_rate=config.discriminator_rate) if has_own else config


def make_optimizer(config: Config, network: keras.Model, length: int | tf.Variable,
                   average: bool = False) -> keras.optimizers.Optimizer:
    """The Adam optimizer for `network`, with all its variables built.

    Args:
        config: gives learning_rate, decay_start, beta_1 and ema_decay.
        network: the network to train.
        length: from `run_length`; one for all optimizers of a system.
        average: keep a moving average of the weights if `config.ema_decay` is not 0.
    """
    rate = LinearDecay(config, length) if config.decay_start < 1 else config.learning_rate
    if average and config.ema_decay:
        optimizer = AveragingAdam(rate, beta_1=config.beta_1, use_ema=True, ema_momentum=config.ema_decay)
    else:
        optimizer = FusedAdam(rate, beta_1=config.beta_1)
    optimizer.build(network.trainable_variables)
    for variable, mean in averages(network, optimizer):
        mean.assign(variable)
    return optimizer


def averages(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> list[tuple]:
    """Pairs of a trainable variable of `network` and its moving average; empty if the optimizer keeps none."""
    means = averaged_variables(optimizer)
    return list(zip(network.trainable_variables, means, strict=True)) if means else []


def copy_averaged(network: keras.Model, optimizer: keras.optimizers.Optimizer, target: keras.Model) -> None:
    """Copies the moving averages of `network` into `target`, a network like it, and the plain value of every weight
    that has no average."""
    means = {id(variable): mean for variable, mean in averages(network, optimizer)}
    for own, source in zip(target.weights, network.weights, strict=True):
        own.assign(means.get(id(source), source))
