"""Finds the Python that has PyTorch and torch-fidelity, what `make peers` builds."""

import os

from console import ROOT

HOW = "PyTorch's environment is not here: run make peers"


def peer_python() -> str | None:
    """The environment's Python: $MONET_PEERS, else that of .venv-peers in this checkout; None if there is none."""
    path = os.environ.get("MONET_PEERS") or str(ROOT / ".venv-peers" / "bin" / "python")
    return path if os.access(path, os.X_OK) else None
