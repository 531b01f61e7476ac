"""`python -m monet`: the command line of `monet.cli`."""

import time

STARTED = time.monotonic()  # before TensorFlow, which takes seconds to load

from monet.cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main(started=STARTED))
