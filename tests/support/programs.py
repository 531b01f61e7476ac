"""Runs the `main` of a program in this process: a new one would spend seconds on importing TensorFlow."""

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from console import run_tool

import pytest


def run_main(main: Callable[[], int | None], environment: dict[str, str], folder: Path,
             capsys: pytest.CaptureFixture) -> tuple[int, str, str]:
    """Runs `main` in `folder` with nothing but `environment`. Returns its exit status, stdout and stderr."""
    before = Path.cwd()
    os.chdir(folder)
    capsys.readouterr()
    try:
        with mock.patch.dict(os.environ, environment, clear=True):
            status = run_tool(main)
    finally:
        os.chdir(before)
    return status, *capsys.readouterr()
