"""The page of tools/mifid.py --report: figures, pictures and plots in one HTML file that loads nothing."""

import base64
import csv
import html
import io
import os
import time

import numpy as np
from PIL import Image
from scoring.features import Found
from scoring.plots import curve, principal_map, scatter
from scoring.sources import Source
from scoring.text import caveats, interval, threshold_words

from monet.core.files import atomic_write
from monet.scoring.mifid import Nearest, covariance_factor

SHOWN = 12  # nearest pairs; most and least like the reference
SIDE = 192  # pixels of a picture's longer side
QUALITY = 85
DIRECTIONS = 50  # of the reference's spread, in which likeness is judged
NO_LOSSES = ("step", "epoch", "seconds_per_step")  # columns of history.csv
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


def picture(source: Source, position: int) -> str:
    """One image as an <img> that holds its own bytes."""
    image = Image.fromarray(source.decode(source.reads[position]())[0])
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (f'<img alt="{html.escape(source.names[position])}" width="{image.width}" height="{image.height}" '
            f'src="data:image/jpeg;base64,{data}">')


def shown(source: Source, position: int) -> str:
    """The image, or where there are only features, what keeps its place."""
    return picture(source, position) if source.decode else "<span></span>"


def unlikeness(generated: np.ndarray, real: np.ndarray) -> np.ndarray:
    """How far each generated image is from the reference's Gaussian, which is what FID compares with.

    In the directions of the reference's largest spread, the deviation from its mean in units of that spread; what is
    left over in all other directions, in units of the spread left over (a probabilistic PCA's Mahalanobis distance).

    Returns:
        float64 `[images]`: 1 is what the reference's own images have on average, as far as the directions are known.
    """
    centre = real.mean(axis=0)
    _, values, directions = np.linalg.svd(covariance_factor(real), full_matrices=False)
    kept = max(min(DIRECTIONS, (len(values) - 1) // 2), 1)
    tiny = np.finfo(float).tiny
    left_over = max(np.square(values[kept:]).sum() / max(len(centre) - kept, 1), tiny)
    away = generated - centre
    along = away @ directions[:kept].T
    rest = np.clip(np.square(away).sum(axis=1) - np.square(along).sum(axis=1), 0, None) / left_over
    inside = np.square(along / np.maximum(values[:kept], np.sqrt(left_over))).sum(axis=1)
    return np.sqrt((inside + rest) / len(centre))


def figures(result: dict) -> str:
    """The figures as cards."""
    cards = [("MiFID", f"{result['mifid']:,.2f}", interval(result, "mifid")),
             ("FID", f"{result['fid']:,.2f}", interval(result, "fid")),
             ("memorization distance", f"{result['memorization_distance']:.4f}", threshold_words(result)),
             ("KID", f"{result['kid']:.4g}", f"± {result['kid_std']:.4g} over subsets"),
             ("images", f"{result['num_images']:,}", f"against {result['num_reference']:,} of the reference")]
    return "".join(f"<div>{name}<b>{value}</b><span class=faint>{words}</span></div>" for name, value, words in cards)


def nearest_section(sides: tuple, nearest: Nearest) -> str:
    """The generated images that are nearest to a real one, beside it."""
    (submission, generated), (reference, real) = sides
    order = [int(place) for place in np.argsort(nearest.distances)[:SHOWN] if nearest.indices[place] >= 0]
    cells = []
    for place in order:
        mine, theirs = generated.positions[place], real.positions[nearest.indices[place]]
        cells.append(f"<figure><div>{shown(submission, mine)}{shown(reference, theirs)}</div><figcaption>"
                     f"{nearest.distances[place]:.4f}: {html.escape(submission.names[mine])} | "
                     f"{html.escape(reference.names[theirs])}</figcaption></figure>")
    return ("<h2>Nearest to the reference</h2><p>What memorization punishes: generated images (left), each with the "
            "real one (right) that it is nearest to, and the distance between them. The mean of all such distances is "
            f"the memorization distance.</p><div class='pictures pairs'>{''.join(cells)}</div>")


def likeness_section(side: tuple[Source, Found], distances: np.ndarray) -> str:
    """The most and the least Monet-like of the generated images."""
    source, found = side
    order, parts = np.argsort(distances), []
    for title, places in (("Most Monet-like", order[:SHOWN]), ("Least Monet-like", order[::-1][:SHOWN])):
        cells = [f"<figure>{shown(source, found.positions[place])}<figcaption>{distances[place]:.2f}: "
                 f"{html.escape(source.names[found.positions[place]])}</figcaption></figure>" for place in places]
        parts.append(f"<h2>{title}</h2><div class=pictures>{''.join(cells)}</div>")
    words = ("<p>By the distance of an image's features from the Gaussian of the reference, with which FID compares: 0 "
             "is its mean, larger is stranger.</p>")
    return parts[0].replace("</h2>", f"</h2>{words}", 1) + parts[1]


def key(mark: str, name: str) -> str:
    """The map's mark of one side, and its name."""
    return (f'<span class="key"><svg viewBox="0 0 12 12" aria-hidden="true"><g class="{mark}"><circle cx="6" cy="6" '
            f'r="4"/></g></svg> {name}</span>')


def map_section(generated: np.ndarray, real: np.ndarray) -> str:
    """The 2-D map of both sides' features."""
    points, rings, share = principal_map(generated, real)
    return (f"<h2>Map of the features</h2><p>The two directions in which the images of both sides differ most "
            f"({share:.0%} of the variance): {key('dot', 'generated')}, {key('ring', 'real')}. Where the rings have no "
            f"dots among them, the generator misses something; where dots are alone, it paints what Monet did not.</p>"
            f"{scatter(points, rings)}")


def history_section(path: str) -> str:
    """The curves of a run's history.csv; empty if there is none, or it holds no numbers."""
    if not os.path.isfile(path):
        return ""
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdigit()]

    def number(row: dict, name: str) -> float:
        try:
            return float(row.get(name) or "nan")
        except ValueError:
            return float("nan")

    names = [name for name in (rows[0] if rows else {}) if name and name not in NO_LOSSES]
    curves = [curve(name, [int(row["step"]) for row in rows], [number(row, name) for row in rows]) for name in names]
    if not any(curves):
        return ""
    return f"<h2>The run's losses</h2><p>From history.csv, by step.</p><div class=curves>{''.join(curves)}</div>"


def write_report(path: str, result: dict, submission: tuple[Source, Found], reference: tuple[Source, Found],
                 nearest: Nearest) -> None:
    """Writes the page.

    Args:
        path: the HTML file.
        result: the figures, as in the JSON object.
        submission: its source and features.
        reference: the same.
        nearest: of the submission's features.

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
    # A path may hold bytes that are no UTF-8.
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        file.write("\n".join(page))
