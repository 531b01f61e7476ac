"""tools/tpu_check.py: its arithmetic and its errors, and the TPU's compiler in the environment of `make tpu-env`."""

import json
import subprocess
import sys

from console import module_environment

import pytest
import tpu_check
from support.settings import ROOT
from tpu_compiler.report import GIB, CompiledProgram, comparison_lines, largest_batch, report, report_lines
from tpu_compiler.v5e import CORES

from monet.core.presets import resolve_config

TPU = resolve_config({"preset": "tpu", "epochs": 30, "steps_per_epoch": 1000})
REFUSED = CompiledProgram("step", 512, None, None, None, None, 1.0, "Used 99G of 15.75G")


def program(batch, memory, flops=1e12, moved=30e9, part="step"):
    return CompiledProgram(part, batch, flops, moved, 2 * moved, memory, 1.0)


def test_the_roofline_says_whether_memory_or_compute_is_the_bound():
    moving, computing = program(4, GIB), program(4, GIB, flops=20e12)
    assert (moving.bound, computing.bound) == ("memory", "compute")
    assert moving.least_seconds == pytest.approx(30 / 819)
    assert computing.least_seconds == pytest.approx(20 / 197)


def test_the_largest_batch_is_extrapolated_from_two():
    assert largest_batch([program(4, 2 * GIB), program(16, 5 * GIB)]) == 60  # 1 GiB, and 0.25 per pair
    assert largest_batch([program(4, 2 * GIB)]) is None
    assert largest_batch([program(4, 2 * GIB), REFUSED]) is None


def test_the_report_has_rates_and_the_hours_of_the_presets_own_batch():
    numbers = report(TPU, [program(4, 2 * GIB), program(16, 5 * GIB, moved=60e9), program(4, GIB, part="painting")])
    own, larger, _ = numbers["programs"]
    assert own["most_a_second"] == pytest.approx(CORES * 4 * 819 / 30)
    assert numbers["least_hours"] == pytest.approx(30 * 1000 * 30 / 819 / 3600)
    assert larger["moved_each"] == pytest.approx(60e9 / 16)
    text = "\n".join(report_lines(numbers))
    for figure in ("2.00 of 16 GiB", "bound by memory", "at least 36.6 ms", "874 pairs/s", "0.31 hours", "about 60",
                   "30.0 GB to and from memory (7.50 a pair)", "60.0 GB accessed (15.00 a pair)"):
        assert figure in text


def test_a_preset_with_minutes_has_a_number_of_steps_instead():
    numbers = report(resolve_config({"preset": "tpu", "minutes": 150.0}), [program(4, 2 * GIB)])
    assert (numbers["least_hours"], numbers["most_steps"]) == (None, int(150 * 60 * 819 / 30))
    assert "150 minutes: at most 245,700 steps" in "\n".join(report_lines(numbers))


def test_a_program_that_does_not_fit_is_reported():
    refused, large, *_ = report_lines(report(TPU, [REFUSED, program(4, 17 * GIB)]))[1:]
    assert "does not fit into 16 GiB a core (Used 99G of 15.75G)" in refused
    assert "17.00 of 16 GiB a core, too much" in large


def test_two_presets_are_compared_where_part_and_batch_are_equal():
    first = report(TPU, [program(4, GIB, moved=15e9), program(8, GIB)])
    second = report(resolve_config({}), [program(4, 2 * GIB)])
    [line] = comparison_lines(first, second)
    assert "tpu / tutorial, step, 4" in line
    assert "moved 0.50, accessed 0.50, flops 1.00, memory 0.50, least_seconds 0.50" in line


@pytest.mark.parametrize(("arguments", "message"), [
    (["tpuu"], "Did you mean tpu"),
    (["--compare", "papers"], "Did you mean paper"),
    (["--batches", "4,none"], "--batches 4,none"),
    (["--parts", "stepp"], "--parts stepp"),
    (["--filters", "0"], "--generator-filters 0"),
    (["--space-to-depth", "maybe"], "--space-to-depth"),
])
def test_a_mistake_is_reported(capsys, arguments, message):
    assert tpu_check.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_without_the_compiler_it_says_how_to_get_it():
    process = subprocess.run([sys.executable, ROOT / "tools/tpu_check.py"], capture_output=True, text=True,
                             env=module_environment())
    if process.returncode == 0 or "compiling" in process.stderr:
        pytest.skip("this environment has the compiler")
    assert process.returncode == 2
    assert "make tpu-check" in process.stderr


def test_a_compiler_that_crashes_is_quoted():
    """The TPU's compiler does at an internal check."""
    stderr = "F1121 19:50:46.902391 27339 fusion_util.cc:2953] Check failed: progress. Check your HLO bf16[3,3]\nmore"
    assert tpu_check.crash_reason(stderr, -6) == "Check failed: progress. Check your HLO bf16[3,3]"
    assert "status 3" in tpu_check.crash_reason("", 3)


# A stand-in for the package that tpu_compiler/program.py imports first: it compiles steps and dies of painting.
COMPILER = """
import json, os, signal, sys
if json.loads(sys.argv[1])["part"] == "painting":
    os.kill(os.getpid(), signal.SIG{signal})
print(json.dumps({{"flops": 1e12, "moved": 3e9, "accessed": 6e9, "memory": 2147483648}}), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("signal", "message"), [("KILL", "out of memory"), ("TERM", "status -15")])
def test_programs_compiled_before_a_failure_are_printed(tmp_path, monkeypatch, capsys, signal, message):
    (tmp_path / "jax.py").write_text(COMPILER.format(signal=signal))
    (tmp_path / "libtpu.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert tpu_check.main(["tpu", "--compare", "tutorial", "--json"]) == 2
    out, err = capsys.readouterr()
    [numbers] = json.loads(out)  # of the first preset: the second was not started
    assert [(row["part"], row["batch"], row["memory"]) for row in numbers["programs"]] == [
        ("step", 4, 2 * GIB), ("step", 8, 2 * GIB)]
    assert "tpu's painting" in err and message in err
    assert tpu_check.main(["tpu", "--parts", "painting"]) == 2
    assert not capsys.readouterr().out


@pytest.fixture
def run_with_compiler(tpu_python):
    """A function that runs the Python of `make tpu-env` and returns its output."""
    def run(*arguments):
        environment = module_environment(**tpu_check.COMPILER_ENVIRONMENT)
        process = subprocess.run([tpu_python, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
        assert process.returncode == 0, process.stderr[-2000:]
        return process.stdout

    return run


@pytest.mark.lengthy
def test_the_program_for_the_tpu_computes_tensorflows_gradients(run_with_compiler):
    """For all networks of the preset, its batch split over 8 devices."""
    output = run_with_compiler("tools/tpu_check.py", "tpu", "--equal", "--filters", "4")
    distances = json.loads(output.splitlines()[-1])
    assert len(distances) == 7  # four losses, three networks
    assert max(distances.values()) < 1e-4
    assert max(distances.values()) > 0  # two programs, not one


@pytest.mark.lengthy
def test_painting_compiles_for_the_tpu(run_with_compiler):
    output = run_with_compiler("tools/tpu_check.py", "tpu", "--parts", "painting", "--batches", "1", "--filters", "2",
                               "--json")
    [[painting]] = [numbers["programs"] for numbers in json.loads(output)]
    assert painting["fits"]
    image = 256 * 256 * 3 * 4  # bytes
    assert painting["memory"] > 2 * image  # a photo and a painting
    assert painting["flops"] > 1e6
    assert 2 * image < painting["moved"] < painting["accessed"]


STRINGS = """
import json
import tensorflow as tf
from monet.core.presets import resolve_config
from monet.machine.jax_functions import to_jax
from tpu_compiler import program
program.PARTS["strings"] = lambda system, config, batch: to_jax(
    lambda x: tf.strings.length(tf.strings.as_string(x)), [tf.TensorSpec([2])], {})
config = resolve_config({"preset": "tutorial", "generator_filters": 1, "discriminator_filters": 1})
print(json.dumps(program.program_costs(config, "strings", 1)))
"""


@pytest.mark.lengthy
def test_an_operation_that_a_tpu_does_not_have_is_named(run_with_compiler):
    assert "AsString" in json.loads(run_with_compiler("-c", STRINGS).splitlines()[-1])["error"]
