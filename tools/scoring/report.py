"""The page of tools/mifid.py --report: figures, images and plots in one self-contained HTML file."""

import base64
import csv
import html
import io
import os
import time

import numpy as np
from PIL import Image
from scoring.features import ImageFeatures
from scoring.plots import curve, principal_map, scatter
from scoring.sources import Source
from scoring.text import caveats, interval, penalty_words

from monet.core.files import atomic_write
from monet.scoring.mifid import Nearest, covariance_factor

SHOWN = 12  # images per section
THUMBNAIL_SIDE = 192  # pixels of an image's longer side
THUMBNAIL_QUALITY = 85
DIRECTIONS = 50  # principal components of the reference that unlikeness measures one by one
NOT_LOSSES = ("step", "epoch", "seconds_per_step")  # columns of history.csv
STYLE = """
:root { color-scheme: light dark; --text: #1d2430; --faint: #667085; --line: #d4d9e1; --back: #ffffff;
        --card: #f5f7fa; --painted: #2f6fb3; --real: #c2410c; --warn: #9a3412; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ef; --faint: #9aa4b2; --line: #3a4250; --back: #14181f;
        --card: #1d232d; --painted: #7db4ee; --real: #fb923c; --warn: #fdba74; } }
body { margin: 0 auto; max-width: 1080px; padding: 24px 20px 60px; background: var(--back); color: var(--text);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 4px; }
p { margin: 4px 0 12px; max-width: 75ch; overflow-wrap: anywhere; } .faint, figcaption { color: var(--faint); }
.warn { color: var(--warn); font-weight: 600; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; margin: 18px 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.figures b { display: block; font-size: 25px; font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
figure { margin: 0; } figcaption { font-size: 12.5px; overflow-wrap: anywhere; }
.pictures img { width: 100%; height: auto; display: block; border-radius: 4px; }
.pairs figure > div { display: grid; grid-template-columns: 1fr 1fr; gap: 3px; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 16px; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font-size: 12px; }
.frame { fill: none; stroke: var(--line); } .grid { stroke: var(--line); }
.line { fill: none; stroke: var(--painted); stroke-width: 1.5; }
.dot { fill: var(--painted); fill-opacity: 0.45; } .ring { fill: none; stroke: var(--real); stroke-width: 1.6; }
.key { white-space: nowrap; } .key svg { display: inline-block; width: 12px; height: 12px; vertical-align: -1px; }
footer { margin-top: 36px; }
"""


def image_tag(source: Source, position: int) -> str:
    """An <img> that contains the image's own bytes, or a placeholder if the source holds only features."""
    if not source.decode:
        return "<span></span>"
    image = Image.fromarray(source.decode(source.reads[position]())[0])
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=THUMBNAIL_QUALITY)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (f'<img alt="{html.escape(source.names[position])}" width="{image.width}" height="{image.height}" '
            f'src="data:image/jpeg;base64,{data}">')


def unlikeness(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """How far each generated image is from the reference's Gaussian, with which FID compares.

    A probabilistic PCA's Mahalanobis distance: along the reference's first principal components, the deviation from its
    mean in units of their spread; in all other directions together, in units of the remaining spread.

    Returns:
        float64 `[images]`; about 1, on average, for the reference's own images.
    """
    mean = real.mean(axis=0)
    _, values, directions = np.linalg.svd(covariance_factor(real), full_matrices=False)
    kept = max(min(DIRECTIONS, (len(values) - 1) // 2), 1)
    tiny = np.finfo(float).tiny
    other_variance = max(np.square(values[kept:]).sum() / max(len(mean) - kept, 1), tiny)
    deviations = generated - mean
    along = deviations @ directions[:kept].T
    others = np.clip(np.square(deviations).sum(axis=1) - np.square(along).sum(axis=1), 0, None) / other_variance
    kept_squares = np.square(along / np.maximum(values[:kept], np.sqrt(other_variance))).sum(axis=1)
    return np.sqrt((kept_squares + others) / len(mean))


def figures(result: dict) -> str:
    """The figures as cards."""
    cards = [("MiFID", f"{result['mifid']:,.2f}", interval(result, "mifid")),
             ("FID", f"{result['fid']:,.2f}", interval(result, "fid")),
             ("memorization distance", f"{result['memorization_distance']:.4f}", penalty_words(result)),
             ("KID", f"{result['kid']:.4g}", f"± {result['kid_std']:.4g} over subsets"),
             ("images", f"{result['num_images']:,}", f"against {result['num_reference']:,} of the reference")]
    return "".join(f"<div>{name}<b>{value}</b><span class=faint>{words}</span></div>" for name, value, words in cards)


def nearest_section(sides: tuple, nearest: Nearest) -> str:
    """The generated images nearest to a real one, side by side with it."""
    (submission, generated), (reference, real) = sides
    order = [int(row) for row in np.argsort(nearest.distances)[:SHOWN] if nearest.indices[row] >= 0]
    cells = []
    for row in order:
        left, right = generated.positions[row], real.positions[nearest.indices[row]]
        cells.append(f"<figure><div>{image_tag(submission, left)}{image_tag(reference, right)}</div><figcaption>"
                     f"{nearest.distances[row]:.4f}: {html.escape(submission.names[left])} | "
                     f"{html.escape(reference.names[right])}</figcaption></figure>")
    return ("<h2>Nearest to the reference</h2><p>MiFID penalizes memorization. Each generated image (left) is shown "
            "with the nearest real one (right) and their distance; the memorization distance is the mean over all "
            f"generated images.</p><div class='pictures pairs'>{''.join(cells)}</div>")


def likeness_section(side: tuple[Source, ImageFeatures], distances: np.ndarray) -> str:
    """The most and the least Monet-like of the generated images."""
    source, generated = side
    order = np.argsort(distances)

    def grid(rows: np.ndarray) -> str:
        cells = [f"<figure>{image_tag(source, generated.positions[row])}<figcaption>{distances[row]:.2f}: "
                 f"{html.escape(source.names[generated.positions[row]])}</figcaption></figure>" for row in rows]
        return f"<div class=pictures>{''.join(cells)}</div>"

    return ("<h2>Most Monet-like</h2><p>By the distance of an image's features from the reference's Gaussian, with "
            f"which FID compares: 0 is its mean, larger is less typical.</p>{grid(order[:SHOWN])}"
            f"<h2>Least Monet-like</h2>{grid(order[::-1][:SHOWN])}")


def legend(mark: str, name: str) -> str:
    """A side's mark on the map, and its name."""
    return (f'<span class="key"><svg viewBox="0 0 12 12" aria-hidden="true"><g class="{mark}"><circle cx="6" cy="6" '
            f'r="4"/></g></svg> {name}</span>')


def map_section(generated: np.ndarray, real: np.ndarray) -> str:
    """The two-dimensional map of both sides' features."""
    points, rings, share = principal_map(generated, real)
    return (f"<h2>Map of the features</h2><p>The first two principal components of both sides ({share:.0%} of the "
            f"variance): {legend('dot', 'generated')}, {legend('ring', 'real')}. Where rings have no dots among them, "
            "the generator misses something; where dots have no rings, it paints what Monet did not.</p>"
            f"{scatter(points, rings)}")


def history_section(path: str) -> str:
    """The curves of a run's history.csv; empty if the file is missing or holds no numbers."""
    if not os.path.isfile(path):
        return ""
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdigit()]

    def number(row: dict, name: str) -> float:
        try:
            return float(row.get(name) or "nan")
        except ValueError:
            return float("nan")

    names = [name for name in (rows[0] if rows else {}) if name and name not in NOT_LOSSES]
    curves = [curve(name, [int(row["step"]) for row in rows], [number(row, name) for row in rows]) for name in names]
    if not any(curves):
        return ""
    return f"<h2>The run's losses</h2><p>From history.csv, by step.</p><div class=curves>{''.join(curves)}</div>"


def write_report(path: str, result: dict, submission: tuple[Source, ImageFeatures],
                 reference: tuple[Source, ImageFeatures], nearest: Nearest) -> None:
    """Writes the page.

    Args:
        path: the HTML file to write.
        result: the figures, as in the JSON object.
        submission: its source and features.
        reference: likewise.
        nearest: the nearest real image of each of the submission's.

    Raises:
        UserError: if it cannot be written.
    """
    generated, real = (side[1].features.astype(np.float64) for side in (submission, reference))
    folder = submission[0].path if os.path.isdir(submission[0].path) else os.path.dirname(submission[0].path)
    warnings = [*caveats(result), *(f"Kaggle would reject this: {problem}" for problem in result.get("problems", ()))]
    page = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>MiFID {result['mifid']:,.2f}</title><style>{STYLE}</style>",
        f"<h1>MiFID {result['mifid']:,.2f}</h1><p class=faint>{html.escape(submission[0].describe())}, against "
        f"{html.escape(reference[0].describe())}; {time.strftime('%Y-%m-%d %H:%M')}</p>",
        *(f"<p class=warn>{html.escape(words)}</p>" for words in warnings),
        f"<div class=figures>{figures(result)}</div>",
        nearest_section((submission, reference), nearest),
        likeness_section(submission, unlikeness(generated, real)),
        map_section(generated, real), history_section(os.path.join(folder, "history.csv")),
        f"<footer class=faint>Inception weights: {result['weights'] or 'none, features as given'}</footer></html>"]
    # A path may contain bytes that are not UTF-8.
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        file.write("\n".join(page))
