"""`python -m monet` on a device that hangs at the fifth call for steps, in the first HANGS starts:

    python hanging_run.py HANGS run --data FOLDER …

The limits are seconds, not minutes.
"""

import sys
import time

from monet.cli import main
from monet.machine.restarts import past_hangs
from monet.training import watchdog
from monet.training.engine import TensorFlowEngine

hangs, calls, run_steps = int(sys.argv[1]), [], TensorFlowEngine.run_steps
watchdog.LEAST_SECONDS, watchdog.CHECK_SECONDS = 5.0, 0.5


def hanging_step(engine, step, count):
    """Makes steps, or sleeps."""
    calls.append(step)
    if len(calls) == 5 and len(past_hangs()) < hangs:
        time.sleep(3600)
    return run_steps(engine, step, count)


TensorFlowEngine.run_steps = hanging_step
if __name__ == "__main__":
    sys.exit(main(sys.argv[2:], time.monotonic()))
