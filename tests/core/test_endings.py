"""monet.core.endings: Ctrl-C and readers who leave, in every program."""

import os
import signal
import subprocess
import sys

import pytest
from support.settings import ROOT, TOOLS

from monet.core.endings import hangup_terminates, quiet_interrupt, run_quietly

PATH = os.pathsep.join([str(ROOT / "src"), str(TOOLS)])
PROGRAMS = {path.stem: [str(path)] for path in sorted(TOOLS.glob("*.py")) if path.stem != "console"}
PROGRAMS["monet"] = ["-m", "monet"]
# To import these takes longest; tpu_check.py imports none of them before it works.
SLOW = ("numpy", "tqdm", "slugify")


def start(words, path=PATH, **options):
    # A shell's background jobs, and all that they start, ignore Ctrl-C.
    return subprocess.Popen([sys.executable, *words], text=True, stderr=subprocess.PIPE, cwd=ROOT,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": ""}, **options)


def unread(words):
    """Runs Python with a standard output that nobody reads; returns the exit status and what it printed on stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    process = start(words, stdout=writer)
    os.close(writer)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize(("action", "status"), [
    ("print('line\\n' * 100000)", 0),  # more than is buffered: it ends there
    ("[print('line', flush=True) for _ in range(9)]", 0),
    ("print('one line') or 2", 2),  # noticed at the end, when the status is known
    ("sys.exit(print('help'))", 0),
])
def test_output_that_nobody_reads_ends_a_command_without_a_word(action, status):
    code = f"import sys; from monet.core.endings import run_quietly; sys.exit(run_quietly(lambda: {action}))"
    assert unread(["-c", code]) == (status, "")


@pytest.mark.parametrize("name", sorted({*PROGRAMS} - {"bundle"}))  # bundle.py is started as all others are
def test_help_that_nobody_reads_ends_every_program_without_a_word(name):
    assert unread([*PROGRAMS[name], "--help"]) == (0, "")


def test_messages_that_nobody_reads_do_not_end_a_command():
    code = ("import sys; from monet.core.endings import run_quietly; from monet.core.errors import say\n"
            "sys.exit(run_quietly(lambda: say('lost') or print('result') or 2))")
    process = start(["-c", code], stdout=subprocess.PIPE)
    process.stderr.close()
    assert process.stdout.read() == "result\n"
    assert process.wait() == 2


def test_another_pipe_that_breaks_is_an_error():
    def action():
        raise BrokenPipeError("the connection to Kaggle")

    with pytest.raises(BrokenPipeError, match="Kaggle"):
        run_quietly(action)


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, as in a program that was just started."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, handler)


def test_ctrl_c_stays_ctrl_c_whatever_a_library_makes_of_it(interruptible):
    def action():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise AttributeError("'function' object has no attribute 'keys'") from None

    with pytest.raises(KeyboardInterrupt):
        run_quietly(action)


def test_errors_without_ctrl_c_are_left_alone(interruptible):
    with pytest.raises(ZeroDivisionError):
        run_quietly(lambda: 1 / 0)


@pytest.mark.parametrize(("number", "context"), [(signal.SIGINT, quiet_interrupt), (signal.SIGHUP, hangup_terminates)])
def test_where_a_signal_is_ignored_it_stays_ignored(number, context):
    handler = signal.signal(number, signal.SIG_IGN)
    try:
        with context():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, handler)


def test_a_closed_terminal_terminates_once():
    noted = []
    handler = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    try:
        with hangup_terminates():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)  # from the shell, which also tells its jobs
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert noted == [signal.SIGTERM]


@pytest.mark.parametrize("name", sorted({*PROGRAMS} - {"tpu_check"}))
def test_ctrl_c_while_a_program_imports_ends_it_quietly(name, tmp_path):
    """With stand-ins for the slow packages, in whose import the signal arrives."""
    for package in SLOW:
        (tmp_path / f"{package}.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    process = start([*PROGRAMS[name], "--help"], os.pathsep.join([str(tmp_path), PATH]), stdout=subprocess.DEVNULL)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "Interrupted.\n")
