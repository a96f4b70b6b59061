"""`candlefleet status`, `audit`, `routes list`: look, and change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from destinations import load_routes
from destinations.base import DataDestination
from router.route import Route
from router.table import RouteTable
from workers.broker import client, messages
from workers.cli import screen
from workers.envelope import QUEUE
from workers.report import Report, report
from workers.settings import broker_beside, require_state_url, settings
from workers.store import Store
from workers.unknown_routes import advice

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
RoutesFile = Annotated[
    Path | None, typer.Option("--routes", help="The routes file; CANDLEFLEET_ROUTES otherwise.")
]

routes_app = typer.Typer(help="Look at the routes.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(status)
    app.command()(audit)
    app.add_typer(routes_app, name="routes")


def connect() -> Store:
    """Return the store of the fleet that the settings name."""
    s = settings()
    return Store.connect(require_state_url(), memory=s.memory, remember=s.remember)


def known_routes(path: Path | None = None) -> RouteTable | None:
    """Return the routes of a file, or of the settings when there is such a file; else None."""
    if path is None and not settings().routes.is_file():
        return None
    return load_routes(path or settings().routes)


def status(json: Json = False) -> None:
    """Show what waits, what is owed and what was delivered, by route and by queue."""
    found = report(connect(), known_routes())
    queues = _queues(found)
    if json:
        screen.as_json({**found.to_dict(), "queues": queues})
        return
    screen.out.print(_route_table(found))
    screen.out.print(_queue_table(found, queues))
    screen.out.print(
        f"{screen.number(found.waiting)} points wait for routing, "
        f"{screen.number(found.invalid)} were refused at the door, "
        f"{screen.number(found.unmatched)} matched no route; "
        f"{screen.number(found.ingress)} messages wait in the stream; "
        f"{found.bytes / 1e6:,.1f} MB held in {screen.number(found.batches)} batches",
        soft_wrap=True,
    )
    for route in found.routes:
        if not route.known and route.owed:
            screen.out.print(f"[yellow]{advice(route.route_id, route.owed)}[/]", soft_wrap=True)
    for pause in found.paused:
        screen.out.print(
            f"[yellow]{pause.destination} is paused[/] for {pause.lasted:,.0f} s, and asked again in "
            f"{pause.left:.0f} s: {escape(pause.error)}",
            soft_wrap=True,
        )
    if found.dead_letters:
        screen.out.print(f"{screen.held(found)}: see `candlefleet dead-letters list`", soft_wrap=True)
    for what, counts in (("died so far", found.reasons), ("noted", found.notes)):
        if counts:
            listed = ", ".join(f"{name} {screen.number(n)}" for name, n in sorted(counts.items()))
            screen.out.print(f"{what}: {listed}", soft_wrap=True)


def _route_table(found: Report) -> Table:
    return screen.table(
        ("|route", "waiting", "in parts", "owed", "delivered", "dropped", "dead", "points/s"),
        (
            (
                route.route_id if route.known else f"[yellow]{route.route_id} (unknown)[/]",
                *map(screen.number, (route.pending, route.in_parts, route.owed, route.delivered)),
                *map(screen.number, (route.dropped, route.dead + route.failed, route.rate)),
            )
            for route in found.routes
        ),
    )


def _queues(found: Report) -> dict[str, dict[str, int | bool]]:
    """Return of each queue the messages in it, the points its routes owe, and whether a worker is there."""
    by_queue = {f"destinations.{route.destination}": route for route in found.routes if route.destination}
    waiting = messages(client(broker_beside(require_state_url())), ["router", "maint", QUEUE, *by_queue])
    served = {name: route.served for name, route in by_queue.items()} | {QUEUE: found.door_served}
    return {
        name: {
            "messages": count,
            "owed": sum(r.owed for r in found.routes if f"destinations.{r.destination}" == name),
            "served": served.get(name, found.router_served),
        }
        for name, count in waiting.items()
    }


def _queue_table(found: Report, queues: Mapping[str, Mapping[str, int | bool]]) -> Table:
    return screen.table(
        ("|queue", "messages", "points owed", "<worker"),
        (
            (
                name,
                screen.number(queue["messages"]),
                screen.number(queue["owed"]),
                "yes" if queue["served"] else f"[yellow]none[/]: celery -A workers worker -Q {name}",
            )
            for name, queue in queues.items()
        ),
    )


def audit(json: Json = False) -> None:
    """Check the conservation law from the debts themselves; exit 1 if it does not hold."""
    found = report(connect(), known_routes())
    if json:
        screen.as_json({"holds": not found.broken, "broken": found.broken, **found.to_dict()})
    else:
        screen.out.print(screen.law(found), soft_wrap=True)
    if found.broken:
        raise typer.Exit(1)


@routes_app.command("list")
def routes_list(routes: RoutesFile = None, json: Json = False) -> None:
    """List the routes of the routes file: condition, destination, queue and policy."""
    table = load_routes(routes or settings().routes)
    if json:
        screen.as_json([_described(route, table) for route in table.by_priority()])
        return
    rows = [_described(route, table) for route in table.by_priority()]
    screen.out.print(
        screen.table(
            ("|route", "<condition", "<writes to", "<priority", "enabled"),
            (
                [str(row[name]) for name in ("route_id", "condition", "destination", "priority", "enabled")]
                for row in rows
            ),
        )
    )


def _place(destination: object) -> str:
    return destination.place() if isinstance(destination, DataDestination) else ""


def _described(route: Route, table: RouteTable) -> dict[str, object]:
    return {
        "route_id": route.route_id,
        "name": route.name,
        "description": route.description,
        "condition": route.compiled.text,
        "destination": f"{route.destination} {_place(route.destination)}".strip(),
        "queue": f"destinations.{table.destination_name(route.route_id)}",
        "task": f"deliver.{route.route_id}",
        "priority": route.priority.name.lower(),
        "enabled": route.enabled,
        "batch_size": route.batch_size,
        "batch_timeout": route.batch_timeout,
        "rate_limit": route.rate_limit,
        "max_retries": route.max_retries,
    }
