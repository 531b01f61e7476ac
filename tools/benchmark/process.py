"""Processes that `make bench` starts, because peak memory and the time to start belong to a process."""

import json
import subprocess

from console import module_command, module_environment


def output_of(module: str, *arguments, **environment: str) -> str:
    """Runs a module below `tools/` in a process of its own; returns its standard output.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    return subprocess.run(module_command(module, *arguments), env=module_environment(**environment),
                          stdout=subprocess.PIPE, check=True, text=True).stdout


class Worker:
    """A process that does its work once when it starts, and once more for each line that it reads.

    After each time it prints a line of JSON: see `benchmark.measure.report`.

    Attributes:
        first_seconds: how long the first time took.
        peak_gib: peak memory of the process, as of the last time.
    """

    def __init__(self, command: list[str]):
        """Starts the process and waits until it has done its work once."""
        self.process = subprocess.Popen(command, env=module_environment(), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.first_seconds, self.peak_gib = self.read_report()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def read_report(self) -> tuple[float, float]:
        """Waits for the next report; returns its seconds and the peak memory in GiB.

        Raises:
            RuntimeError: if the process has died.
        """
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.process.args)} ended with status {self.process.wait()}")
        values = json.loads(line)
        return values["seconds"], values["peak"]

    def repeat(self, request: object = "") -> float:
        """Has the work done once more, for `request` if it takes one; returns the seconds."""
        print(request, file=self.process.stdin, flush=True)
        seconds, self.peak_gib = self.read_report()
        return seconds
