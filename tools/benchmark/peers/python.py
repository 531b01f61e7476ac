"""Finds the Python of `make peers`, which has PyTorch and torch-fidelity."""

import os

from console import ROOT

MISSING_PEERS = "PyTorch's environment is not here: run make peers"


def peer_python() -> str | None:
    """Returns $MONET_PEERS, else the Python of .venv-peers in this checkout; None if it cannot be executed."""
    path = os.environ.get("MONET_PEERS") or str(ROOT / ".venv-peers" / "bin" / "python")
    return path if os.access(path, os.X_OK) else None
