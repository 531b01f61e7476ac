"""The loss curves of a run as SVG pictures."""

import sys

from monet.core.line_plot import curves_of
from monet.training.history import kept_rows


def loss_curves(path: str) -> str:
    """Draws a curve of each loss.

    Args:
        path: history.csv of a run.

    Returns:
        HTML; a sentence if there are no losses yet.
    """
    return curves_of(kept_rows(path, sys.maxsize)) or "No losses were recorded yet."
