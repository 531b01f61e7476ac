"""tools/bench.py's command line: mistakes, and what an interrupted bench keeps."""

import json
import signal
import subprocess
import sys
import time

import pytest
from support.settings import TOOLS

BENCH = [sys.executable, str(TOOLS / "bench.py")]


@pytest.mark.parametrize(("arguments", "message"), [
    (["stepp"], "Did you mean step?"),
    (["zip", "--data", "nowhere"], "DATA=nowhere"),
])
def test_a_mistake_is_reported_and_writes_nothing(tmp_path, arguments, message):
    process = subprocess.run([*BENCH, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ") and message in process.stderr
    assert "Traceback" not in process.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupted_bench_keeps_the_rows_that_it_has(small_data, tmp_path):
    results = tmp_path / "bench.json"
    # Where the tests run in the background, a shell has SIGINT ignored, which a child inherits.
    with subprocess.Popen([*BENCH, "accelerator", "equal", "--data", small_data.root], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        line = next(line for line in process.stdout if line.startswith("| accelerator |"))
        while not results.exists() or not results.stat().st_size:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "Interrupted" in errors and "bench.json" in errors
    assert "Traceback" not in errors
    [row] = json.loads(results.read_text())
    assert row["name"] == "accelerator" and row["claim"] in line
