"""A side of a comparison in `make bench` as a process of its own, with memory and a beginning of its own."""

import json
import subprocess

from console import module_environment


class Side:
    """A process that prints a line of JSON, with seconds and its peak memory so far in GiB, once it is ready, and one
    for each line that it reads.

    Attributes:
        first: seconds of the first line.
        peak: GiB, as of the last line.
    """

    def __init__(self, command: list):
        """Starts it, and waits for its first line."""
        self.process = subprocess.Popen(command, env=module_environment(), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.first, self.peak = self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def read(self) -> tuple[float, float]:
        """The seconds and the peak memory of the next line.

        Raises:
            RuntimeError: if it has died.
        """
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.process.args)} ended with status {self.process.wait()}")
        values = json.loads(line)
        return values["seconds"], values["peak"]

    def step(self, words="") -> float:
        """Has it do its work once more, for what `words` ask; returns the seconds."""
        print(words, file=self.process.stdin, flush=True)
        seconds, self.peak = self.read()
        return seconds
