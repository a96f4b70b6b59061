"""The table of the fault suite, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.fault import Run
from tests.faults.left_out import LEFT_OUT, Noticed
from tests.faults.scene import Throughput

HEADS = (
    "fault",
    "injected",
    "points",
    "lost",
    "doubled",
    "out of order",
    "dead",
    "copies",
    "seconds to drain",
    "verdict",
)


def printed(runs: Sequence[Run]) -> str:
    """Return a line for each fault, numbers to the right."""
    return _table(HEADS, [_row(one) for one in runs])


def beside_the_frozen(rates: Sequence[Throughput]) -> str:
    """Return the points a second of every route, as usual and while one destination was frozen."""
    heads = ("route", "points/s", "points/s while `troubled` was frozen", "")
    return _table(heads, [(one.route_id, f"{one.usual:.0f}", f"{one.meanwhile:.0f}", "") for one in rates])


def of_rules(rules: Sequence[Noticed]) -> str:
    """Return what was found when a rule was left out: something must be."""
    heads = ("left out", "fault", "injected", "found")
    rows = [
        (one.rule, LEFT_OUT[one.rule].fault, str(len(LEFT_OUT[one.rule].turns)), _verdict(one))
        for one in rules
    ]
    return _table(heads, rows)


def _verdict(one: Noticed) -> str:
    return one.found if one.is_noticed else f"MISSED: {one.found}"


def _row(one: Run) -> tuple[str, ...]:
    found = one.findings
    counts = (len(one.struck), one.points, found.lost, found.doubled, found.out_of_order)
    drained = "never" if one.drained is None else f"{one.drained:.1f}"
    verdict = "; ".join(found.wrong) or "holds"
    return (one.fault.name, *(f"{n:,}" for n in (*counts, found.dead, found.copies)), drained, verdict)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    ends = (0, len(heads) - 1)

    def line(cells: Sequence[str]) -> str:
        columns = enumerate(zip(cells, widths, strict=True))
        aligned = (cell.ljust(width) if n in ends else cell.rjust(width) for n, (cell, width) in columns)
        return "| " + " | ".join(aligned) + " |"

    rule = ("-" * (width + 2) if n in ends else "-" * (width + 1) + ":" for n, width in enumerate(widths))
    return "\n".join([line(heads), "|" + "|".join(rule) + "|", *map(line, rows)])
