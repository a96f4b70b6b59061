from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest

from router.admission import admit
from router.batch import PointBatch
from router.check_numbers import NumberText
from router.decode import Limits, decode_json
from router.errors import DecodeError
from tests.make import make_batch, make_point

ONE = make_point().to_json_dict()
SMALL = Limits(bytes=2000, points=3, point_bytes=500)

UNREADABLE: list[Any] = [
    ("S055", b"not json at all", "envelope.not_json"),
    ("S055-half", b'[{"close": 1}', "envelope.not_json"),
    ("S055-two", b"{} {}", "envelope.not_json"),
    ("S055-nan", b'{"close": nan}', "envelope.not_json"),
    ("S056", b"[1,2,3]", "envelope.shape"),
    ("S056-text", b'"point"', "envelope.shape"),
    ("S056-null", b"null", "envelope.shape"),
    ("S056-lists", b"[[{}]]", "envelope.shape"),
    ("S057", b"", "envelope.empty"),
    ("S057-blank", b" \n", "envelope.empty"),
    ("S058", b"\xff\xfe\x80", "envelope.encoding"),
    ("S058-utf16", "[{}]".encode("utf-16"), "envelope.encoding"),
    ("S060", b'[{"close":1,"close":2}]', "envelope.duplicate_key"),
    ("S060-within", b'{"technical_indicators":{"rsi":1,"rsi":2}}', "envelope.duplicate_key"),
    ("S061", b"[" * 100_000, "envelope.depth"),
    ("S061-objects", b'{"a":' * 100_000, "envelope.depth"),
    ("S062", b'{"symbol":"' + b"x" * 5_000_000 + b'"}', "envelope.size"),
    ("S066", pickle.dumps({"close": 1}, protocol=4), "envelope.encoding"),
]


@pytest.mark.parametrize(("data", "code"), [pytest.param(*case[1:], id=case[0]) for case in UNREADABLE])
def test_bytes_that_are_no_points_are_refused_with_their_code(data: bytes, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_json(data)
    assert caught.value.code == code
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"[" + b" " * 2000 + b"]", "envelope.size"),
        (b"[{},{},{},{}]", "batch.too_many"),
        (b"[" + b"{}," * 400 + b"{}]", "batch.too_many"),
        (json.dumps([{"symbol": "x" * 990}, {}]).encode(), "envelope.size"),
    ],
    ids=["bytes", "points", "far too many points", "one large point"],
)
def test_messages_beyond_their_limits_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_json(data, SMALL)
    assert caught.value.code == code


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", b"\n "], ids=["plain", "S059", "blanks"])
def test_one_object_and_a_list_of_it_are_the_same(mark: bytes) -> None:
    assert decode_json(mark + json.dumps(ONE).encode()) == [ONE]
    assert decode_json(mark + json.dumps([ONE]).encode()) == [ONE]
    assert decode_json(mark + b"[]") == []


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        ("1.5", 1.5),
        ("NaN", None),
        ("-Infinity", -math.inf),
        ("1e999", math.inf),
        ("12345678901234567", 12345678901234567),
    ],
)
def test_numbers_that_a_float_holds_are_numbers(digits: str, value: Any) -> None:
    found = decode_json(f'{{"close":{digits}}}'.encode())[0]["close"]
    assert math.isnan(found) if value is None else (found == value and type(found) is type(value))


@pytest.mark.parametrize(
    "digits", ["123456789012345678", "0.12345678901234567890", "1" * 5000, "-1" + "0" * 5000 + ".5"]
)
def test_numbers_of_more_digits_keep_them_as_text(digits: str) -> None:
    found = decode_json(f'{{"close":{digits}}}'.encode())[0]["close"]
    assert (type(found), found) == (NumberText, digits)


@pytest.mark.parametrize(
    ("digits", "code"),
    [("NaN", "number.not_finite"), ("1e999", "number.not_finite"), ("1" * 5000, "number.too_long")],
    ids=["S001", "S004", "S018"],
)
def test_numbers_that_cannot_be_cost_only_their_own_point(digits: str, code: str) -> None:
    message = json.dumps([ONE, ONE | {"close": "here"}]).replace('"here"', digits)
    admission = admit(decode_json(message.encode()))
    assert [(one.index, one.reasons[0].code) for one in admission.refused] == [(1, code)]
    assert list(admission.batch) == [make_point()]
    if digits != "NaN":
        assert digits in admission.refused[0].original or math.isinf(float(digits[:400]))


def test_long_numbers_are_rounded_and_noted_as_they_are_in_text() -> None:
    message = json.dumps([ONE | {"volume": "here"}]).replace('"here"', "0.12345678901234567890")
    admission = admit(decode_json(message.encode()))
    assert admission.batch[0].volume == 0.12345678901234568
    assert admission.notes == {"exchange-a": {"rounded": 1}}


def test_text_that_json_escapes_is_judged_as_text() -> None:
    message = json.dumps(
        [ONE | {"symbol": symbol} for symbol in ("\ud800", "BTC\0USD", "BTC\u200bUSD", "\u0412")]
    )
    admission = admit(decode_json(message.encode()))
    assert [one.reasons[0].code for one in admission.refused] == [
        "symbol.surrogate",
        "symbol.control",
        "symbol.format_char",
    ]


def test_a_batch_comes_back_from_its_json() -> None:
    batch = make_batch(rows=100)
    assert admit(decode_json(batch.to_json().encode())).batch == PointBatch(batch.frame)
