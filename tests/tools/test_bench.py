"""tools/bench.py's command line: what it says of mistakes, and what it keeps when it is interrupted."""
import json
import signal
import subprocess
import sys
import time

import pytest
from support.settings import TOOLS

BENCH = [sys.executable, str(TOOLS / "bench.py")]


@pytest.mark.parametrize(("words", "said"), [
    (["stepp"], "error: There is no row stepp. Did you mean step?"),
    (["zip", "--data", "nowhere"], "error: DATA=nowhere is not a folder. Give a folder"),
])
def test_a_mistake_is_said_in_a_sentence(tmp_path, words, said):
    done = subprocess.run([*BENCH, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupted_bench_keeps_the_rows_that_it_has(small_data, tmp_path):
    kept = tmp_path / "bench.json"
    with subprocess.Popen([*BENCH, "accelerator", "scaling", "--data", small_data.root], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        row = next(line for line in process.stdout if line.startswith("| accelerator |"))
        while not kept.exists() or not kept.stat().st_size:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "Interrupted: the rows above are in bench.json, too." in errors
    assert "Traceback" not in errors
    [found] = json.loads(kept.read_text())
    assert found["name"] == "accelerator" and found["claim"] in row
