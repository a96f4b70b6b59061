"""`candlefleet maintain`: make large files of the small ones that datasets and Delta tables gather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.table import Table

from destinations import DataDestination, load_routes
from destinations.maintenance import Maintenance, Merged
from router.errors import CandlefleetError, ConfigError
from router.names import nearest
from router.table import RouteTable
from workers.cli import screen
from workers.cli.letters import DryRun
from workers.cli.show import Json, RoutesFile
from workers.settings import settings


@dataclass(slots=True)
class Maintained:
    """What was done, or would be, for one destination.

    Attributes:
        name: The destination's name.
        merged: What became of every merge.
        missing: Files that somebody removed, whose records are dropped.
        removed: Files that were removed, since no reader needs them any more.
        error: Why nothing could be done.
    """

    name: str
    merged: list[Merged] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def kept(self) -> list[Merged]:
        """The merges that failed: their files stay as they are."""
        return [one for one in self.merged if one.error]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "merged": [_described(one) for one in self.merged if not one.error],
            "kept": [_described(one) | {"error": one.error} for one in self.kept],
            "missing": self.missing,
            "removed": self.removed,
            "error": self.error,
        }


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(maintain)


def maintain(
    destinations: Annotated[
        list[str] | None, typer.Argument(help="Their names; none: all that have small files.")
    ] = None,
    dry_run: DryRun = False,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """Merge small files of datasets and Delta tables, beside running workers; exit 1 if some have to stay."""
    chosen = _chosen(load_routes(routes or settings().routes), destinations or [])
    found = [_maintained(name, one, dry_run=dry_run) for name, one in chosen.items()]
    if json:
        screen.as_json({"dry_run": dry_run, "destinations": {one.name: one.to_dict() for one in found}})
    else:
        _print(found, dry_run=dry_run)
    if any(one.error or one.kept for one in found):
        raise typer.Exit(1)


def _chosen(table: RouteTable, names: Sequence[str]) -> dict[str, DataDestination]:
    known = table.destinations()
    kept_up = {
        name: one
        for name, one in known.items()
        if isinstance(one, DataDestination) and one.maintenance() is not None
    }
    for name in names:
        if name not in known:
            message = f"no destination has this name{nearest(name, known)}"
            raise ConfigError("destination.unknown", name, message)
        if name not in kept_up:
            message = "writes no dataset and no Delta table: nothing else has files to merge"
            raise ConfigError("destination.kind", name, message)
    return {name: one for name, one in kept_up.items() if not names or name in names}


def _maintained(name: str, destination: DataDestination, *, dry_run: bool) -> Maintained:
    done, work = Maintained(name), destination.maintenance()
    try:
        if work is not None and work.begun():
            done.missing = work.missing(forget=not dry_run)
            done.merged = [Merged(one) for one in work.planned()] if dry_run else _merged(work)
            done.removed = work.remove_unlisted(dry_run=dry_run)
    except CandlefleetError as error:
        done.error = str(error)
    finally:
        destination.close()
    return done


def _merged(work: Maintenance) -> list[Merged]:
    found = []
    files = sum(len(one.files) for one in work.planned())
    with screen.counted("merging", files, "files") as advance:
        for merged in work.merges():
            found.append(merged)
            advance(len(merged.merge.files))
    return found


def _print(found: Sequence[Maintained], *, dry_run: bool) -> None:
    if not found:
        screen.out.print("no route writes a dataset or a Delta table: there is nothing to maintain")
    if rows := [row for one in found for row in _rows(one)]:
        screen.out.print(_table(rows, dry_run=dry_run))
    for one in found:
        for line in _lines(one, dry_run=dry_run):
            screen.out.print(line, soft_wrap=True)


def _table(rows: Sequence[Sequence[str]], *, dry_run: bool) -> Table:
    becomes = "would become" if dry_run else "one of"
    return screen.table(("|destination", "<folder", "files", "rows", "size", becomes), rows)


def _rows(one: Maintained) -> list[tuple[str, ...]]:
    return [
        (
            one.name,
            screen.word_for_word(merged.merge.folder or "."),
            screen.number(len(merged.merge.files)),
            screen.number(merged.merge.rows),
            screen.size(merged.merge.bytes),
            ", ".join(screen.size(file.bytes) for file in merged.files) or "one",
        )
        for merged in one.merged
        if not merged.error
    ]


def _lines(one: Maintained, *, dry_run: bool) -> list[str]:
    lines = [
        f"[yellow]{one.name} {screen.word_for_word(kept.merge.folder or '.')} stays as it is[/]: "
        f"{screen.word_for_word(kept.error)}"
        for kept in one.kept
    ]
    if one.missing:
        count, verb = len(one.missing), "would be dropped" if dry_run else "dropped"
        files = "1 file was" if count == 1 else f"{screen.number(count)} files were"
        lines.append(f"{one.name}: {files} removed by somebody; {verb} from the ledger")
    if one.removed:
        count, verb = len(one.removed), "would be removed" if dry_run else "removed"
        files = "1 file" if count == 1 else f"{screen.number(count)} files"
        lines.append(f"{one.name}: {files} that no reader needs any more {verb}")
    if one.error:
        lines.append(f"[red]{one.name}: nothing was done[/]: {screen.word_for_word(one.error)}")
    elif not one.merged:
        lines.append(f"{one.name}: nothing to merge")
    return lines


def _described(one: Merged) -> dict[str, Any]:
    merge = one.merge
    return {
        "folder": merge.folder,
        "files": len(merge.files),
        "rows": merge.rows,
        "bytes": merge.bytes,
        "into": [{"name": file.name, "bytes": file.bytes} for file in one.files],
    }
