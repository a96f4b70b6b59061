"""What routes and routers look like to people."""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from destinations import MemoryDestination
from router import DataRouter, Route, RoutePriority, RouteTable
from tests.make import make_batch


class Secretive(MemoryDestination):
    def place(self) -> str:
        return "redis://:password@host"

    def __repr__(self) -> str:
        return "Secretive(password)"

    __str__ = __repr__


def make_route(route_id: str = "daily", **fields: Any) -> Route:
    return Route(**{"route_id": route_id, "condition": "true", "destination": Secretive(), **fields})


def is_daily(point: Any) -> bool:
    return bool(point.timeframe == "1d")


def test_a_route_shows_its_condition_its_destination_and_what_was_set() -> None:
    html = make_route(
        condition=partial(is_daily), transform=is_daily, batch_size=10, priority=RoutePriority.HIGH
    )._repr_html_()
    for field, said in {
        "condition": "is_daily",
        "destination": "Secretive",
        "transform": "is_daily",
        "batch_size": "10",
        "batch_timeout": "5.0",
        "priority": "high",
    }.items():
        assert f"<td>{field}</td><td>{said}</td>" in html
    assert "max_retries" not in html


def test_a_router_shows_its_routes_what_each_took_and_its_totals() -> None:
    routes = [
        make_route("a", condition=pl.col("symbol") == "A"),
        make_route("b", destination=Secretive(name="box")),
    ]
    router = DataRouter(routes, default_destination=Secretive(name="rest"), enable_parallel=False)
    router.route(make_batch(1_200, ["A", "B"]))
    assert repr(router) == (
        "DataRouter(a, b, default; 1,200 points in 1 batch: 1,200 routed, 0 skipped, 0 errors)"
    )
    html = router._repr_html_()
    assert "1,200 points in 1 batch" in html
    assert "<td>a (Secretive)</td><td></td><td>600</td>" in html
    assert "<td>box (Secretive)</td><td></td><td>1,200</td>" in html
    assert "<td>rest (Secretive)</td>" in html


def test_a_router_without_routes_says_so() -> None:
    assert repr(DataRouter()).startswith("DataRouter(no routes; 0 points")
    assert "<tbody></tbody>" in DataRouter()._repr_html_()


def test_many_routes_are_shown_in_part() -> None:
    table = RouteTable([make_route(f"r{n}") for n in range(1000)])
    assert repr(table) == "RouteTable(r0, r1, r2, r3, r4, r5, r6, r7, 992 more)"
    html = table._repr_html_()
    assert html.count("<tr>") == 1 + 50 + 1
    assert "<td>950 more</td>" in html


def test_nothing_is_shown_of_a_destination_but_its_name_and_class() -> None:
    router = DataRouter([make_route()], default_destination=Secretive(), enable_parallel=False)
    for shown in (router, router.table, router.routes[0]):
        assert "password" not in f"{shown!r}{shown}{shown._repr_html_()}"


def test_html_of_routes_escapes_and_cuts_what_is_long() -> None:
    html = make_route(condition=f"symbol = '<script>{'x' * 500}'", description="<b>")._repr_html_()
    assert "<script" not in html
    assert "<b>" not in html
    assert "symbol = &#x27;&lt;script&gt;xxx" in html
    assert "x…</td>" in html
