"""Routes are checked when they are made, and do not change."""

import copy
import math
import pickle
from datetime import UTC, datetime

import numpy as np
import pytest

from router.errors import ConditionError, ConfigError
from router.points import NormalizedDataPoint
from router.route import DEFAULT_ROUTE_ID, DefaultRoute, Route, RoutePriority


class Nowhere:
    name = None

    def __init__(self, **options):
        self.__dict__.update(options)

    def open(self): ...
    def write_batch(self, batch): ...
    def close(self): ...


def make_route(**fields):
    return Route(**{"route_id": "csv", "condition": "close > 1", "destination": Nowhere(), **fields})


def make_point(**changes):
    base = {
        "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
        **{"open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5},
        **{"symbol": "BTC/USDT", "asset_class": "crypto", "timeframe": "1d", "source": "a"},
    }
    return NormalizedDataPoint(**{**base, **changes})


async def slow(point):
    return point


def test_route_of_three_fields_has_the_documented_defaults():
    route = make_route()
    assert (route.name, route.description, route.transform) == ("csv", None, None)
    assert (route.batch_size, route.batch_timeout) == (None, None)
    assert (route.priority, route.enabled, route.retry_on_failure) == (RoutePriority.NORMAL, True, True)
    assert (route.max_retries, route.retry_delay) == (3, 1.0)
    assert (route.rate_limit, route.max_owed) == (None, None)
    assert repr(route) == "Route('csv': close > 1 -> Nowhere)"


def test_batch_size_without_a_timeout_gets_five_seconds():
    assert make_route(batch_size=100).batch_timeout == 5.0
    assert make_route(batch_size=100, batch_timeout=1).batch_timeout == 1.0


def test_policy_of_the_destination_is_the_route_s_where_it_has_none():
    influx = Nowhere(batch_size=100, flush_interval=10)
    assert (make_route(destination=influx).batch_size, make_route(destination=influx).batch_timeout) == (
        100,
        10.0,
    )
    assert make_route(destination=influx, batch_size=7).batch_size == 7
    with pytest.raises(ConfigError, match=r"csv.batch_size.*range"):
        make_route(destination=Nowhere(batch_size=0))


def test_numbers_of_numpy_become_plain_ones():
    route = make_route(batch_size=np.int64(10), rate_limit=np.float32(2.0))
    assert (type(route.batch_size), type(route.rate_limit)) == (int, float)


NOT_WHOLE = [0, -1, 1.5, 10.0, True, "10", math.nan]
NOT_ABOVE_ZERO = [0, -1.0, math.nan, math.inf, True, "1"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *(("batch_size", value, "a whole number from 1 to 1,000,000 or None") for value in NOT_WHOLE),
        ("batch_size", 1_000_001, "a whole number from 1 to 1,000,000 or None"),
        *(("max_owed", value, "a whole number of at least 1 or None") for value in NOT_WHOLE),
        *(("batch_timeout", value, "a finite number above 0 or None") for value in NOT_ABOVE_ZERO),
        *(("rate_limit", value, "a finite number above 0 or None") for value in NOT_ABOVE_ZERO),
        *(
            ("retry_delay", value, "a finite number of at least 0")
            for value in (-1, math.nan, math.inf, None)
        ),
        *(("max_retries", value, "a whole number of at least 0") for value in (-1, 0.5, False, None)),
    ],
)
def test_number_out_of_range_is_refused(field, value, message):
    with pytest.raises(ConfigError) as refusal:
        make_route(**{field: value})
    assert (refusal.value.code, refusal.value.where) == ("range", f"csv.{field}")
    assert refusal.value.message == f"must be {message}, not {value!r}"


@pytest.mark.parametrize("field", ["batch_size", "batch_timeout", "rate_limit", "retry_delay"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_number_that_no_float_holds_is_refused(field, digits):
    with pytest.raises(ConfigError) as refusal:
        make_route(**{field: 10**digits})
    assert (refusal.value.code, refusal.value.where) == ("range", f"csv.{field}")
    assert len(refusal.value.message) < 150


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", 3, "must be str, not 3"),
        ("description", 3, "must be str or None, not 3"),
        ("priority", 1, "must be RoutePriority, not 1"),
        ("enabled", "yes", "must be bool, not 'yes'"),
        ("retry_on_failure", None, "must be bool, not None"),
        ("transform", "close * 2", "must be a callable or None"),
        ("transform", slow, "slow is a coroutine function"),
        ("destination", Nowhere, "Nowhere is a class: give one made of it"),
        ("destination", "csv", "a destination has a method write_batch; str has none"),
    ],
)
def test_value_of_another_kind_is_refused(field, value, message):
    with pytest.raises(ConfigError) as refusal:
        make_route(**{field: value})
    assert (refusal.value.code, refusal.value.where) == ("type", f"csv.{field}")
    assert message in refusal.value.message


@pytest.mark.parametrize("route_id", ["", "a b", "a/b", "x" * 101, "caf\u00e9", 3, None, "a\nb"])
def test_route_id_of_other_characters_is_refused(route_id):
    with pytest.raises(ConfigError) as refusal:
        make_route(route_id=route_id)
    assert (refusal.value.code, refusal.value.where) == ("route.id", f"{route_id!r}.route_id")


def test_route_id_default_is_reserved():
    with pytest.raises(ConfigError, match=r"choose another id \[route.id\]"):
        make_route(route_id=DEFAULT_ROUTE_ID)


@pytest.mark.parametrize("missing", ["route_id", "condition", "destination"])
def test_missing_field_is_named(missing):
    fields = {"route_id": "csv", "condition": "close > 1", "destination": Nowhere()}
    del fields[missing]
    with pytest.raises(ConfigError) as refusal:
        Route(**fields)
    where = "route.route_id" if missing == "route_id" else f"csv.{missing}"
    assert (refusal.value.code, refusal.value.where) == ("required", where)


def test_destination_none_is_a_missing_one():
    with pytest.raises(ConfigError, match=r"csv.destination: .*\[required\]"):
        make_route(destination=None)


def test_misspelt_field_is_refused_with_the_nearest():
    with pytest.raises(ConfigError) as refusal:
        make_route(batchsize=10)
    assert (refusal.value.code, refusal.value.where) == ("unknown_field", "csv.batchsize")
    assert "did you mean 'batch_size'" in refusal.value.message


def test_condition_is_checked_and_said_of_the_route():
    with pytest.raises(ConditionError) as refusal:
        make_route(condition="clse > 1")
    assert (refusal.value.code, refusal.value.where) == ("condition.unknown_field", "csv.condition")


def test_only_enabled_may_change():
    route = make_route()
    route.enabled = False
    assert not route.enabled
    with pytest.raises(ConfigError, match=r"csv.enabled.*\[type\]"):
        route.enabled = "no"
    with pytest.raises(AttributeError, match="batch_size of a route does not change"):
        route.batch_size = 5


def test_route_survives_pickling_and_copying():
    route = make_route(destination=None or Nowhere(), batch_size=3, enabled=False)
    for other in (pickle.loads(pickle.dumps(route)), copy.copy(route)):
        assert (other.route_id, other.batch_size, other.enabled) == ("csv", 3, False)
        assert other.compiled.text == "close > 1"


def test_route_matches_by_its_condition():
    route = make_route(condition="close > 1")
    assert route.matches(make_point(close=1.5))
    assert not route.matches(make_point(close=1.0))


def test_disabled_route_matches_nothing():
    assert not make_route(enabled=False).matches(make_point())


def test_broken_condition_is_not_a_route_that_does_not_match():
    with pytest.raises(ZeroDivisionError):
        make_route(condition=lambda point: 1 / 0).matches(make_point())


def test_default_route_takes_no_point_by_its_condition():
    route = DefaultRoute(Nowhere())
    assert (route.route_id, route.matches(make_point())) == ("default", False)


def test_what_happens_above_max_owed_is_one_of_two():
    assert make_route().at_max_owed == "busy"
    assert make_route(max_owed=10, at_max_owed="dead_letter").at_max_owed == "dead_letter"
    with pytest.raises(
        ConfigError, match=r"csv.at_max_owed: must be 'busy' or 'dead_letter', not 'dead_leter'"
    ):
        make_route(max_owed=10, at_max_owed="dead_leter")
    with pytest.raises(ConfigError, match=r"csv.max_owed: missing"):
        make_route(at_max_owed="dead_letter")
