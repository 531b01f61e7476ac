"""report.html, a run's page: what was trained, how it went and what came out, read from the run's files."""

import html
import json
import os
import sys
import time
import zipfile
from pathlib import Path

from monet.core.config import FIELDS, MIN_IMAGES, VERSION, Config
from monet.core.errors import LOG
from monet.core.files import atomic_write
from monet.core.line_plot import curve
from monet.core.page import figure_cards, image_tag, section, to_jpeg, write_page
from monet.core.pixels import pixels_to_float
from monet.core.presets import PRESETS
from monet.data.records import Data
from monet.machine.devices import Device
from monet.scoring.health import HEALTH_CHECKS, measure_health
from monet.training.curves import loss_curves
from monet.training.history import kept_rows
from monet.training.overfitting import HOW_TO_READ
from monet.training.previews import as_frame, list_frames, split_preview
from monet.training.run_files import RunFiles

PAIRS, PAIR_SIDE = 6, 256  # photos shown beside their paintings, and their pixels
FEWEST_FOR_HEALTH = 4  # pictures
PLACES = ("preset", "data", "out", "resume", "tensorboard")  # settings that say nothing about how the run trains
SCORE_CURVES = {"mifid": "MiFID", "kid": "KID", "colour_left": "colours left"}  # of scores.csv
VERDICTS = {  # by name of the check: its result in words, good and bad
    "inverted": ("Light stays light and dark stays dark.",
                 "Light has become dark in most paintings: the colours are inverted."),
    "checkerboard": ("No checkerboard pattern is visible.",
                     "A checkerboard pattern is visible: --upsample resize avoids it."),
    "collapse": ("The paintings differ from one another as the photos do.",
                 "Nearly the same painting is made of every photo. Early in a run, while all is grey, that is normal."),
    "identity rises": ("The generators keep the colours of pictures that already have their style.",
                       "The cycle loss falls while the identity loss rises: the generators change colours and change "
                       "them back."),
    "droplets": ("No coloured droplets lie in flat places.",
                 "Green or purple droplets lie in flat places such as skies. They often fade with more steps."),
    "halos": ("Silhouettes have no halos.",
              "Silhouettes have halos: a rim of another colour or shade. With --system cut, a larger --nce-weight "
              "avoids some of them; --global-residual true avoids most, but changes the photos less."),
    "frame": ("The paintings have no frame.",
              "A line lies along the border of the paintings: --paint-margin 32 avoids most of it."),
}


def read_json(path: str) -> dict:
    """The object in a JSON file; empty if there is no such file."""
    return json.loads(Path(path).read_text(encoding="utf-8-sig")) if os.path.exists(path) else {}


def opening(files: RunFiles) -> str:
    """The page's title, and figures about the run."""
    facts, settings = read_json(files.facts), read_json(files.config)
    rows = kept_rows(files.history, sys.maxsize)
    steps = [0, *(int(row["step"]) for row in rows)]
    seconds = sum((after - before) * float(row["seconds_per_step"])
                  for before, after, row in zip(steps, steps[1:], rows, strict=False))
    cards = [("training", f"{steps[-1]:,} steps", steps_to_come(facts, settings, steps[-1])),
             ("time", f"{seconds / 60:,.1f} minutes", "of training"),
             ("preset", str(settings.get("preset")), "the settings it started from")]
    data = "paintings and photos"
    if facts:
        cards.append(("device", facts["device"], f"in {facts['precision']}"))
        held_out = f" to train on, {facts['held_out']:,} held out," if facts.get("held_out") else ""
        data = f"{facts['paintings']:,} paintings{held_out} and {facts['photos']:,} photos"
        data += " (the kit's sample, drawn by a program: no Monet is among them)" * facts["is_sample"]
    return ("<h1>Photos, repainted</h1><p>Neural networks taught each other: some paint, the others judge. They had "
            f"{data}, none of the same scene, and learned to repaint a photo the way the paintings are made.</p>"
            f"{figure_cards(cards)}")


def steps_to_come(facts: dict, settings: dict, step: int) -> str:
    """Of how many steps the run has made `step`, in words."""
    if facts and facts["total_steps"] is None:
        return f"of as many as {settings['minutes']:g} minutes allow"
    return f"of {max(facts['total_steps'], step):,}" if facts else ""


def pairs_part(files: RunFiles) -> str:
    """Photos over their paintings, with a slider."""
    tags = [(image_tag(to_jpeg(painting, PAIR_SIDE), "painting"), image_tag(to_jpeg(photo, PAIR_SIDE), "photo", "over"))
            for photo, painting in list(zip(*split_preview(files.preview), strict=True))[:PAIRS]]
    slides = [f'<div class="slide">{painting}{photo}<input type="range" aria-label="how much of the photo is shown" '
              'oninput="this.parentNode.style.setProperty(\'--at\',this.value+\'%\')"></div>'
              for painting, photo in tags]
    return section("Photo and painting", "Drag the line: the photo is on its left, the painting on its right.",
                   f'<div class="pictures pairs">{"".join(slides)}</div>')


def film_part(files: RunFiles) -> str:
    """The frames kept over the run."""
    frames = [(f"step {step:,}", Path(path).read_bytes()) for step, path in list_frames(files.previews)]
    if not frames:
        return ""
    first = [("the photos", as_frame(split_preview(files.preview)[0]))]
    cells = [f"<figure>{image_tag(jpeg, words)}<figcaption>{words}</figcaption></figure>"
             for words, jpeg in first + frames]
    return section("How it learned", "The same photos, painted again and again while the network was trained, from its "
                   "first strokes on the left to its last on the right.", f'<div class="film">{"".join(cells)}</div>')


def losses_part(files: RunFiles) -> str:
    """The curves of the losses, and of overfitting."""
    words = ("What training makes smaller. Cycle and identity losses should fall. A painter and its judge should stay "
             "in balance, so that neither loss runs away. The bold line is the mean of the thin one.")
    if any("r_t" in row for row in kept_rows(files.history, sys.maxsize)):
        words += f" The last curves show overfitting. {HOW_TO_READ}"
    return section("The losses", words, loss_curves(files.history))


def health_part(files: RunFiles) -> str:
    """What the paintings of the preview and the losses say about the usual faults."""
    photos, painted = split_preview(files.preview)
    if len(photos) < FEWEST_FOR_HEALTH:
        return ""
    health = measure_health(*(pixels_to_float(images).numpy() for images in (photos, painted)),
                            kept_rows(files.history, sys.maxsize))
    lines = []
    for name, verdicts in VERDICTS.items():
        if name != "identity rises" or health["identity_change"] is not None:
            bad = HEALTH_CHECKS[name](health)
            lines.append(f'<li><b class="{"warn" if bad else "good"}">{"!" if bad else "✓"}</b> {verdicts[bad]}</li>')
    words = f"What most often goes wrong in such training, measured on the {len(photos)} photos of the preview."
    return section("Health", words, f"<ul>{''.join(lines)}</ul>")


def submission_part(files: RunFiles, problems: list[str] | None) -> str:
    """What Kaggle would say about images.zip; empty if it has not been checked."""
    if problems is None:
        return ""
    count = image_count(files.zip)
    if count < MIN_IMAGES:
        problems = [f"It has {count:,} images, as a trial: Kaggle takes no fewer than {MIN_IMAGES:,}.", *problems]
    lines = [f'<li><b class="warn">!</b> {html.escape(problem)}</li>' for problem in problems]
    words = f"images.zip holds {count:,} paintings, {os.path.getsize(files.zip) / 1e6:,.1f} MB."
    return section("The submission", words, f"<ul>{''.join(lines)}</ul>" if lines else
                   '<p><b class="good">✓</b> It passes every check for what Kaggle is known to refuse.</p>')


def score_part(files: RunFiles) -> str:
    """The scores of checkpoints, and what tools/mifid.py found for this images.zip; empty if there are none."""
    rows, cards = kept_rows(files.scores, sys.maxsize), []
    scored, chosen = ([row for row in rows if row.get(name)] for name in ("mifid", "chosen"))
    chosen = [row for row in chosen if row["chosen"] == "1"]
    if chosen:
        cards.append(("best checkpoint", f"step {int(chosen[-1]['step']):,}", f"because {chosen[-1]['why']}"))
    elif scored:
        best = min(scored, key=lambda row: float(row["mifid"]))
        cards.append(("best checkpoint", f"MiFID {float(best['mifid']):,.2f}", f"step {int(best['step']):,}, on "
                      f"{best['photos']} photos"))
    plot = "".join(curve(title, [int(row["step"]) for row in rows], [float(row.get(name) or "nan") for row in rows])
                   for name, title in SCORE_CURVES.items())
    written = [os.path.getmtime(path) for path in (files.zip, files.score) if os.path.exists(path)]
    if len(written) == 2 and written[0] <= written[1]:  # else it is about an earlier zip
        score = read_json(files.score)
        sampled = f", a sample of {score['sampled_from']:,}" if "sampled_from" in score else ""
        cards.append(("images.zip", f"MiFID {score['mifid']:,.2f}", f"FID {score['fid']:,.2f}, on "
                      f"{score['num_images']:,} images{sampled}. {score.get('note', '')}"))
    words = "MiFID is the competition's score: how far the paintings are, together, from Monet's. Lower is better."
    words += (" Colours left are the share of the photos' distance from Monet's colours that painting has left."
              * any(row.get("colour_left") for row in rows))
    return section("The score", words, figure_cards(cards) + f'<div class="curves">{plot}</div>') if cards else ""


def settings_part(files: RunFiles) -> str:
    """The settings that are not the preset's, and those that changed during the run."""
    values = read_json(files.config)
    preset = values.get("preset", Config.preset)
    usual = {name: field.default for name, field in FIELDS.items()} | dict(PRESETS.get(preset, {}))
    rows = [(name, FIELDS[name].metadata["help"], values[name], usual[name]) for name in FIELDS
            if name not in PLACES and name in values and values[name] != usual[name]]
    cells = ["<tr><th>setting</th><th>here</th><th>preset</th></tr>"] + [
        f"<tr><td>{name}<small>{html.escape(words)}</small></td><td>{html.escape(str(value) or 'empty')}</td>"
        f"<td>{html.escape(str(default) or 'empty')}</td></tr>" for name, words, value, default in rows]
    changes = [html.escape(f"From step {change['step']:,} on, {change['setting']} is {change['now']}; before, it was "
                           f"{change['was']}.") for change in values.get("changes", ())]
    words = "Those that differ from the preset" if rows else "All are those of the preset"
    return section("Settings", f"{words} {html.escape(str(preset))}. {' '.join(changes)}",
                   f"<table>{''.join(cells)}</table>" if rows else "")


def image_count(path: str) -> int:
    """Number of entries of the zip at `path`; 0 if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return len(archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return 0


def draw_parts(files: RunFiles, problems: list[str] | None) -> list[str]:
    """The parts of the page. One that cannot be drawn is left out, with a warning."""
    parts = []
    for draw in (opening, pairs_part, film_part, losses_part, health_part,
                 lambda files: submission_part(files, problems), score_part, settings_part):
        try:
            parts.append(draw(files))
        except Exception as error:  # whatever may be in the run's files: the other parts are still worth a page
            LOG.warning("A part of %s is left out: %s", files.report, error)
    return parts


def write_report(files: RunFiles, problems: list[str] | None = None) -> None:
    """Writes the page from the run's files.

    Args:
        files: the run's.
        problems: from `monet.submission.check`, about its images.zip; None if that was not checked.

    Raises:
        UserError: if it cannot be written.
    """
    footer = f'<footer>Version {VERSION} of the kit, {time.strftime("%Y-%m-%d %H:%M")}.</footer>'
    write_page(files.report, "Photos, repainted", [*draw_parts(files, problems), footer])


def update_report(files: RunFiles, problems: list[str] | None = None) -> None:
    """As `write_report`, in a run, which a failure does not end."""
    try:
        write_report(files, problems)
    except Exception as error:  # the run is worth more than its page
        LOG.warning("%s could not be written, and the run goes on: %s", files.report, error)


def write_facts(files: RunFiles, config: Config, data: Data, device: Device, total_steps: int | None) -> None:
    """Notes what the page cannot read from the run's other files.

    Args:
        files: the run's.
        config: its settled config.
        data: the two sets.
        device: what it computes on.
        total_steps: steps of the whole run; None if not known yet.

    Raises:
        UserError: if they cannot be written.
    """
    facts = {"total_steps": total_steps, "device": f"{device.count} {device.kind}",
             "precision": config.precision, "paintings": data.monet.count, "photos": data.photo.count,
             "held_out": data.held_out.count if data.held_out else 0, "is_sample": data.is_sample}
    with atomic_write(files.facts) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(facts, file)
