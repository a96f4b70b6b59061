"""Figures: what was measured, beside which peer, against which goal, and how that is shown and kept."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final, Literal

#: Sizes are what they are, however busy the machine is.
UNAFFECTED: Final = ("bytes", "MB")
TIMES: Final = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure, or its ratio to the peer, has to reach."""

    limit: float
    of: Literal["figure", "ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        runs: Our figure in every round; the middle one is shown.
        peer_runs: The peer's, in the same rounds or in rounds of its own.
        less_is_better: True for seconds and bytes; the ratio says how many times better we are either way.
        headline: Whether it belongs into the short table.
    """

    case: str
    what: str
    unit: str
    runs: Sequence[float]
    peer: str = ""
    peer_runs: Sequence[float] = ()
    goal: Goal | None = None
    less_is_better: bool = False
    headline: bool = False

    @property
    def value(self) -> float:
        """The middle run."""
        return median(self.runs)

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer: by round where both ran in each, else of the middle runs."""
        if not self.peer_runs:
            return None
        if len(self.peer_runs) == len(self.runs):
            pairs = list(zip(self.runs, self.peer_runs, strict=True))
        else:
            pairs = [(self.value, median(self.peer_runs))]
        return median(peer / ours if self.less_is_better else ours / peer for ours, peer in pairs)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        if self.goal.of == "ratio":
            return self.ratio is not None and self.ratio >= self.goal.limit
        return self.value < self.goal.limit if self.less_is_better else self.value >= self.goal.limit

    def __str__(self) -> str:
        beside = f", {_times(self.ratio)} {self.peer}" if self.peer_runs else ""
        return f"{self.what}: {_amount(self.value, self.unit)}{beside}"

    def to_dict(self) -> dict[str, object]:
        """Return everything for JSON, the computed values included."""
        return asdict(self) | {"value": self.value, "ratio": self.ratio, "met": self.met}


def markdown(figures: Sequence[Figure], busy: Collection[str] = ()) -> str:
    """Return the long table; cases in `busy` ran while others used the machine, and no verdict is given."""
    lines = [
        "| case | measured | figure | peer | peer's figure | ratio | goal | |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for f in figures:
        peer = _amount(median(f.peer_runs), f.unit) if f.peer_runs else ""
        verdict = {None: "", True: "met", False: "**not met**"}[f.met]
        if verdict and f.case in busy and f.unit not in UNAFFECTED:
            verdict = "machine busy"
        cells = [f.case, f.what, _amount(f.value, f.unit), f.peer, peer, _times(f.ratio), _goal(f), verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def headlines(figures: Sequence[Figure]) -> str:
    """Return the short table, for a README."""
    lines = ["| | Candlefleet | beside | ratio |", "| --- | ---: | --- | ---: |"]
    for f in figures:
        if f.headline:
            peer = f"{_amount(median(f.peer_runs), f.unit)}: {f.peer}" if f.peer_runs else ""
            lines.append(f"| {f.what} | {_amount(f.value, f.unit)} | {peer} | {_times(f.ratio)} |")
    return "\n".join(lines)


def save(path: Path, machine: Mapping[str, str], figures: Sequence[Figure]) -> None:
    """Write everything measured as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"machine": machine, "figures": [figure.to_dict() for figure in figures]}
    path.write_text(json.dumps(kept, indent=2) + "\n")


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return (
        f"{ratio:,.0f} {TIMES}"
        if ratio >= 100
        else f"{ratio:.2g} {TIMES}"
        if ratio < 10
        else f"{ratio:.0f} {TIMES}"
    )


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    if figure.goal.of == "ratio":
        return f"≥ {figure.goal.limit:g} {TIMES}"
    return f"{'<' if figure.less_is_better else '≥'} {_amount(figure.goal.limit, figure.unit)}"
