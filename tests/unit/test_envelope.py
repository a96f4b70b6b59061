"""What `checked` makes of a foreign message: a verdict for anything, and a clean message of a good one."""

from __future__ import annotations

import bz2
import json
import zlib
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.check_numbers import NumberText
from router.decode import Limits
from tests.make_messages import MALFORMED, ONE, UNREADABLE, make_message
from workers.envelope import Envelope, Malformed, called, checked, kept, named

ARGUMENTS = json.dumps([[[ONE], {"feed": 7}], {}, None]).encode()

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
paths = st.sampled_from(
    [
        "body",
        "content_type",
        "content_encoding",
        "headers",
        "headers__task",
        "headers__id",
        "headers__eta",
        "headers__retries",
        "headers__compression",
        "headers__ignore_result",
        "properties",
        "properties__priority",
        "properties__delivery_tag",
        "properties__delivery_info",
        "properties__body_encoding",
    ]
)


#: The first text of a run takes seconds to make.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def good(raw: bytes) -> Envelope:
    verdict = checked(raw)
    assert isinstance(verdict, Envelope), verdict
    return verdict


# -- bad ones --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code"), [pytest.param(*case[1:], id=case[0]) for case in UNREADABLE + MALFORMED]
)
def test_a_message_that_cannot_be_delivered_is_told_from_a_good_one(raw: bytes, code: str) -> None:
    verdict = checked(raw)
    assert isinstance(verdict, Malformed)
    assert verdict.code == code
    assert 0 < len(verdict.message) < 400
    assert verdict.task_id in ("", "5f2e")


@patient
@given(st.binary())
def test_any_bytes_get_a_verdict(raw: bytes) -> None:
    assert isinstance(checked(raw), Malformed)


@patient
@given(st.dictionaries(paths, anything, max_size=4))
def test_any_fields_get_a_verdict(changes: dict[str, Any]) -> None:
    whole = {path: value for path, value in changes.items() if "__" not in path}
    inner = {path: value for path, value in changes.items() if path.partition("__")[0] not in whole}
    verdict = checked(make_message(**inner | whole))
    assert isinstance(verdict, Envelope | Malformed)
    if isinstance(verdict, Envelope):
        json.dumps(verdict.message("tag"))
        assert called(verdict.body).points == [ONE]


@patient
@given(anything, st.sampled_from([b"", b"gzip"]))
def test_any_body_gets_a_verdict(body: Any, how: bytes) -> None:
    data = json.dumps(body).encode()
    raw = (
        make_message(body=zlib.compress(data), headers__compression="application/x-gzip")
        if how
        else make_message(body=data)
    )
    assert isinstance(checked(raw), Envelope | Malformed)


@patient
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_message_with_one_byte_changed_gets_a_verdict(place: int, byte: int) -> None:
    raw = bytearray(make_message())
    raw[place % len(raw)] = byte
    assert isinstance(checked(bytes(raw)), Envelope | Malformed)


@pytest.mark.parametrize("depth", range(200, 1000, 50))
def test_a_message_nested_as_deeply_as_can_be_read_gets_a_verdict(depth: int) -> None:
    for place in ("content_type", "headers__compression", "properties__body_encoding"):
        raw = make_message(**{place: "NESTED"})
        assert b'"NESTED"' in raw
        assert isinstance(checked(raw.replace(b'"NESTED"', b"[" * depth + b"]" * depth)), Malformed)
    body = b"[[[], " + b'{"a":' * depth + b"1" + b"}" * depth + b"], {}, {}]"
    assert isinstance(checked(make_message(body=body)), Envelope | Malformed)


# -- good ones -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"body": ARGUMENTS},
        {"body": ARGUMENTS.decode()},
        {"body": b"\xef\xbb\xbf" + ARGUMENTS},
        {"body": json.dumps([[], {"points": [ONE], "context": {"feed": 7}}, {}])},
        {"body": json.dumps([[ONE], {"context": {"feed": 7}}, {"callbacks": None, "chain": 5}])},
        {"body": zlib.compress(ARGUMENTS), "headers__compression": "application/x-gzip"},
        {"body": bz2.compress(ARGUMENTS), "headers__compression": "application/x-bz2"},
        {"body": pa.compress(ARGUMENTS, "zstd", asbytes=True), "headers__compression": "application/zstd"},
        {"body": ARGUMENTS, "content_type": "application/JSON; charset=utf-8", "content_encoding": None},
    ],
    ids=["base64", "text", "mark", "by name", "one point", "gzip", "bz2", "zstd", "charset"],
)
def test_points_and_context_come_as_they_were_sent(changes: dict[str, Any]) -> None:
    envelope = good(make_message(**changes))
    assert called(envelope.body) == ([ONE], {"feed": 7})
    assert (envelope.task_id, envelope.points, envelope.eta) == ("5f2e", 1, None)


def test_what_celery_gets_is_written_anew_and_shows_no_point() -> None:
    envelope = good(
        make_message(
            headers__argsrepr="BTC/USDT",
            headers__kwargsrepr="BTC/USDT",
            headers__shadow="someone.else",
            headers__timelimit=[0.001, "x"],
            headers__expires="2001-01-01",
            headers__group=7,
            properties__priority=3,
            properties__delivery_info={"exchange": "nowhere", "routing_key": "x"},
        )
    )
    message = envelope.message("a tag of its own")
    args, kwargs, embed = json.loads(message.pop("body"))
    assert (kwargs, embed, called(args[0]).points) == ({}, {}, [ONE])
    assert "BTC/USDT" not in json.dumps(message)
    assert message["headers"]["argsrepr"] == "(1 points)"
    assert message["headers"]["expires"] is None
    assert message["headers"].get("shadow") is None
    assert message["properties"]["delivery_tag"] == "a tag of its own"
    assert message["properties"]["delivery_info"] == {"exchange": "", "routing_key": "points"}
    assert message["properties"]["priority"] == 3


def test_a_message_that_comes_again_is_the_one_it_was() -> None:
    envelope = good(
        make_message(headers__retries=2, headers__eta="2030-01-01T00:00:00", headers__ignore_result=True)
    )
    assert envelope.eta == datetime(2030, 1, 1, tzinfo=UTC)
    assert good(json.dumps(envelope.message("tag")).encode()) == envelope
    message = envelope.message("tag")
    message["headers"]["redelivered"] = True
    assert good(json.dumps(message).encode()) == envelope


def test_numbers_keep_their_digits_on_the_way() -> None:
    digits = "42050.123456789012345678901234567890123456789"
    body = '[[[{"close": ' + digits + ', "low": NaN}]], {}, {}]'
    (point,) = called(good(make_message(body=body)).body).points
    assert point["close"] == NumberText(digits)
    assert point["low"] != point["low"]


@pytest.mark.parametrize(
    "name", ["a b", "x" * 129, "line\nbreak", "é", "\ud800", "\x7f"], ids=lambda name: ascii(name)[:9]
)
def test_an_id_that_can_name_no_batch_gets_a_name_of_its_own_always_the_same(name: str) -> None:
    first, second = (good(make_message(headers__id=name)).task_id for _ in range(2))
    assert first == second == named(name) != named(name + "x")
    assert first.isalnum()
    assert len(first) == 32


# -- what is kept ----------------------------------------------------------------------------------


def test_text_is_kept_as_text_and_other_bytes_as_base64() -> None:
    assert kept(b"not json") == "not json"
    assert kept(b"\xff\xfe\x80") == {"base64": "//6A"}
    assert kept(b"") == ""


def test_of_a_message_beyond_the_limit_the_beginning_is_kept_and_the_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.envelope.LIMITS", Limits(bytes=10, points=1, point_bytes=4))
    assert kept(b"0123456789") == "0123456789"
    assert kept(b"0123456789x") == {"beginning": "0123", "bytes": 11}
