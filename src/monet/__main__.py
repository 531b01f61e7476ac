"""Runs the command line, `monet.cli`, as `python -m monet`."""

import time

STARTED = time.monotonic()  # before importing TensorFlow, which takes seconds

from monet.core.endings import quiet_interrupt  # noqa: E402

with quiet_interrupt():
    from monet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(started=STARTED))
