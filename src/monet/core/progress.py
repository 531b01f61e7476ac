"""Progress of long work: a bar on a terminal, occasional log lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from monet.core.errors import LOG

LOG_INTERVAL = 30  # seconds between log lines where there is no terminal


class Interval:
    """Comes due once every `seconds`, first after `seconds`; infinity means never."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self.seconds, self.clock = seconds, clock
        self.started = clock()

    def due(self) -> bool:
        """Returns whether the interval has passed; if it has, a new one starts."""
        if self.clock() - self.started < self.seconds:
            return False
        self.started = self.clock()
        return True


@contextlib.contextmanager
def progress_bar(label: str, total: int | None, unit: str = "image", initial: int = 0,
                 clock: Callable[[], float] = time.monotonic) -> Iterator[Callable]:
    """Shows a progress bar with the time left; without a terminal, logs a line every `LOG_INTERVAL` seconds.

    Args:
        label: text in front of the bar.
        total: units of work in all; None: not known yet.
        unit: name of one unit, singular.
        initial: units that were done before.
        clock: gives the time in seconds, for the log lines.

    Yields:
        A function `show(done, note="", total)`, to be called with the units done so far, a text to put behind the
        numbers, and the total if it has become known.
    """
    log_due, started = Interval(LOG_INTERVAL, clock), clock()
    with tqdm(total=total, initial=initial, desc=label, unit=unit, disable=not sys.stderr.isatty()) as bar:
        def show(done: int, note: str = "", total: int | None = total) -> None:
            bar.total = total
            if note:
                bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)
            if bar.disable and done > initial and log_due.due():
                rate = (done - initial) / (clock() - started)
                left = f", {tqdm.format_interval((total - done) / rate)} left" if total else ""
                LOG.info("%s: %d%s %ss, %.1f a second%s%s", label, done, f" of {total}" if total else "", unit, rate,
                         left, f": {note}" if note else "")

        yield show
