"""Adam, its learning rate over a run, and the moving averages of the weights."""

import tensorflow as tf
from tensorflow import keras

from monet.core.config import Config


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
