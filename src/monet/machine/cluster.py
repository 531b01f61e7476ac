"""Several machines that train together, as $TF_CONFIG describes them."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from monet.core.errors import UserError

# What it means when another machine of the cluster has died, or given up.
CLUSTER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
                  tf.errors.DeadlineExceededError)
CLUSTER_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


class Task(NamedTuple):
    """One machine's part in a cluster: its kind and index there, the number of machines, and whether it leads."""

    kind: str
    index: int
    machines: int
    chief: bool


def cluster_task() -> Task | None:
    """This machine's task in the cluster that $TF_CONFIG describes; None without a cluster of several machines.

    Raises:
        UserError: if $TF_CONFIG cannot be understood.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    try:
        given = json.loads(text or "{}")
        cluster = given.get("cluster") or {}
        if not all(isinstance(hosts, list) and all(isinstance(host, str) for host in hosts)
                   for hosts in cluster.values()):
            raise TypeError("a kind of machines that is no list of addresses")
        machines = sum(len(hosts) for hosts in cluster.values())
        if machines < 2:
            return None
        kind, index = given["task"]["type"], int(given["task"]["index"])
        if set(cluster) - {"chief", "worker"} or not 0 <= index < len(cluster[kind]):
            raise ValueError("a task that is not among the cluster's chief and workers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"$TF_CONFIG does not describe a cluster and this machine's task in it ({error!r}). Unset it, "
                        f"to train on this machine alone, or give something like {CLUSTER_EXAMPLE}.") from None
    return Task(kind, index, machines, kind == "chief" or (index == 0 and "chief" not in cluster))


def is_chief() -> bool:
    """Whether this machine is the one that writes the run's files: the only one, or the first of its cluster."""
    task = cluster_task()
    return task is None or task.chief


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """For a block that waits inside TensorFlow, where no handler of Python's runs: Ctrl-C ends the program there, and
    afterwards signals are handled as before. A cluster's server takes SIGTERM for itself, and does nothing with it."""
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def spans_machines(strategy: tf.distribute.Strategy) -> bool:
    """Whether other machines take part."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@contextlib.contextmanager
def cluster_explained() -> Iterator[None]:
    """Turns what TensorFlow raises when another machine of the cluster does not answer into a UserError."""
    try:
        yield
    except CLUSTER_ERRORS as error:
        if cluster_task() is None:
            raise
        raise UserError("Another machine of the cluster no longer answers, and without it no step can be made. Start "
                        "the same command on all of them again: it goes on from the newest checkpoint. "
                        f"({str(error).splitlines()[0]})") from None


def writes_files(strategy: tf.distribute.Strategy) -> bool:
    """Whether this machine writes the run's files: all do but those of a cluster that are not its chief."""
    return is_chief() or not spans_machines(strategy)


def make_agreement(strategy: tf.distribute.Strategy) -> Callable[[list[bool]], list[bool]]:
    """A function that makes each flag true on all machines if it is true on one, so that all do the same next."""
    if not spans_machines(strategy):
        return lambda flags: flags

    def agreed(flags: list[bool]) -> list[bool]:
        own = tf.constant(flags, tf.float32)
        return [bool(sum_ > 0) for sum_ in strategy.reduce("SUM", strategy.run(lambda: own), axis=None).numpy()]

    return agreed


def same_everywhere(agreed: Callable[[list[bool]], list[bool]], number: int) -> bool:
    """Whether all machines, asked by `make_agreement`'s function, hold the same non-negative number below 2**32."""
    bits = [bool(number >> place & 1) for place in range(32)]
    some_one, some_zero = np.split(np.array(agreed([*bits, *(not bit for bit in bits)])), 2)
    return not (some_one & some_zero).any()
