"""monet.machine: what a restart after a hang finds, and how it leaves the TPU's environment."""

import os
import sys

import pytest

from monet.machine.kaggle_machine import TPU_VARIABLES
from monet.machine.restarts import HUNG_VARIABLE, past_hangs
from monet.machine.tpu_environment import (
    ENVIRONMENT_VARIABLE,
    INSIDE_VARIABLES,
    PYTHON_VARIABLE,
    START_VARIABLE,
    command_outside,
    prepare_machine,
)
from monet.training.session import session_of


def test_hangs_are_remembered_in_order(monkeypatch):
    monkeypatch.delenv(HUNG_VARIABLE, raising=False)
    assert past_hangs() == []
    monkeypatch.setenv(HUNG_VARIABLE, "TPU:tensorflow,TPU:jax")
    assert past_hangs() == ["TPU:tensorflow", "TPU:jax"]


def test_minutes_count_from_the_first_start(monkeypatch):
    monkeypatch.delenv("MONET_FIRST_START", raising=False)
    with session_of(7.0) as session:
        assert session.started == 7
    monkeypatch.setenv("MONET_FIRST_START", "2.5")
    with session_of(7.0) as session:
        assert session.started == 2.5


def test_a_restart_leaves_the_tpus_environment(monkeypatch):
    """Its variables, too: outside they would keep TensorFlow from starting."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/tmp/monet-tpu")
    monkeypatch.setenv(PYTHON_VARIABLE, "/usr/bin/python3")
    for name in INSIDE_VARIABLES:
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(sys, "orig_argv", ["/tmp/monet-tpu/bin/python", "-I", "/kaggle/src/script.py", "word"])
    assert command_outside() == ["/usr/bin/python3", "/kaggle/src/script.py", "word"]
    assert not {ENVIRONMENT_VARIABLE, PYTHON_VARIABLE, *INSIDE_VARIABLES} & set(os.environ)


def test_elsewhere_the_command_stays(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "monet", "run"])
    assert command_outside() == [sys.executable, "-m", "monet", "run"]


@pytest.mark.parametrize("hung", ["TPU:tensorflow", "TPU:jax,TPU:jax"])
def test_after_a_hang_no_environment_is_built(monkeypatch, hung):
    """It would cost minutes; without a hang this ends the program."""
    for name in (ENVIRONMENT_VARIABLE, START_VARIABLE, *TPU_VARIABLES):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv(TPU_VARIABLES[0], "1")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/no/environment")
    monkeypatch.setenv(HUNG_VARIABLE, "")
    with pytest.raises(SystemExit):
        prepare_machine("tpu", "auto", __file__)
    monkeypatch.setenv(HUNG_VARIABLE, hung)
    assert prepare_machine("tpu", "auto", __file__) is None
