"""The loss curves of a run as an SVG picture."""

import sys

from monet.training.history import kept_rows

NO_LOSSES = ("step", "epoch", "seconds_per_step")  # columns of history.csv that are not losses
GREY = 'fill="#777" stroke="#fff" stroke-width="3" paint-order="stroke"'  # legible on a line
PANELS_PER_ROW, PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 3, 300, 150, 24  # pixels


def curve_panel(name: str, steps: list[float], values: list[float], left: int, top: int) -> str:
    """Returns the SVG elements of one curve, titled with the loss's last value and labelled with its range."""
    low, high = min(values), max(values)
    width, height = PANEL_WIDTH - 2 * MARGIN, PANEL_HEIGHT - 2 * MARGIN
    scale_x, scale_y = width / ((steps[-1] - steps[0]) or 1.0), height / ((high - low) or 1.0)
    points = " ".join(f"{(step - steps[0]) * scale_x:.1f},{(high - value) * scale_y:.1f}"
                      for step, value in zip(steps, values, strict=True))
    return (f'<g transform="translate({left + MARGIN},{top + MARGIN})">'
            f'<text y="-8" font-weight="bold">{name} {values[-1]:.3g}</text>'
            f'<rect width="{width}" height="{height}" fill="none" stroke="#ccc"/>'
            f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>'
            f'<text x="4" y="12" {GREY}>{high:.3g}</text><text x="4" y="{height - 4}" {GREY}>{low:.3g}</text>'
            f'<text x="{width}" y="{height + 14}" text-anchor="end" {GREY}>step {steps[-1]:,.0f}</text></g>')


def loss_curves(path: str) -> str:
    """Draws a curve of each loss.

    Args:
        path: history.csv of a run.

    Returns:
        An SVG element; a sentence if there are no losses yet.
    """
    rows = kept_rows(path, sys.maxsize)
    if not rows:
        return "No losses were recorded."
    steps = [float(row["step"]) for row in rows]
    names = [name for name in rows[0] if name not in NO_LOSSES]
    panels = [curve_panel(name, steps, [float(row[name]) for row in rows], PANEL_WIDTH * (number % PANELS_PER_ROW),
                          PANEL_HEIGHT * (number // PANELS_PER_ROW)) for number, name in enumerate(names)]
    width, height = PANEL_WIDTH * PANELS_PER_ROW, PANEL_HEIGHT * -(-len(panels) // PANELS_PER_ROW)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="11">{"".join(panels)}</svg>')
