"""`candlefleet flush`: let no point wait for its batch to fill."""

from __future__ import annotations

from typing import Annotated

import typer

from router.errors import ConfigError
from router.names import nearest
from workers.cli import screen
from workers.cli.show import Json, connect, known_routes
from workers.producer import Producer


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(flush)


def flush(
    route: Annotated[list[str] | None, typer.Argument(help="The routes; none: every route.")] = None,
    json: Json = False,
) -> None:
    """Deliver what waits for its batch to fill."""
    _check(route or [])
    with Producer() as producer:
        waiting = {name: points for name, points in producer.flush_batches(route or []).items() if points}
    if json:
        screen.as_json(waiting)
        return
    for name, points in sorted(waiting.items()):
        screen.out.print(f"{name}: {screen.number(points)} points need not wait", soft_wrap=True)
    if not waiting:
        screen.out.print("no points wait for their batch to fill")


def _check(wanted: list[str]) -> None:
    table = known_routes()
    known = set(table.route_ids if table else []) | connect().owing()
    for name in wanted:
        if name not in known:
            raise ConfigError("route.unknown", name, f"no route has this id{nearest(name, known)}")
