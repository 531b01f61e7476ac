"""A row of the table that `make bench` prints."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

PAIRS = 5  # measurements of a row


@dataclass(frozen=True)
class Row:
    """A claim and what was measured for it.

    Attributes:
        name: of the row.
        claim: what the measurement should show.
        unit: of the values.
        ours: one value for each measurement; empty if nothing could be measured.
        peer_name: what ours is compared with; if there are no values of it, why not.
        peer: the peer's values, measured in turn with ours; empty without a peer.
    """

    name: str
    claim: str
    unit: str
    ours: Sequence[float]
    peer_name: str = ""
    peer: Sequence[float] = ()

    def ratios(self) -> list[float]:
        """Returns ours divided by the peer's, pair by pair."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    def line(self) -> str:
        """Returns the row as a line of Markdown."""
        if not self.ours:
            return f"| {self.name} | {self.claim} | | {self.peer_name} | |"
        ours = f"{rounded(statistics.median(self.ours))} {self.unit}"
        if not self.peer:
            return f"| {self.name} | {self.claim} | {ours} | {self.peer_name} | |"
        ratios = self.ratios()
        spread = f"{rounded(statistics.median(ratios))} ({rounded(min(ratios))} to {rounded(max(ratios))})"
        return (f"| {self.name} | {self.claim} | {ours} | {self.peer_name}: {rounded(statistics.median(self.peer))} "
                f"| {spread} |")


def rounded(value: float) -> str:
    """Returns `value` with three significant digits, or as a whole number from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def paired_row(name: str, claim: str, unit: str, peer_name: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """Returns the row of some pairs (ours, the peer's) measured in turn."""
    ours, peer = zip(*pairs, strict=True)
    return Row(name, claim, unit, ours, peer_name, peer)
