"""How far something is: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from monet.core.errors import LOG

SAY_SECONDS = 30  # between log lines where there is no progress bar


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to tell how many of `total` images are done; shows a bar on a terminal, else logs now and then."""
    log_due, started = Every(SAY_SECONDS), time.monotonic()
    with tqdm(total=total, desc=what, unit="image", disable=not sys.stderr.isatty()) as bar:
        def show(done: int) -> None:
            bar.update(done - bar.n)
            if bar.disable and done and log_due.due():
                rate = done / (time.monotonic() - started)
                LOG.info("%s: %d of %d images, %.1f a second, %s left", what, done, total, rate,
                         tqdm.format_interval((total - done) / rate))

        yield show


class Every:
    """Says when `seconds` have passed since it last said so."""

    def __init__(self, seconds: float):
        self.seconds, self.last = seconds, time.monotonic()

    def due(self) -> bool:
        """Whether it is time again; if so, the clock starts anew."""
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True
