"""The values of `--select-by`: which generator of a run is handed in."""

from monet.training.best_judge import BY_BEST
from monet.training.selection import BY_MIFID

SELECTIONS = {"last": None, "mifid": BY_MIFID, "best": BY_BEST}  # None: nothing is scored
