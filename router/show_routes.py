"""Show routes to people: names in a line, tables in a notebook; of a destination its name and class alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from router.conditions import name_of

if TYPE_CHECKING:
    from router.route import Route

_MOST_NAMED: Final = 8
_MOST_ROWS: Final = 50
_MOST_CHARACTERS: Final = 120


def first_of(names: Collection[str]) -> str:
    """Return the first names in one line, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(islice(names, _MOST_NAMED)) + (f", {more:,} more" if more > 0 else "")


def route_html(route: Route) -> str:
    """Return a table of a route's condition and destination, and of every field that was set."""
    rows = [
        ("route_id", route.route_id),
        ("condition", route.compiled.text),
        ("destination", _destination(route, route.destination_name)),
        *((name, _said(value)) for name, value in _set_fields(route)),
    ]
    return _html_table(("route", route.name), rows)


def table_html(routes: Collection[Route], names: Mapping[str, str], matched: Mapping[str, int]) -> str:
    """Return a table with a row for each of the first routes.

    Args:
        routes: The routes.
        names: The names of their destinations, by route.
        matched: Points that each took so far, by route.
    """
    rows = [
        (
            route.route_id,
            route.compiled.text,
            _destination(route, names[route.route_id]),
            ", ".join(f"{name}={_said(value)}" for name, value in _set_fields(route)),
            f"{matched[route.route_id]:,}" if route.route_id in matched else "",
        )
        for route in islice(routes, _MOST_ROWS)
    ]
    if len(routes) > _MOST_ROWS:
        rows.append((f"{len(routes) - _MOST_ROWS:,} more", "", "", "", ""))
    return _html_table(("route", "condition", "destination", "set", "matched"), rows)


# Every text is escaped, and cut where it is long.
def _html_table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{_cell(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<table border="1" class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(text: str) -> str:
    return escape(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…")


# Nothing else of it: its address may hold a password.
def _destination(route: Route, name: str | None) -> str:
    kind = type(route.destination).__name__
    return f"{name} ({kind})" if name else kind


def _set_fields(route: Route) -> list[tuple[str, Any]]:
    optional = [field for field in fields(route) if field.default is not MISSING and field.name != "name"]
    values = [(field.name, getattr(route, field.name), field.default) for field in optional]
    return [(name, value) for name, value, default in values if value != default]


def _said(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name.lower()
    return name_of(value) if callable(value) else str(value)
