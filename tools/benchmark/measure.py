"""Measures time and memory inside a process, and answers the requests of benchmark/process.py.

Standard library only: PyTorch's environment imports this module, too.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path


def seconds_of(action: Callable[[], object]) -> float:
    """Returns how long `action()` takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def peak_memory_gib() -> float:
    """Returns the peak resident memory of this process so far, in GiB (Linux only).

    Not from getrusage, whose maximum starts at the parent's.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20


def report(seconds: float) -> None:
    """Prints the line of JSON that `benchmark.process.Worker` waits for."""
    print(json.dumps({"seconds": seconds, "peak": peak_memory_gib()}), flush=True)


def answer_requests(work: Callable[[str], object]) -> None:
    """Does `work(line)` for each line of standard input and reports how long it took."""
    for line in sys.stdin:
        report(seconds_of(lambda request=line: work(request)))
