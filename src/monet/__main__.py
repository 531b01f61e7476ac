"""Runs the command line, `monet.cli`, as `python -m monet`."""

import time

STARTED = time.monotonic()  # before importing TensorFlow, which takes seconds

from monet.cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main(started=STARTED))
