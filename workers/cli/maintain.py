"""`candlefleet maintain`: make large files of the small ones that datasets gather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.table import Table

from destinations import load_routes
from destinations.compaction import Merged, compact, planned
from destinations.dataset import DatasetDestination
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
        error: Why nothing could be done.
    """

    name: str
    merged: list[Merged] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
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
            "error": self.error,
        }


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(maintain)


def maintain(
    destinations: Annotated[
        list[str] | None, typer.Argument(help="Their names; none: every dataset of the routes.")
    ] = None,
    dry_run: DryRun = False,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """Merge the small files of datasets, beside running workers; exit 1 if some have to stay."""
    datasets = _chosen(load_routes(routes or settings().routes), destinations or [])
    found = [_maintained(name, dataset, dry_run=dry_run) for name, dataset in datasets.items()]
    if json:
        screen.as_json({"dry_run": dry_run, "destinations": {one.name: one.to_dict() for one in found}})
    else:
        _print(found, dry_run=dry_run)
    if any(one.error or one.kept for one in found):
        raise typer.Exit(1)


def _chosen(table: RouteTable, names: Sequence[str]) -> dict[str, DatasetDestination]:
    known = table.destinations()
    datasets = {name: one for name, one in known.items() if isinstance(one, DatasetDestination)}
    for name in names:
        if name not in known:
            message = f"no destination has this name{nearest(name, known)}"
            raise ConfigError("destination.unknown", name, message)
        if name not in datasets:
            message = "writes no dataset: only Parquet, Arrow and Feather files are ever merged"
            raise ConfigError("destination.kind", name, message)
    return {name: one for name, one in datasets.items() if not names or name in names}


def _maintained(name: str, dataset: DatasetDestination, *, dry_run: bool) -> Maintained:
    done = Maintained(name)
    try:
        if dataset.ledger.exists():
            done.missing = dataset.parts.missing(forget=not dry_run)
            _merge(dataset, done, dry_run=dry_run)
    except CandlefleetError as error:
        done.error = str(error)
    finally:
        dataset.close()
    return done


def _merge(dataset: DatasetDestination, done: Maintained, *, dry_run: bool) -> None:
    todo = planned(dataset)
    if dry_run:
        done.merged = [Merged(one) for one in todo]
        return
    with screen.counted("merging", sum(len(one.files) for one in todo), "files") as advance:
        for merged in compact(dataset):
            done.merged.append(merged)
            advance(len(merged.merge.files))
    dataset.parts.remove_replaced()


def _print(found: Sequence[Maintained], *, dry_run: bool) -> None:
    if not found:
        screen.out.print("no route writes a dataset: there is nothing to maintain")
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
            screen.size(merged.file.bytes) if merged.file else "one",
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
    if one.error:
        lines.append(f"[red]{one.name}: nothing was done[/]: {screen.word_for_word(one.error)}")
    elif not one.merged:
        lines.append(f"{one.name}: nothing to merge")
    return lines


def _described(one: Merged) -> dict[str, Any]:
    merge, file = one.merge, one.file
    return {
        "folder": merge.folder,
        "files": len(merge.files),
        "rows": merge.rows,
        "bytes": merge.bytes,
        "into": None if file is None else {"name": file.name, "bytes": file.bytes},
    }
