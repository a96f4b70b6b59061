"""`candlefleet routes bury`: let go of what is owed to a route that is gone."""

from __future__ import annotations

import typer

from destinations import load_routes
from router.errors import ConfigError
from router.names import nearest
from workers.cli import screen
from workers.cli.show import Json, RoutesFile, connect, routes_app
from workers.settings import settings
from workers.unknown_routes import bury as move_to_dead_letters
from workers.unknown_routes import unknown_debts


def register(_app: typer.Typer) -> None:
    """Add this command to those about routes."""
    routes_app.command()(bury)


def bury(route: str, routes: RoutesFile = None, json: Json = False) -> None:
    """Move the points owed to a route that the routes file does not name to the dead letters."""
    store, table = connect(), load_routes(routes or settings().routes)
    unknown = unknown_debts(store, table)
    if route in table:
        raise ConfigError("route.known", route, "the routes file names this route: what it owes is delivered")
    if route not in unknown:
        message = f"nothing is owed to a route of this id{nearest(route, unknown)}"
        raise ConfigError("route.unknown", route, message)
    moved = move_to_dead_letters(store, route)
    left = store.owed()[route]
    if json:
        screen.as_json({"moved": moved, "left": left})
        return
    screen.out.print(
        f"{screen.number(moved)} points are dead letters now: see `candlefleet dead-letters list`"
    )
    if left:
        screen.out.print(
            f"[yellow]{screen.number(left)} wait for another attempt[/]: repeat this in a minute"
        )
