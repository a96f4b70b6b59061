"""RouterStats adds up results."""

from router.stats import RouterStats


def make_results(**changes):
    return {"routed": 0, "routes_matched": {}, "errors": [], "skipped": 0, **changes}


def test_new_stats_are_zero():
    assert RouterStats().to_dict() == {
        **{"batches": 0, "points": 0, "routed": 0, "skipped": 0, "errors": 0},
        **{"routes_matched": {}, "errors_by_type": {}, "errors_by_route": {}},
    }


def test_results_add_up():
    stats = RouterStats()
    stats.update(make_results(routed=3, skipped=1, routes_matched={"a": 2, "b": 3}))
    stats.update(make_results(routed=1, routes_matched={"a": 1}), points=5)
    found = stats.to_dict()
    assert [found[name] for name in ("batches", "points", "routed", "skipped")] == [2, 9, 4, 1]
    assert found["routes_matched"] == {"a": 3, "b": 3}


def test_errors_count_the_points_they_were_said_of():
    stats = RouterStats()
    refused = {"route_id": "", "type": "validation_error", "error": "x", "destination": "", "rows": [4]}
    failed = {"route_id": "a", "type": "transform_error", "error": "y", "destination": "a", "rows": [0, 1]}
    whole = {"route_id": "a", "type": "destination_error", "error": "z", "destination": "a"}
    stats.update(make_results(errors=[refused, failed, whole]))
    found = stats.to_dict()
    assert found["errors"] == 4
    assert found["errors_by_type"] == {"validation_error": 1, "transform_error": 2, "destination_error": 1}
    assert found["errors_by_route"] == {"a": 3}


def test_totals_are_a_copy():
    stats = RouterStats()
    stats.to_dict()["routes_matched"]["a"] = 7
    assert stats.to_dict()["routes_matched"] == {}
