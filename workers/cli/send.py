"""`candlefleet send`: hand the bars of files to the fleet, once however often it is run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from rich.progress import Progress, TaskID
from ulid import ULID

from router.files import Chunk, content_key, read_bars
from router.table import RouteTable
from workers.cli import screen
from workers.cli.show import connect, known_routes
from workers.producer import Producer
from workers.report import Report, report
from workers.store import Store

#: Seconds for which the fleet remembers a file that was sent: 30 days.
REMEMBERED: Final = 30 * 86_400


class Sent(NamedTuple):
    """Points of all files: taken now, refused, and taken before."""

    accepted: int
    refused: int
    again: int


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(send)


def send(
    files: Annotated[list[str], typer.Argument(help="CSV or NDJSON files; - reads standard input.")],
    format: Annotated[str | None, typer.Option(help="csv or ndjson; by the file's name otherwise.")] = None,
    again: Annotated[bool, typer.Option(help="Send files that were sent before as new points.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until everything is delivered.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Send the bars of files to the fleet; a file that was sent before adds nothing."""
    sent = send_files([Path(name) for name in files], format_=format, again=again, flush=wait)
    if wait:
        store, table = connect(), known_routes()
        found = wait_until_at_rest(store, table, threading.Event())
        if not found.at_rest:
            raise typer.Exit(1)
    if json:
        screen.as_json(sent._asdict())
        return
    parts = [f"[green]{screen.number(sent.accepted)} points accepted[/]"]
    if sent.again:
        parts.append(f"{screen.number(sent.again)} were sent before (--again sends them as new)")
    if sent.refused:
        parts.append(f"[yellow]{screen.number(sent.refused)} refused[/]: see `candlefleet dead-letters list`")
    screen.out.print("; ".join(parts), soft_wrap=True)


def send_files(
    files: Iterable[Path],
    *,
    url: str | None = None,
    format_: str | None = None,
    again: bool = False,
    flush: bool = False,
) -> Sent:
    """Send files in chunks whose ids are made of their content, so that a repeat adds nothing.

    With `flush` none of them waits for its batch to fill.
    """
    total = Sent(0, 0, 0)
    with Producer(url) as producer, screen.progress("") as bar:
        for path in files:
            task = bar.add_task(path.name, total=None, rate="")
            for sent in _send_file(producer, path, format_, again, bar, task):
                total = Sent(*(a + b for a, b in zip(total, sent, strict=True)))
        if flush:
            producer.flush_batches()
    return total


def _send_file(
    producer: Producer, path: Path, format_: str | None, again: bool, bar: Progress, task: TaskID
) -> Iterator[Sent]:
    streamed = str(path) == "-"
    key = str(ULID()) if again or streamed else f"file-{content_key(path)}"
    began, points = time.monotonic(), 0
    for chunk in read_bars("-" if streamed else path, format=format_):
        sent = _send_chunk(producer, f"{key}-{chunk.index}", chunk)
        points += sum(sent)
        rate = points / max(1e-6, time.monotonic() - began)
        bar.update(task, completed=chunk.bytes_read, total=chunk.bytes_total, rate=f"{rate:,.0f} points/s")
        yield sent


def _send_chunk(producer: Producer, batch_id: str, chunk: Chunk) -> Sent:
    receipt = producer.send_batch(chunk.rows, batch_id=batch_id, where=chunk.where, remember=REMEMBERED)
    if receipt.again:
        return Sent(0, 0, len(chunk))
    return Sent(receipt.accepted, len(receipt.refused), 0)


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
