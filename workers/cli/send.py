"""`candlefleet send`: hand the bars of files to the fleet, once however often it is run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from rich.progress import Progress, TaskID
from ulid import ULID

from router.arrangement import Understood
from router.errors import CandlefleetError, ConfigError, DecodeError
from router.files import Chunk, content_key, read_bars
from router.layout import Layout
from router.sources import state_of
from router.table import RouteTable
from workers.cli import reading, screen
from workers.cli.dry_run import dry_run
from workers.cli.show import connect, known_routes
from workers.producer import Producer
from workers.report import Report, report
from workers.store import Store

#: Seconds for which the fleet remembers a file that was sent: 30 days.
REMEMBERED: Final = 30 * 86_400
_PLAIN: Final = Layout()


class Sent(NamedTuple):
    """Points of all files: taken now, refused, and taken before."""

    accepted: int
    refused: int
    again: int


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(send)


def send(
    files: Annotated[list[str], typer.Argument(help="Files of bars; - reads standard input.")],
    format: reading.Format = None,
    symbol: reading.Symbol = None,
    timeframe: reading.Timeframe = None,
    asset_class: reading.AssetClass = None,
    source: reading.Source = None,
    maps: reading.Maps = None,
    mapping: reading.Mapping = None,
    tz: reading.Zone = None,
    fold: reading.Fold = None,
    unit: reading.Unit = None,
    stamp: reading.Stamp = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Judge every row and send none.")] = False,
    again: Annotated[bool, typer.Option(help="Send files that were sent before as new points.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until everything is delivered.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Send the bars of files to the fleet; a file that was sent before adds nothing.

    CSV, NDJSON, JSON, Parquet, Arrow and Feather, also packed as gzip, zstd, bz2 or xz.
    """
    constants = {"symbol": symbol, "timeframe": timeframe, "asset_class": asset_class, "source": source}
    words = {"zone": tz, "fold": fold, "unit": unit, "stamp": stamp}
    layout = reading.layout_of(mapping, maps, constants, words)
    paths = [Path(name) for name in files]
    if dry:
        raise typer.Exit(0 if dry_run(paths, format, layout, json=json) else 1)
    failed: list[CandlefleetError] = []

    def fail(error: CandlefleetError) -> None:
        failed.append(error)
        screen.say(screen.word_for_word(f"candlefleet: {error}"))

    sent = send_files(paths, format_=format, layout=layout, again=again, flush=wait, failed=fail)
    if wait:
        store, table = connect(), known_routes()
        found = wait_until_at_rest(store, table, threading.Event())
        if not found.at_rest:
            raise typer.Exit(1)
    _show(sent, failed, json=json)
    if failed:
        raise typer.Exit(1 if any(sent) else 2)


def send_files(
    files: Iterable[Path],
    *,
    url: str | None = None,
    format_: str | None = None,
    layout: Layout = _PLAIN,
    again: bool = False,
    flush: bool = False,
    failed: Callable[[CandlefleetError], object] | None = None,
) -> Sent:
    """Send files in chunks whose ids are made of their content, so that a repeat adds nothing.

    Args:
        files: Their paths; `-` is standard input.
        url: The fleet's Redis; None: the one of the settings.
        format_: Their format; None: by their content and name.
        layout: What they do not say themselves.
        again: Send as new what was sent before.
        flush: Let none of the points wait for its batch to fill.
        failed: Takes what is wrong with a file, and the others are sent; None: it is raised.
    """
    total = Sent(0, 0, 0)
    with Producer(url) as producer, screen.progress("") as bar:
        for path in files:
            task = bar.add_task(path.name, total=None, rate="")
            try:
                for sent in _send_file(producer, path, format_, layout, again, bar, task):
                    total = Sent(*(a + b for a, b in zip(total, sent, strict=True)))
            except (ConfigError, DecodeError) as error:
                if failed is None:
                    raise
                failed(error)
        if flush:
            producer.flush_batches()
    return total


def _send_file(
    producer: Producer,
    path: Path,
    format_: str | None,
    layout: Layout,
    again: bool,
    bar: Progress,
    task: TaskID,
) -> Iterator[Sent]:
    state = None if str(path) == "-" else state_of(path)
    key = str(ULID()) if again or state is None else f"file-{content_key(path)}{layout.key()}"
    began, points = time.monotonic(), 0
    last: Chunk | None = None
    for chunk in read_bars(path, format_, layout=layout):
        sent = _send_chunk(producer, f"{key}-{chunk.index}", chunk)
        points += sum(sent)
        last = chunk
        rate = points / max(1e-6, time.monotonic() - began)
        bar.update(task, completed=chunk.bytes_read, total=chunk.bytes_total, rate=f"{rate:,.0f} points/s")
        yield sent
    if last is not None:
        _tell(last.name, last.understood)
    if state is not None and path.exists() and state_of(path) != state:
        raise ConfigError("path", path.name, "changed while it was read: send it again when it is complete")


def _send_chunk(producer: Producer, batch_id: str, chunk: Chunk) -> Sent:
    receipt = producer.send_batch(chunk.rows, batch_id=batch_id, where=chunk.where, remember=REMEMBERED)
    if receipt.again:
        return Sent(0, 0, len(chunk))
    return Sent(receipt.accepted, len(receipt.refused), 0)


def _tell(name: str, understood: Understood) -> None:
    if not understood.is_plain:
        told = "; ".join(f"{title}: {text}" for title, text in reading.described(understood).items())
        screen.say(screen.word_for_word(f"{name}: {told}"))


def _show(sent: Sent, failed: Sequence[CandlefleetError], *, json: bool) -> None:
    if json:
        messages = {"failed": list(map(str, failed))} if failed else {}
        screen.as_json(sent._asdict() | messages)
        return
    if failed and not any(sent):
        return
    parts = [f"[green]{screen.number(sent.accepted)} points accepted[/]"]
    if sent.again:
        parts.append(f"{screen.number(sent.again)} were sent before (--again sends them as new)")
    if sent.refused:
        parts.append(f"[yellow]{screen.number(sent.refused)} refused[/]: see `candlefleet dead-letters list`")
    if failed:
        parts.append(f"[red]{screen.number(len(failed))} files not read to their end[/]")
    screen.out.print("; ".join(parts), soft_wrap=True)


def wait_until_at_rest(store: Store, table: RouteTable | None, stop: threading.Event) -> Report:
    """Wait until nothing waits and nothing is owed, or until `stop`; show how far it is."""
    with screen.progress("points") as bar:
        task = bar.add_task("delivering", total=None, rate="")
        began, first = time.monotonic(), None
        while True:
            found = report(store)
            done = sum(route.delivered + route.dropped + route.dead for route in found.routes)
            first = done if first is None else first
            rate = (done - first) / max(1e-6, time.monotonic() - began)
            bar.update(
                task, completed=done, total=done + found.owed + found.waiting, rate=f"{rate:,.0f} points/s"
            )
            if found.at_rest or stop.wait(0.1):
                return report(store, table)
