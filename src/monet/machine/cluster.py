"""The machines that train together: one by itself, or several, as $TF_CONFIG describes them."""

import contextlib
import json
import os
import signal
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from monet.core.config import Config
from monet.core.errors import LOG, UserError


class OneMachine:
    """The only machine of a run. It decides alone what the machines of a cluster have to agree on.

    Attributes:
        is_single: whether there is only this machine.
        writes: whether this machine writes the run's files.
    """

    is_single = writes = True

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is true on any machine."""
        return list(map(bool, flags))

    def same(self, number: int) -> bool:
        """Whether all machines hold the same number."""
        return True

    def from_chief(self, number: int) -> int:
        """The chief's number, on all machines."""
        return number

    def barrier(self, name: str) -> None:
        """Waits until all machines have arrived at the barrier `name`."""


ONE_MACHINE = OneMachine()

# Raised on the other machines when one of a cluster has died or given up.
CLUSTER_ERRORS = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
                  tf.errors.DeadlineExceededError)
CLUSTER_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


class Task(NamedTuple):
    """One machine's part in a cluster: its kind and index there, the number of machines, and whether it is chief."""

    kind: str
    index: int
    machines: int
    chief: bool


def cluster_task() -> Task | None:
    """This machine's task in the cluster that $TF_CONFIG describes; None if it describes fewer than two machines.

    Raises:
        UserError: if $TF_CONFIG cannot be understood.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    try:
        given = json.loads(text or "{}")
        cluster = given.get("cluster") or {}
        if not all(isinstance(hosts, list) and all(isinstance(host, str) for host in hosts)
                   for hosts in cluster.values()):
            raise TypeError("hosts that are not a list of addresses")
        machines = sum(len(hosts) for hosts in cluster.values())
        if machines < 2:
            return None
        kind, index = given["task"]["type"], int(given["task"]["index"])
        if set(cluster) - {"chief", "worker"} or not 0 <= index < len(cluster[kind]):
            raise ValueError("a task that is not among the cluster's chief and workers")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"$TF_CONFIG does not describe a cluster and this machine's task in it ({error!r}). Unset it "
                        f"to train on this machine alone, or set it to something like {CLUSTER_EXAMPLE}.") from None
    return Task(kind, index, machines, kind == "chief" or (index == 0 and "chief" not in cluster))


@contextlib.contextmanager
def default_signal_handlers() -> Iterator[None]:
    """Restores the system's handlers for the block, which waits inside TensorFlow where no Python handler runs.

    Ctrl-C then ends the program. Afterwards the previous handlers are back; a cluster's server replaces that of
    SIGTERM with one that does nothing.
    """
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def spans_machines(strategy: tf.distribute.Strategy) -> bool:
    """Whether the strategy's replicas are on several machines."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@contextlib.contextmanager
def explain_cluster_errors() -> Iterator[None]:
    """Turns TensorFlow's errors about an unresponsive machine of the cluster into a UserError."""
    try:
        yield
    except CLUSTER_ERRORS as error:
        if cluster_task() is None:
            raise
        raise UserError("Another machine of the cluster no longer answers, and training needs all of them. Start the "
                        "same command on each of them again: it resumes from the newest checkpoint. "
                        f"({str(error).splitlines()[0]})") from None


class Cluster(OneMachine):
    """Several machines. Every machine must call each of these methods in the same order."""

    is_single = False

    def __init__(self, task: Task):
        """The cluster that this machine has the `task` in."""
        self.task, self.writes = task, task.chief

    def join(self) -> tf.distribute.Strategy:
        """Waits for the other machines; returns the strategy over the GPUs, or the CPUs, of all of them."""
        LOG.info("%s %d of a cluster of %d machines: waiting for the others", self.task.kind, self.task.index,
                 self.task.machines)
        with default_signal_handlers():
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        return self.strategy

    def gather(self, numbers: Sequence[int]) -> np.ndarray:
        """The `numbers` of every device of every machine: int64 `[devices, numbers]`."""
        own = tf.constant([numbers], tf.int64)
        return self.strategy.gather(self.strategy.run(lambda: own), axis=0).numpy()

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is true on any machine."""
        return self.gather(list(map(int, flags))).any(axis=0).tolist()

    def same(self, number: int) -> bool:
        """Whether all machines hold the same number."""
        return len(np.unique(self.gather([number]))) == 1

    def from_chief(self, number: int) -> int:
        """The chief's number, on all machines."""
        return int(next(chiefs for chiefs, writes in self.gather([number, self.writes]) if writes))

    def barrier(self, name: str) -> None:
        """Waits until all machines have arrived at the barrier `name`."""
        assert self.same(zlib.crc32(name.encode())), f"not all machines of the cluster are at {name!r}"


def open_cluster(config: Config) -> OneMachine:
    """The cluster that $TF_CONFIG describes; a TPU is one machine's.

    Raises:
        UserError: as `cluster_task`.
    """
    task = cluster_task() if config.accelerator != "tpu" else None
    return Cluster(task) if task else ONE_MACHINE
