"""A row of the table that `make bench` prints."""

import statistics
from dataclasses import dataclass

PAIRS = 5


@dataclass(frozen=True)
class Row:
    """One claim as measured: `ours` and `peer` in `unit`, a value a pair, and what the claim is.

    Without values of a peer, its name says why there are none, or is empty where none is meant; without any of ours,
    too, nothing could be measured.
    """

    name: str
    claim: str
    unit: str
    ours: list[float]
    peer_name: str = ""
    peer: tuple[float, ...] = ()

    def ratios(self) -> list[float]:
        """Ours over the peer's, pair by pair."""
        return [ours / peer for ours, peer in zip(self.ours, self.peer, strict=True)]

    def line(self) -> str:
        """The row of the printed table."""
        if not self.ours:
            return f"| {self.name} | {self.claim} | | {self.peer_name} | |"
        middle = statistics.median(self.ours)
        ours = f"{middle:,.2f} {self.unit}" if middle >= 0.01 else f"{middle:.1e} {self.unit}"
        if not self.peer:
            return f"| {self.name} | {self.claim} | {ours} | {self.peer_name} | |"
        ratios = self.ratios()
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        return (f"| {self.name} | {self.claim} | {ours} | {self.peer_name}: {statistics.median(self.peer):,.2f} "
                f"| {spread} |")
