"""A row of the table that `make bench` prints."""

import statistics
from dataclasses import dataclass

PAIRS = 5


def figure(value: float) -> str:
    """`value` for a person: with three digits that say something, and all that are before the point."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


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
        ours = f"{figure(statistics.median(self.ours))} {self.unit}"
        if not self.peer:
            return f"| {self.name} | {self.claim} | {ours} | {self.peer_name} | |"
        ratios = self.ratios()
        spread = f"{figure(statistics.median(ratios))} ({figure(min(ratios))} to {figure(max(ratios))})"
        return (f"| {self.name} | {self.claim} | {ours} | {self.peer_name}: {figure(statistics.median(self.peer))} "
                f"| {spread} |")
