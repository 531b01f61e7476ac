"""The page of tools/mifid.py --report: figures, images and plots in one self-contained HTML file."""

import csv
import html
import os
import time

import numpy as np
from scoring.features import ImageFeatures
from scoring.plots import principal_map, scatter
from scoring.sources import Source
from scoring.text import caveats, interval, penalty_words

from monet.core.line_plot import curves_of
from monet.core.page import figure_cards, image_tag, section, to_jpeg, write_page
from monet.scoring.mifid import Nearest, covariance_factor

SHOWN = 12  # images per section
THUMBNAIL_SIDE = 192  # pixels of an image's longer side
DIRECTIONS = 50  # principal components of the reference that unlikeness measures one by one


def thumbnail(source: Source, position: int) -> str:
    """An <img> that contains the image, or a placeholder if the source holds only features."""
    if not source.decode:
        return "<span></span>"
    pixels = source.decode(source.reads[position]())[0]
    return image_tag(to_jpeg(pixels, THUMBNAIL_SIDE), source.names[position])


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
    return figure_cards(cards)


def nearest_section(sides: tuple, nearest: Nearest) -> str:
    """The generated images nearest to a real one, side by side with it."""
    (submission, generated), (reference, real) = sides
    order = [int(row) for row in np.argsort(nearest.distances)[:SHOWN] if nearest.indices[row] >= 0]
    cells = []
    for row in order:
        left, right = generated.positions[row], real.positions[nearest.indices[row]]
        cells.append(f"<figure><div>{thumbnail(submission, left)}{thumbnail(reference, right)}</div><figcaption>"
                     f"{nearest.distances[row]:.4f}: {html.escape(submission.names[left])} | "
                     f"{html.escape(reference.names[right])}</figcaption></figure>")
    words = ("MiFID penalizes memorization. Each generated image (left) is shown with the nearest real one (right) and "
             "their distance; the memorization distance is the mean over all generated images.")
    return section("Nearest to the reference", words, f'<div class="pictures pairs">{"".join(cells)}</div>')


def likeness_section(side: tuple[Source, ImageFeatures], distances: np.ndarray) -> str:
    """The most and the least Monet-like of the generated images."""
    source, generated = side
    order = np.argsort(distances)

    def grid(rows: np.ndarray) -> str:
        cells = [f"<figure>{thumbnail(source, generated.positions[row])}<figcaption>{distances[row]:.2f}: "
                 f"{html.escape(source.names[generated.positions[row]])}</figcaption></figure>" for row in rows]
        return f'<div class="pictures">{"".join(cells)}</div>'

    words = ("By the distance of an image's features from the reference's Gaussian, with which FID compares: 0 is its "
             "mean, larger is less typical.")
    return (section("Most Monet-like", words, grid(order[:SHOWN]))
            + section("Least Monet-like", "By the same distance.", grid(order[::-1][:SHOWN])))


def legend(mark: str, name: str) -> str:
    """A side's mark on the map, and its name."""
    return (f'<span class="key"><svg viewBox="0 0 12 12" aria-hidden="true"><g class="{mark}"><circle cx="6" cy="6" '
            f'r="4"/></g></svg> {name}</span>')


def map_section(generated: np.ndarray, real: np.ndarray) -> str:
    """The two-dimensional map of both sides' features."""
    points, rings, share = principal_map(generated, real)
    return section("Map of the features", f"The first two principal components of both sides ({share:.0%} of the "
                   f"variance): {legend('dot', 'generated')}, {legend('ring', 'real')}. Where rings have no dots among "
                   "them, the generator misses something; where dots have no rings, it paints what Monet did not.",
                   scatter(points, rings))


def history_section(path: str) -> str:
    """The curves of a run's history.csv; empty if the file is missing or holds no numbers."""
    if not os.path.isfile(path):
        return ""
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdecimal()]
    curves = curves_of(rows)
    return section("The run's losses", "From history.csv, by step.", curves) if curves else ""


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
    write_page(path, f"MiFID {result['mifid']:,.2f}", [
        f"<h1>MiFID {result['mifid']:,.2f}</h1><p class='faint'>{html.escape(submission[0].describe())}, against "
        f"{html.escape(reference[0].describe())}; {time.strftime('%Y-%m-%d %H:%M')}</p>",
        *(f"<p class='warn'>{html.escape(words)}</p>" for words in warnings), figures(result),
        nearest_section((submission, reference), nearest),
        likeness_section(submission, unlikeness(generated, real)),
        map_section(generated, real), history_section(os.path.join(folder, "history.csv")),
        f"<footer>Inception weights: {result['weights'] or 'none, features as given'}</footer>"])
