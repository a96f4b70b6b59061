"""The command line: `python -m analytics`, run by `make analytics-check`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from analytics.comparing import differences
from analytics.engines import ENGINES, HERE, Engine
from analytics.expected import Answers, by_duckdb, by_polars
from analytics.files import active_files
from analytics.running import Failed, run
from workers.cli import screen

FILES: Final = (
    HERE.parent / "examples/data/equity_1d.csv",
    HERE.parent / "examples/data/index_1d.csv",
    HERE / "odd_bars.csv",
)
_SHOWN: Final = 10  #: differences of one source


class Check(NamedTuple):
    """One source read by one engine, or all of one that gave no answer; `wrong`: what differs."""

    engine: str
    version: str
    source: str
    rows: int
    seconds: float
    wrong: list[str]


def main() -> int:
    """Deliver, ask every engine, compare, and show a table; 1 if anything differs or was not run."""
    expected = by_polars(FILES)
    apart = [
        line for name, rows in by_duckdb(FILES).items() for line in differences(name, expected[name], rows)
    ]
    if apart:
        raise SystemExit("\n".join(["Polars and DuckDB do not expect the same:", *apart[:_SHOWN]]))
    with tempfile.TemporaryDirectory(prefix="candlefleet-analytics-") as name:
        folder = Path(name)
        screen.say(f"a fleet delivers {screen.number(len(expected['bars']))} bars")
        sources = delivered(folder)
        checks = [check for engine in ENGINES for check in checked(engine, sources, expected, folder)]
    show(checks)
    return 1 if any(check.wrong for check in checks) else 0


def delivered(folder: Path) -> dict[str, Any]:
    """Let a fleet deliver all bars, and return where each source lies."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("CANDLEFLEET_")}
    environment = kept | {"CANDLEFLEET_ROUTES": str(HERE / "routes.py")}
    files = [part for path in FILES for part in ("--data", path)]
    command = [Path(sys.executable).with_name("candlefleet"), "demo", *files, "--dir", folder, "--no-flower"]
    run(command, environment, folder / "fleet.log")
    lake = folder / "exports"
    sources = {name: str(lake / name) for name in ("parquet", "delta", "jsonl", "csv")}
    return {**sources, "delta_files": active_files(lake / "delta")}


def checked(engine: Engine, sources: Mapping[str, Any], expected: Answers, folder: Path) -> Iterator[Check]:
    """Ask one engine about its sources, and compare; what was not run counts as wrong."""
    screen.say(f"{engine.name} reads {' and '.join(engine.reads)}")
    try:
        found = engine.answers(sources, folder)
    except Failed as error:
        yield Check(engine.name, "", ", ".join(engine.reads), 0, 0.0, [str(error)])
        return
    for source in engine.reads:
        read = found["reads"][source]
        answers = {name: _with_times(rows) for name, rows in read["answers"].items()}
        wrong = [line for name, rows in expected.items() for line in differences(name, rows, answers[name])]
        yield Check(engine.name, found["version"], source, len(answers["bars"]), read["seconds"], wrong)


# Flink says times as text; the others, as Spark does, in microseconds.
def _with_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row | {"timestamp": _micros(row["timestamp"])} if "timestamp" in row else row for row in rows]


def _micros(time: int | str) -> int:
    if isinstance(time, int):
        return time
    since = datetime.fromisoformat(time).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


def show(checks: list[Check]) -> None:
    """Print what is wrong, and a table of all checks."""
    for check in checks:
        for line in check.wrong[:_SHOWN]:
            screen.say(screen.word_for_word(f"{check.engine}, {check.source}: {line}"))
        if len(check.wrong) > _SHOWN:
            screen.say(f"{check.engine}, {check.source}: and {len(check.wrong) - _SHOWN} more")
    columns = ("|engine", "|version", "|reads", "rows", "|checks", "seconds")
    screen.out.print(screen.table(columns, map(_row, checks)))


def _row(check: Check) -> tuple[str, ...]:
    verdict = (
        "[red]no answer[/]" if not check.version else "[red]differs[/]" if check.wrong else "[green]equal[/]"
    )
    seconds = f"{check.seconds:.1f}" if check.version else "-"
    return check.engine, check.version or "-", check.source, screen.number(check.rows), verdict, seconds


if __name__ == "__main__":
    sys.exit(main())
