"""The first call of an engine's steps, which traces and compiles them."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monet.core.config import Config
from monet.core.errors import LOG
from monet.data.read_errors import cause_of, is_of_reading
from monet.training.engine import TensorFlowEngine


def first_call(engine: TensorFlowEngine, asked: Config, step: int, count: int,
               restore: Callable[[], object]) -> np.ndarray:
    """Runs the first `count` steps of this session and waits for them.

    If XLA cannot compile them and the config left XLA to the kit, the engine goes on without.

    Args:
        engine: the run's.
        asked: the config as asked.
        step: steps done before.
        count: steps to make.
        restore: loads the newest checkpoint, which is of this step, in case a call failed halfway.

    Returns:
        The sums of the losses.
    """
    try:
        return np.asarray(engine.run_steps(step, count))
    except tf.errors.OpError as error:
        is_xlas = not isinstance(error, tf.errors.ResourceExhaustedError) and not is_of_reading(error)
        if not is_xlas or engine.config.xla != "on" or asked.xla != "auto":
            raise
        LOG.warning("XLA cannot compile the step, so the run goes on without: %s", cause_of(error))
    engine.stop_compiling()
    restore()
    return np.asarray(engine.run_steps(step, count))
