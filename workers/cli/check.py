"""`candlefleet routes check`: what a person should know of a routes file before a fleet runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from destinations import load_routes_file
from router.check_routes import check_routes
from router.check_routes_policies import Limits
from router.errors import ConfigError, RoutesFileError
from router.findings import SEVERITIES, Finding, worst_first
from router.places import located
from router.routes_file import UNUSED, RoutesFile
from router.table import RouteTable
from workers.cli import screen
from workers.cli.routes import File
from workers.cli.show import Json, routes_app
from workers.connections import reach_broker, reach_destinations
from workers.deliveries import TURN_OF_WRITES
from workers.settings import settings

_STYLES: Final = {"error": "red", "warning": "yellow", "info": "cyan"}


def register(_app: typer.Typer) -> None:
    """Add this command to those about routes."""
    routes_app.command()(check)


def check(
    file: File = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    connect: Annotated[
        bool, typer.Option("--connect", help="Open and close each destination, and ask the broker.")
    ] = False,
    json: Json = False,
) -> None:
    """Look for routes that cannot do what they were written for.

    Exit status 0: nothing to mend; 1: an error was found, or with --strict a warning; 2: the file cannot be
    loaded, and every mistake is listed.
    """
    path = file or settings().routes
    table, _, unused = _loaded(path, json=json)
    findings = check_routes(table, _limits())
    if connect:
        findings = _with(_connected(table), findings, table)
    findings = worst_first([*located(findings, path), *_unused(unused)], table.route_ids)
    if json:
        screen.as_json({"loaded": True, **_counts(table), "findings": [one._asdict() for one in findings]})
    else:
        screen.out.print(_drawn(findings))
        screen.out.print(_summary(table, findings), soft_wrap=True)
    if {finding.severity for finding in findings} & {"error", *(["warning"] if strict else [])}:
        raise typer.Exit(1)


# A program gets the mistakes of a file that cannot be loaded as findings too.
def _loaded(path: Path, *, json: bool) -> RoutesFile:
    try:
        return load_routes_file(path)
    except ConfigError as error:
        if not json:
            raise
        mistakes = error.problems if isinstance(error, RoutesFileError) else (error,)
        findings = [Finding("error", one.code, "", "", one.message, where=one.where) for one in mistakes]
        screen.as_json({"loaded": False, "findings": [finding._asdict() for finding in findings]})
        raise typer.Exit(2) from None


def _unused(destinations: Mapping[str, str]) -> Iterator[Finding]:
    for name, where in destinations.items():
        yield Finding("warning", "destination.unused", "", "", f"{name}: {UNUSED}", where=where)


def _connected(table: RouteTable) -> list[Finding]:
    with screen.err.status("") as status, screen.aside():
        found = [*reach_destinations(table, lambda name: status.update(f"opening {name}"))]
        status.update("asking the broker")
        return [*found, *reach_broker()]


# What was seen from outside is not said again of a destination that could not be opened for it.
def _with(connected: Sequence[Finding], findings: Sequence[Finding], table: RouteTable) -> list[Finding]:
    told = {(finding.route_id, finding.code) for finding in connected}
    new = [finding for finding in findings if (finding.route_id, finding.code) not in told]
    return worst_first([*connected, *new], table.route_ids)


def _limits() -> Limits:
    s = settings()
    return Limits(s.retry_cap, s.task_time_limit, s.visibility_timeout, TURN_OF_WRITES)


def _drawn(findings: Sequence[Finding]) -> Table:
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for finding in findings:
        place = ": ".join(filter(None, (finding.where, finding.about)))
        hint = f"\n→ {finding.suggestion}" if finding.suggestion else ""
        text = f"{place}: {finding.message} [{finding.code}]{hint}"
        drawn.add_row(f"[{_STYLES[finding.severity]}]{finding.severity}[/]", screen.word_for_word(text))
    return drawn


def _counts(table: RouteTable) -> dict[str, int]:
    return {"routes": len(table), "destinations": len(table.destinations())}


def _summary(table: RouteTable, findings: Sequence[Finding]) -> str:
    found = Counter(finding.severity for finding in findings)
    counts = [_counted(found[severity], severity) for severity in SEVERITIES if found[severity]]
    whole = ", ".join(_counted(count, name.removesuffix("s")) for name, count in _counts(table).items())
    return f"{whole}: {', '.join(counts) or '[green]no findings[/]'}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 or noun == 'info' else 's'}"
