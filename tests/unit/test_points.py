from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, timedelta, timezone

import pytest
from pydantic import TypeAdapter, ValidationError

from router.errors import PointError
from router.points import NormalizedDataPoint
from router.rules import Rules
from router.schema import COLUMNS, AssetClass
from tests.make import START, make_point, make_values


def test_point_holds_typed_values_of_whatever_was_given() -> None:
    given = make_values(open="42000", timestamp="2024-01-01T02:00:00+02:00", volume=None)
    assert NormalizedDataPoint(**given).__dict__ == make_values(volume=None)


def test_point_refuses_with_our_codes_and_one_line_per_reason() -> None:
    with pytest.raises(ValidationError) as caught:
        make_point(open="{x}", low=-5, technical_indicators={"rsi": math.nan})
    assert [(line["type"], line["loc"]) for line in caught.value.errors()] == [
        ("number.format", ("open",)),
        ("number.not_positive", ("low",)),
        ("number.not_finite", ("technical_indicators", "rsi")),
    ]
    assert "'{x}' is not a number" in str(caught.value)


def test_point_of_too_many_fields_is_refused_as_a_whole() -> None:
    with pytest.raises(ValidationError) as caught:
        make_point(**{f"x{n}": n for n in range(64)})
    assert [(line["type"], line["loc"]) for line in caught.value.errors()] == [("envelope.fields", ())]


def test_no_way_of_pydantic_leads_past_the_check() -> None:
    bad = make_values(close=-1)
    with pytest.raises(ValidationError, match="ohlc"):
        NormalizedDataPoint.model_validate(bad)
    with pytest.raises(ValidationError, match="ohlc"):
        NormalizedDataPoint.model_validate_json(json.dumps(bad, default=str))
    with pytest.raises(ValidationError, match="ohlc"):
        TypeAdapter(list[NormalizedDataPoint]).validate_python([bad])
    with pytest.raises(ValidationError, match="mapping of fields"):
        NormalizedDataPoint.model_validate(type("Bar", (), bad)(), from_attributes=True)


def test_point_is_taken_as_it_is_by_other_models() -> None:
    point = make_point()
    assert NormalizedDataPoint.model_validate(point) is point


def test_point_is_frozen_equal_by_value_and_hashable() -> None:
    point = make_point(technical_indicators={"rsi": 55.0})
    assert point == make_point(technical_indicators={"rsi": 55.0})
    assert point != make_point()
    assert len({point, make_point(technical_indicators={"rsi": 55.0})}) == 1
    with pytest.raises(ValidationError, match="frozen"):
        point.close = 1.0  # type: ignore[misc]


def test_point_crosses_processes_unchanged() -> None:
    point = make_point(technical_indicators={"rsi": 55.0})
    assert pickle.loads(pickle.dumps(point)) == point


def test_point_becomes_json_and_comes_back_equal() -> None:
    point = make_point(volume=None, technical_indicators={"rsi": 55.0})
    written = point.to_json_dict()
    assert written["timestamp"] == "2024-01-01T00:00:00Z"
    assert written["volume"] is None
    assert list(written) == list(COLUMNS)
    assert NormalizedDataPoint(**json.loads(json.dumps(written))) == point


def test_revised_point_is_a_new_value_checked_again() -> None:
    point = make_point()
    assert point.revised(close="42001").close == 42_001
    assert point.close == 42_000.5
    with pytest.raises(ValidationError, match=r"ohlc\.out_of_range"):
        point.revised(close=1.0)


def test_identity_is_source_symbol_timeframe_and_timestamp() -> None:
    point = make_point(timestamp=START.astimezone(timezone(timedelta(hours=9))))
    assert point.identity == ("exchange-a", "BTC/USDT", "1m", START)
    assert point.identity == point.revised(close=42_001).identity
    assert make_point(symbol="A_B").identity != make_point(symbol="A", source="B_exchange-a").identity


def test_point_of_a_mapping_is_refused_with_every_reason() -> None:
    with pytest.raises(PointError) as caught:
        NormalizedDataPoint.from_mapping(make_values(close="x", source=""))
    assert [reason.code for reason in caught.value.reasons] == ["number.format", "required"]


def test_point_of_a_mapping_follows_the_rules_it_is_given() -> None:
    seconds = make_values(timestamp=1704067200)
    assert NormalizedDataPoint.from_mapping(seconds, Rules(timestamp_unit="s")) == make_point()


def test_trusted_values_are_not_checked_but_typed() -> None:
    offset = START.astimezone(timezone(timedelta(hours=9)))
    point = NormalizedDataPoint.trusted(make_values(timestamp=offset))
    assert point == make_point()
    assert point.timestamp.tzinfo is UTC
    assert point.asset_class is AssetClass.CRYPTO
    assert point.model_fields_set == make_point().model_fields_set
