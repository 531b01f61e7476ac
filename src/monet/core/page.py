"""A self-contained HTML page, light and dark: its style and the parts of a run's page and of a score's."""

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from monet.core.files import atomic_write

QUALITY = 85  # of pictures made for a page
STYLE = """
:root { color-scheme: light dark; --text: #2a2722; --faint: #746c61; --line: #e3ddd2; --back: #fbf9f5;
  --card: #ffffff; --painted: #35708f; --real: #b4532a; --warn: #9a3412; --good: #4a7a4e; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e4dd; --faint: #a49c90; --line: #38342e; --back: #181614;
  --card: #211f1b; --painted: #8abbd6; --real: #e79b70; --warn: #fdba74; --good: #9bc79a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: clamp(24px, 5vw, 56px) clamp(16px, 4vw, 32px) 64px;
  background: var(--back); color: var(--text); font: 16px/1.6 system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2 { font-family: "Iowan Old Style", Palatino, "Palatino Linotype", Georgia, serif; font-weight: 500; }
h1 { font-size: clamp(30px, 6vw, 44px); line-height: 1.15; margin: 0 0 8px; }
h2 { font-size: 25px; margin: 56px 0 4px; }
p { margin: 4px 0 16px; max-width: 68ch; } figure { margin: 0; }
.faint, figcaption, footer { color: var(--faint); } figcaption { font-size: 13px; line-height: 1.45; }
figcaption b { color: var(--text); font-size: 15px; }
.warn { color: var(--warn); } .good { color: var(--good); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 24px 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 12px 16px; }
.figures b { display: block; font-size: 20px; font-weight: 600; line-height: 1.3; }
.figures span { display: block; font-size: 13px; line-height: 1.4; }
.pictures, .curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 16px; }
.curves { grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 24px; }
.pictures img { width: 100%; height: auto; display: block; border-radius: 6px; }
.pairs { grid-template-columns: repeat(auto-fill, minmax(min(290px, 100%), 1fr)); }
.pairs figure > div { display: grid; grid-template-columns: 1fr 1fr; gap: 3px; }
.pairs .slide { display: block; position: relative; aspect-ratio: 1; border-radius: 10px; overflow: hidden; --at: 50%; }
.slide > * { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; border-radius: 0; }
.slide .over { clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.slide::before, .slide::after { content: ""; position: absolute; z-index: 1; left: var(--at); pointer-events: none;
  background: #fff; box-shadow: 0 0 5px #0007; }
.slide::before { top: 0; bottom: 0; width: 2px; margin-left: -1px; }
.slide::after { top: 50%; width: 26px; height: 26px; margin: -13px; border-radius: 50%; }
.slide input { appearance: none; z-index: 2; opacity: 0; cursor: ew-resize; touch-action: pan-y; }
.slide input::-webkit-slider-thumb { appearance: none; width: 44px; height: 999px; }
.slide input::-moz-range-thumb { border: 0; width: 44px; height: 999px; }
.slide:focus-within { outline: 3px solid var(--painted); outline-offset: 2px; }
.film { display: flex; gap: 8px; overflow-x: auto; padding-bottom: 12px; } .film figure { flex: none; width: 128px; }
.film img { width: 100%; height: auto; display: block; border-radius: 6px; }
.film figure:first-child { position: sticky; left: 0; z-index: 1; background: var(--back); width: 136px;
  padding-right: 8px; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font-size: 12px; }
.frame { fill: none; stroke: var(--line); } .grid { stroke: var(--line); stroke-opacity: 1; }
.line { stroke: var(--painted); stroke-linejoin: round; } .line[stroke-dasharray^="7"] { stroke: var(--real); }
.line[stroke-dasharray^="2"] { stroke: var(--good); }
.dot { fill: var(--painted); fill-opacity: 0.45; } .ring { fill: none; stroke: var(--real); stroke-width: 1.6; }
.key { white-space: nowrap; } .key svg { display: inline-block; width: 12px; height: 12px; vertical-align: -1px; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; font-weight: 400;
  padding: 8px 16px 8px 0; border-bottom: 1px solid var(--line); } th { color: var(--faint); font-size: 13px; }
td small { display: block; color: var(--faint); line-height: 1.4; } td:not(:first-child) { min-width: 84px; }
ul { padding: 0; margin: 0; list-style: none; } li { margin: 6px 0; } footer { margin-top: 64px; font-size: 13px; }
"""


def to_jpeg(pixels: np.ndarray, side: int) -> bytes:
    """Encodes uint8 `[height, width, 3]`, scaled down so that the longer side is at most `side`."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def image_tag(jpeg: bytes, alt: str, look: str = "") -> str:
    """An <img> that contains the JPEG; `look` is its class."""
    width, height = Image.open(io.BytesIO(jpeg), formats=("JPEG",)).size
    return (f'<img class="{look}" alt="{html.escape(alt)}" width="{width}" height="{height}" '
            f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}">')


def section(title: str, words: str, body: str) -> str:
    """A heading, a paragraph of HTML, and what belongs to it."""
    return f"<h2>{html.escape(title)}</h2><p>{words}</p>{body}"


def figure_cards(figures: Iterable[tuple[str, str, str]]) -> str:
    """Figures as cards: name, value, and words about it."""
    cards = (map(html.escape, figure) for figure in figures)
    return '<div class="figures">' + "".join(
        f'<div>{name}<b>{value}</b><span class="faint">{words}</span></div>' for name, value, words in cards) + "</div>"


def write_page(path: str, title: str, parts: Iterable[str]) -> None:
    """Writes an HTML page of these parts that loads nothing else; characters that UTF-8 lacks become question marks.

    Raises:
        UserError: if it cannot be written.
    """
    head = ('<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title><style>{STYLE}</style>')
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8", errors="replace") as file:
        file.write("\n".join([head, *parts, "</html>\n"]))
