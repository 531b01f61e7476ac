"""tools/tpu_check.py: its arithmetic and its errors here; the TPU's compiler in the environment of `make tpu-env`."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tpu_check
from support.settings import ROOT
from tpu_check import CORES, GIB, Program, compared, largest_batch, lines_of, report

from monet.core.presets import resolve_config

PYTHON = ROOT / ".venv-tpu-check" / "bin" / "python"
TPU = resolve_config({"preset": "tpu"})


def program(batch, memory, flops=1e12, moved=30e9, part="step"):
    return Program(part, batch, flops, moved, 2 * moved, memory, 1.0)


def test_the_roofline_says_what_binds():
    moving, computing = program(4, GIB), program(4, GIB, flops=20e12)
    assert (moving.bound, computing.bound) == ("memory", "compute")
    assert moving.least_seconds == pytest.approx(30 / 819)
    assert computing.least_seconds == pytest.approx(20 / 197)


def test_the_largest_batch_is_on_the_line_through_two():
    assert largest_batch([program(4, 2 * GIB), program(16, 5 * GIB)]) == 60  # 1 GiB and 0.25 each
    assert largest_batch([program(4, 2 * GIB)]) is None
    refused = Program("step", 64, None, None, None, None, 1.0, "Ran out of memory")
    assert largest_batch([program(4, 2 * GIB), refused]) is None


def test_the_report_gives_rates_and_hours_of_the_presets_own_batch():
    numbers = report(TPU, [program(4, 2 * GIB), program(16, 5 * GIB, moved=60e9), program(4, GIB, part="painting")])
    own, larger, _ = numbers["programs"]
    assert own["most_a_second"] == pytest.approx(CORES * 4 * 819 / 30)
    assert numbers["least_hours"] == pytest.approx(30 * 1000 * 30 / 819 / 3600)
    assert larger["moved_each"] == pytest.approx(60e9 / 16)
    text = "\n".join(lines_of(numbers))
    for said in ("2.00 of 16 GiB", "bound by memory", "at least 36.6 ms", "874 pairs/s", "0.31 hours", "about 60",
                 "30.0 GB to and from memory (7.50 a pair)", "60.0 GB accessed (15.00 a pair)"):
        assert said in text


def test_what_does_not_fit_is_said():
    large = Program("step", 512, None, None, None, None, 1.0, "Used 99G of 15.75G")
    numbers = report(TPU, [large, program(4, 17 * GIB)])
    refused, large, *_ = lines_of(numbers)[1:]
    assert "does not fit into 16 GiB a core (Used 99G of 15.75G)" in refused
    assert "17.00 of 16 GiB a core, too many" in large


def test_two_presets_are_compared_where_part_and_batch_are_equal():
    first = report(TPU, [program(4, GIB, moved=15e9), program(8, GIB)])
    second = report(resolve_config({}), [program(4, 2 * GIB)])
    assert compared(first, second) == [
        "tpu / tutorial, step, 4 a core: moved 0.50, accessed 0.50, flops 1.00, memory 0.50, least_seconds 0.50"]


@pytest.mark.parametrize(("words", "said"), [
    (["tpuu"], "--preset tpuu: there is no such preset. Did you mean tpu"),
    (["--compare", "papers"], "--preset papers: there is no such preset. Did you mean paper"),
    (["--batches", "4,none"], "--batches 4,none is not a list of numbers from 1 on. Give, for example"),
    (["--parts", "stepp"], "--parts stepp: there is no such part. Choose of step"),
    (["--filters", "0"], "--generator-filters 0: must be at least 1"),
    (["--space-to-depth", "maybe"], "--space-to-depth"),
])
def test_a_mistake_is_said_in_a_sentence(capsys, words, said):
    assert tpu_check.main(words) == 2
    assert said in capsys.readouterr().err


def test_without_the_compiler_it_says_how_to_get_it():
    found = subprocess.run([sys.executable, ROOT / "tools/tpu_check.py"], capture_output=True, text=True,
                           env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    if found.returncode == 0 or "compiling" in found.stderr:
        pytest.skip("this environment has the compiler")
    assert found.returncode == 2
    assert "Run make tpu-check, which builds one" in found.stderr


def test_a_compiler_that_dies_is_quoted():
    """As the TPU's compiler does at an internal check."""
    stderr = "F1121 19:50:46.902391 27339 fusion_util.cc:2953] Check failed: progress. Check your HLO bf16[3,3]\nmore"
    assert tpu_check.refusal(stderr, -6) == "Check failed: progress. Check your HLO bf16[3,3]"
    assert tpu_check.refusal("", 3) == "the compiler ended with status 3"


@pytest.mark.parametrize(("signal", "said"), [
    ("KILL", "The compiler of tpu's painting was killed, most likely because this machine's memory was full"),
    ("ABRT", "tpu's painting does not compile for the TPU: the compiler ended with status -6"),
])
def test_what_was_compiled_before_a_failure_is_printed(tmp_path, monkeypatch, capsys, signal, said):
    """A compiler that knows one program, and dies of the next."""
    compiler = tmp_path / "compiler"
    compiler.write_text(f"""#!/bin/sh
case "$2" in *'"painting"'*) kill -{signal} $$ ;; esac
echo '{{"flops": 1e12, "moved": 3e9, "accessed": 6e9, "memory": 2147483648}}'
""")
    compiler.chmod(0o755)
    for package in ("libtpu", "jax"):
        (tmp_path / f"{package}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "executable", str(compiler))
    assert tpu_check.main(["tpu", "--compare", "tutorial", "--json"]) == 2
    out, err = capsys.readouterr()
    [numbers] = json.loads(out)  # the second preset was never begun
    assert [(row["part"], row["batch"], row["memory"]) for row in numbers["programs"]] == [
        ("step", 4, 2 * GIB), ("step", 8, 2 * GIB)]
    assert said in err
    assert tpu_check.main(["tpu", "--parts", "painting"]) == 2
    assert not capsys.readouterr().out


@pytest.fixture
def in_tpu_environment():
    """A function that runs the environment's Python with some arguments and returns what it printed."""
    if not PYTHON.exists():
        said = "the TPU's compiler is not installed: make tpu-env"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(said)

    def run(*arguments, status=0):
        environment = os.environ | tpu_check.COMPILER | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tools'}"}
        done = subprocess.run([PYTHON, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.returncode == status, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.mark.lengthy
def test_the_program_for_the_tpu_computes_tensorflows_gradients(in_tpu_environment):
    """Of all players of the preset, its batch over 8 devices."""
    found = json.loads(in_tpu_environment("tools/tpu_check.py", "tpu", "--equal", "--filters", "4").splitlines()[-1])
    assert len(found) == 10  # six losses, four networks
    assert max(found.values()) < 1e-4
    assert max(found.values()) > 0  # not one thing twice


@pytest.mark.lengthy
def test_painting_compiles_for_the_tpu(in_tpu_environment):
    said = in_tpu_environment("tools/tpu_check.py", "tpu", "--parts", "painting", "--batches", "1", "--filters", "2",
                              "--json")
    [numbers] = json.loads(said)
    [painting] = numbers["programs"]
    assert painting["fits"]
    pixels = 256 * 256 * 3 * 4
    assert painting["memory"] > 2 * pixels  # a photo and a painting
    assert painting["flops"] > 1e6
    assert 2 * pixels < painting["moved"] < painting["accessed"]


@pytest.mark.lengthy
def test_the_tpus_random_numbers_are_uniform_and_follow_from_the_seed(in_tpu_environment):
    asked = """
import json
import jax
import numpy as np
import tensorflow as tf
import tpu_program as tpu
draw = tpu.lifted(lambda seed: tpu.tpu_uniform([4, 5000], seed), [tf.TensorSpec([2], tf.int32)])
results = [jax.jit(draw.call.call)(np.array(seed, np.int32))[0] for seed in ([1, 2], [1, 2], [1, 3])]
print(json.dumps([np.asarray(result, float).ravel().tolist() for result in results]))
"""
    first, again, other = json.loads(in_tpu_environment("-c", asked).splitlines()[-1])
    assert first == again
    for draws in (first, other):
        assert min(draws) >= 0.0 and max(draws) < 1.0
        counts, _ = np.histogram(draws, bins=10, range=(0.0, 1.0))
        assert abs(counts - 2000).max() < 250  # 6 standard deviations
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.05  # 7


@pytest.mark.lengthy
def test_an_operation_that_a_tpu_does_not_have_is_named(in_tpu_environment):
    asked = """
import json
import tensorflow as tf
import tpu_program as tpu
from monet.core.presets import resolve_config
def texts(system, config, batch):
    return tpu.lifted(lambda x: tf.strings.length(tf.strings.as_string(x)), [tpu.pictures(config, batch)])
tpu.PARTS["texts"] = texts
config = resolve_config({"preset": "tutorial", "generator_filters": 1, "discriminator_filters": 1})
print(json.dumps(tpu.costs_of(config, "texts", 1)))
"""
    found = json.loads(in_tpu_environment("-c", asked).splitlines()[-1])
    assert "AsString" in found["error"]
