"""Runs the kit and prints its peak memory: python -m benchmark.monet_memory run … is python -m monet run …

The last line of the output is the process's peak memory in GiB.
"""

import sys

from benchmark.measure import peak_memory_gib

from monet.cli import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    print(peak_memory_gib())
    sys.exit(status)
