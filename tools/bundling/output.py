"""Writes the sections of a bundle as a script or as a notebook: used by `bundle.py`."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from bundling.sources import WIDTH
from bundling.story import Part

TITLE = "Photos repainted as Monet paintings"
HOW_TO = "Run all cells. The last ones show photos with their paintings, the loss curves, and the check of images.zip."
# The parts at the end of a notebook, with their source.
RESULTS = (
    (Part("Photos and their paintings",
          "The first photos of the data, each with its painting to the right. The same generator painted the "
          "submission."),
     "import IPython.display\n\n"
     "run_files = working_files()\n"
     'IPython.display.Image(run_files.preview, width=768, alt="photos and their paintings")'),
    (Part("The loss curves",
          "Each loss over the steps of the run. The losses of generators and discriminators should stay in balance; "
          "cycle and identity losses should fall."),
     "IPython.display.HTML(loss_curves(run_files.history))"),
    (Part("The check of images.zip",
          "This lists what Kaggle would refuse about the submission. If it finds nothing, submit images.zip from the "
          "notebook's output."),
     'print("\\n".join(check_zip(run_files.zip)) or f"{run_files.zip}: nothing that Kaggle is known to refuse")'),
)


@dataclass(frozen=True)
class Cell:
    """A piece of Python source.

    Attributes:
        source: the code.
        label: for a banner in the script; "" for none.
        is_open: whether a notebook shows the code, as opposed to a collapsed cell.
    """

    source: str
    label: str = ""
    is_open: bool = False


Section = tuple[Part, list[Cell]]


def banner(lines: list[str]) -> str:
    """Returns the lines as a comment between two rules."""
    rule = "# " + "=" * (WIDTH - 2)
    return "\n".join([rule, *(f"# {line}".rstrip() for line in lines), rule])


def as_script(introduction: str, sections: list[Section]) -> str:
    """Returns one Python file: the introduction as a comment, then the sections under banners."""
    pieces = ["\n".join(f"# {line}".rstrip() for line in [TITLE, "", *introduction.splitlines()])]
    for part, cells in sections:
        labels = [f"# --- {cell.label} ".ljust(WIDTH, "-") + "\n" if cell.label else "" for cell in cells]
        first, *others = [label + cell.source for label, cell in zip(labels, cells, strict=True)]
        heading = banner([part.title, "", *textwrap.wrap(part.text, WIDTH - 2)])
        pieces += [f"{heading}\n\n{first}", *others]
    return "\n\n\n".join(pieces) + "\n"


def code_cell(source: str, is_open: bool) -> dict:
    """Returns a notebook's code cell; unless `is_open`, Kaggle and JupyterLab show it collapsed."""
    hidden = {} if is_open else {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}
    return {"cell_type": "code", "metadata": hidden, "execution_count": None, "outputs": [], "source": source}


def markdown_cell(text: str) -> dict:
    """Returns a notebook's text cell."""
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def as_notebook(introduction: str, sections: list[Section], results: Sequence = RESULTS) -> str:
    """Returns the same as a notebook, which also shows the run's `results`, parts with their code, at its end."""
    cells = [markdown_cell(f"# {TITLE}\n\n{HOW_TO}\n\n{introduction}")]
    for part, contents in [*sections, *((part, [Cell(source)]) for part, source in results)]:
        cells.append(markdown_cell(f"## {part.title}\n\n{part.text}"))
        cells += [code_cell(f"# {cell.label}\n{cell.source}" if cell.label else cell.source, cell.is_open)
                  for cell in contents]
    kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernelspec, "language_info": {"name": "python"}},
                       "nbformat": 4, "nbformat_minor": 4}, indent=1, ensure_ascii=False) + "\n"
