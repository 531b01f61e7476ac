"""The memory of a process that measures itself.

python -m benchmark.memory run … does what python -m monet run … does, and then prints its peak memory in GiB.
"""

import re
import sys
from pathlib import Path


def peak_memory_gib() -> float:
    """The most memory that this process has held so far, in GiB.

    Not getrusage, whose maximum begins with that of the process which started this one.
    """
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) / 2**20


if __name__ == "__main__":
    from monet.cli import main  # here, because others take the function alone

    status = main(sys.argv[1:])
    print(peak_memory_gib())
    sys.exit(status)
