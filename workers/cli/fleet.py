"""`candlefleet up` and `candlefleet demo`: a whole fleet with one command."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer

from destinations.base import DataDestination
from router.errors import ConfigError
from router.table import RouteTable
from workers.cli import screen
from workers.cli.send import send_files, wait_until_at_rest
from workers.report import Report, RouteReport, report
from workers.settings import Settings, settings
from workers.store import Store
from workers.supervisor import Fleet
from workers.unknown_routes import advice, unknown_debts

EXAMPLES: Final = Path("examples")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(up)
    app.command()(demo)


def up(
    concurrency: Annotated[
        int, typer.Option("-c", "--concurrency", min=1, help="Processes of each destination's worker.")
    ] = 1,
    flower: Annotated[bool, typer.Option(help="Serve Flower on loopback.")] = True,
) -> None:
    """Start a fleet and keep it running until Ctrl-C."""
    stop = _on_signals()
    with Fleet(settings(), concurrency=concurrency, flower=flower) as fleet:
        store = _start(fleet)
        screen.say(f"[green]up[/]: {len(fleet.members)} processes, logs in {fleet.folder / 'logs'}")
        if flower:
            screen.say(f"Flower: http://127.0.0.1:{fleet.settings.flower_port}")
        for route_id, points in unknown_debts(store, fleet.table).items():
            screen.say(f"[yellow]{advice(route_id, points)}[/]")
        screen.say("Ctrl-C stops everything; what is owed is kept.")
        while not stop.wait(0.5):
            for name in fleet.mend():
                screen.say(f"[yellow]{name} ended and was started again[/]: see {fleet.log(name)}")
        screen.say("stopping")


def demo(
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Files to send; the example bars otherwise.")
    ] = None,
    folder: Annotated[Path, typer.Option("--dir", help="Where the fleet and the exports live.")] = Path(
        "demo-data"
    ),
    flower: Annotated[bool, typer.Option(help="Start Flower too.")] = True,
) -> None:
    """Send real bars through the example routes, show what became of them, and stop."""
    os.environ.setdefault("CANDLEFLEET_EXPORTS", str((folder / "exports").resolve()))
    stop = _on_signals()
    s = settings().model_copy(update={"dir": folder, "door": False, **_example_routes(settings())})
    files = [path for path in data or sorted((EXAMPLES / "data").glob("*.csv")) if path]
    if not files:
        raise ConfigError("demo.data", str(EXAMPLES / "data"), "no bars to send: name a file with --data")
    with Fleet(s, flower=flower) as fleet:
        store = _start(fleet)
        before = report(store, fleet.table)
        began = time.monotonic()
        sent = send_files(files, url=fleet.url, flush=True)
        after = wait_until_at_rest(store, fleet.table, stop)
        _show(before, after, time.monotonic() - began, fleet.table, folder)
        if sent.again:
            screen.say(
                f"{screen.number(sent.again)} points were sent before, and were not taken again "
                f"(delete {folder} to start afresh)"
            )
    if after.broken or not after.at_rest:
        raise typer.Exit(1)


def _example_routes(given: Settings) -> dict[str, Path]:
    return {} if "CANDLEFLEET_ROUTES" in os.environ else {"routes": EXAMPLES / "routes.py"}


def _start(fleet: Fleet) -> Store:
    with screen.err.status("starting") as status:
        return fleet.start(status.update)


def _on_signals() -> threading.Event:
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, ask)
    return stop


def _show(before: Report, after: Report, seconds: float, table: RouteTable, folder: Path) -> None:
    earlier = {route.route_id: route for route in before.routes}
    screen.out.print(
        screen.table(
            ("|route", "matched", "delivered", "dead", "points/s", f"<files under {folder}"),
            (
                _row(route, earlier.get(route.route_id), seconds, table, folder.resolve())
                for route in after.routes
            ),
        )
    )
    screen.out.print(screen.law(after), soft_wrap=True)


def _row(
    route: RouteReport, earlier: RouteReport | None, seconds: float, table: RouteTable, folder: Path
) -> Iterable[str]:
    new = route.delivered - (earlier.delivered if earlier else 0)
    destination = table.route(route.route_id).destination if route.route_id in table else None
    where = destination.place() if isinstance(destination, DataDestination) else ""
    if Path(where).is_relative_to(folder):
        where = str(Path(where).relative_to(folder))
    counts = (route.matched, route.delivered, route.dead + route.failed)
    return (route.route_id, *map(screen.number, counts), screen.number(new / seconds) if new else "-", where)
