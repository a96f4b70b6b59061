"""DataRouter: points in, results out, by whatever delivery was installed."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from router import DataRouter, NormalizedDataPoint, PointBatch, Route, delivery
from router.delivery import DirectDelivery
from router.errors import ConfigError, TerminalError


class Memory:
    def __init__(self, name=None):
        self.name = name
        self.points = []
        self.closed = 0

    def open(self): ...

    def write_batch(self, batch):
        self.points += batch

    def close(self):
        self.closed += 1


def make_point(day=0, **changes):
    base = {
        "timestamp": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day),
        **{"open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5},
        **{"symbol": "BTC/USDT", "asset_class": "crypto", "timeframe": "1d", "source": "a"},
    }
    return NormalizedDataPoint(**{**base, **changes})


def make_route(route_id, condition="true", destination=None, **fields):
    return Route(route_id=route_id, condition=condition, destination=destination or Memory(), **fields)


def broken(point):
    return 1 / 0


@pytest.fixture(autouse=True)
def no_fleet(monkeypatch):
    """Deliver in the caller, whether or not another test imported the workers."""
    monkeypatch.setattr(delivery, "_factory", [])


@pytest.fixture
def points():
    return [make_point(day, symbol=symbol) for day, symbol in enumerate("ABAC")]


def test_points_reach_every_destination_whose_route_matched(points):
    only_a, every = Memory(), Memory()
    router = DataRouter([make_route("a", "symbol = 'A'", only_a), make_route("every", destination=every)])
    assert router.route(points) == {
        "routed": 4,
        "routes_matched": {"a": 2, "every": 4},
        "errors": [],
        "skipped": 0,
    }
    assert only_a.points == [points[0], points[2]]
    assert every.points == points


def test_points_of_no_route_are_skipped_and_go_to_the_default_destination(points):
    rest = Memory()
    router = DataRouter([make_route("a", "symbol = 'A'")], default_destination=rest)
    results = router.route(points)
    assert (results["routed"], results["routes_matched"], results["skipped"]) == (2, {"a": 2}, 2)
    assert rest.points == [points[1], points[3]]


def test_broken_condition_costs_only_its_own_route(points):
    router = DataRouter([make_route("bad", broken), make_route("all")], default_destination=Memory("rest"))
    results = router.route(points)
    assert (results["routed"], results["routes_matched"], results["skipped"]) == (4, {"all": 4}, 0)
    assert results["errors"] == [
        {
            "route_id": "bad",
            "type": "condition_error",
            "error": "ZeroDivisionError: division by zero",
            "destination": "bad",
            "rows": [0, 1, 2, 3],
        }
    ]


def test_point_whose_only_condition_broke_is_neither_routed_nor_skipped(points):
    rest = Memory()
    results = DataRouter([make_route("bad", broken)], rest).route(points)
    assert (results["routed"], results["skipped"], rest.points) == (0, 0, [])


def test_refused_points_are_errors_and_the_others_go_on(points):
    memory = Memory()
    raw = [{**point.to_json_dict(), "timestamp": point.timestamp.isoformat()} for point in points]
    raw[1]["close"] = "NaN"
    results = DataRouter([make_route("all", destination=memory)]).route(raw)
    assert (results["routed"], results["routes_matched"]) == (3, {"all": 3})
    (error,) = results["errors"]
    assert (error["type"], error["route_id"], error["rows"]) == ("validation_error", "", [1])
    assert error["error"].startswith("number.not_finite close")
    assert memory.points == [points[0], points[2], points[3]]


def test_rows_of_errors_are_positions_among_what_was_given(points):
    class Picky(Memory):
        def write_batch(self, batch):
            raise TerminalError("no", rows=[len(batch) - 1])

    raw = [{"nothing": "here"}, *(point.__dict__ for point in points)]
    results = DataRouter([make_route("a", "symbol = 'A'", Picky())]).route(raw)
    assert [(error["type"], error["rows"]) for error in results["errors"]] == [
        ("validation_error", [0]),
        ("destination_error", [3]),
    ]


@pytest.mark.parametrize(
    "given",
    [
        list,
        tuple,
        iter,
        PointBatch.of,
        lambda points: PointBatch.of(points).frame,
        lambda points: PointBatch.of(points).table,
        lambda points: [point.__dict__ for point in points],
    ],
)
def test_points_are_taken_in_every_form(points, given):
    memory = Memory()
    results = DataRouter([make_route("all", destination=memory)]).route(given(points))
    assert (results["routed"], memory.points) == (4, points)


def test_single_point_is_a_batch_of_one():
    assert DataRouter([make_route("all")]).route(make_point())["routed"] == 1


def test_no_points_are_no_work():
    results = DataRouter([make_route("all")], Memory()).route([])
    assert results == {"routed": 0, "routes_matched": {}, "errors": [], "skipped": 0}


def test_routes_are_added_and_removed():
    router = DataRouter([make_route("a")])
    router.add_route(make_route("b"))
    router.remove_route("a")
    assert [route.route_id for route in router.routes] == ["b"]
    assert router.route([make_point()])["routes_matched"] == {"b": 1}


def test_list_of_routes_is_a_copy():
    router = DataRouter([make_route("a")])
    router.routes.clear()
    assert len(router.routes) == 1


def test_duplicate_id_is_refused_by_constructor_and_add_route():
    with pytest.raises(ConfigError, match=r"\[route.duplicate_id\]"):
        DataRouter([make_route("a"), make_route("a")])
    router = DataRouter([make_route("a")])
    with pytest.raises(ConfigError, match=r"\[route.duplicate_id\]"):
        router.add_route(make_route("a"))


def test_unknown_route_cannot_be_removed():
    with pytest.raises(ConfigError, match=r"did you mean 'csv'\?\) \[route.unknown\]"):
        DataRouter([make_route("csv")]).remove_route("cvs")


def test_route_may_be_disabled_and_enabled_again(points):
    route = make_route("a")
    router = DataRouter([route])
    route.enabled = False
    assert router.route(points)["skipped"] == 4
    route.enabled = True
    assert router.route(points)["routed"] == 4


def test_routes_change_while_points_are_routed(points):
    router = DataRouter([make_route("all")])
    results = []
    routing = threading.Thread(target=lambda: results.extend(router.route(points) for _ in range(30)))
    routing.start()
    for n in range(30):
        router.add_route(make_route(f"r{n}"))
        router.remove_route(f"r{n}")
    routing.join()
    assert [result["routes_matched"]["all"] for result in results] == [4] * 30
    assert router.get_stats()["points"] == 120


def test_stats_add_up_over_calls(points):
    router = DataRouter([make_route("a", "symbol = 'A'"), make_route("bad", broken)])
    router.route(points)
    router.route([*points, {}])
    found = router.get_stats()
    assert [found[name] for name in ("batches", "points", "routed", "skipped")] == [2, 9, 4, 0]
    assert found["routes_matched"] == {"a": 4}
    assert found["errors_by_type"] == {"condition_error": 8, "validation_error": 1}
    assert router.stats.to_dict() == found


def test_close_closes_what_was_opened(points):
    memory = Memory()
    router = DataRouter([make_route("a", destination=memory)])
    router.close()
    router.route(points)
    router.close()
    assert memory.closed == 1


class Recorded(DirectDelivery):
    calls: list

    def deliver(self, batch, matches, table, context):
        self.calls.append((len(batch), list(matches.selections), table.route_ids, context))
        return [{"route_id": "a", "type": "destination_error", "error": "later", "destination": "a"}]

    def flush(self, table):
        self.calls.append(table.route_ids)


@pytest.fixture
def recorded():
    Recorded.calls = []
    delivery.install(Recorded)
    return Recorded.calls


def test_installed_delivery_gets_batch_matches_routes_and_context(points, recorded):
    router = DataRouter([make_route("a", "symbol = 'A'")])
    results = router.route(points, {"fetched": "now"})
    router.flush_all_batches()
    assert recorded == [(4, ["a"], ["a"], {"fetched": "now"}), ["a"]]
    assert [error["error"] for error in results["errors"]] == ["later"]
    assert router.get_stats()["errors"] == 1


def test_router_that_is_not_parallel_delivers_in_the_caller(points, recorded):
    memory = Memory()
    DataRouter([make_route("a", destination=memory)], enable_parallel=False).route(points)
    assert (memory.points, recorded) == (points, [])
