"""Celery messages as they lie in a Redis list, valid unless a test says otherwise, and tables of bad ones."""

from __future__ import annotations

import bz2
import json
import pickle
import zlib
from base64 import b64decode, b64encode
from typing import Any

from tests.make import make_point

ONE = make_point().to_json_dict()


def make_message(points: Any = None, *, body: Any = None, **changes: Any) -> bytes:
    """Return a message for `router.route_points` as small as one may be.

    Args:
        points: The first argument; one point if nothing is said.
        body: The body as a text, or as bytes to be sent as base64, instead of the arguments.
        changes: Fields to replace, by their path: `headers__id="7"`; a field set to `...` is left out.
    """
    text = json.dumps([[[ONE] if points is None else points], {}, {}]) if body is None else body
    message: dict[str, Any] = {
        "body": b64encode(text).decode() if isinstance(text, bytes) else text,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "router.route_points", "id": "5f2e"},
        "properties": {
            "delivery_tag": "tag",
            "delivery_info": {"exchange": "", "routing_key": "points"},
            "body_encoding": "base64" if isinstance(text, bytes) else "utf-8",
        },
    }
    for path, value in changes.items():
        *folders, name = path.split("__")
        place = message
        for folder in folders:
            place = place[folder]
        place[name.replace("content_", "content-")] = value
    return json.dumps(_without_dots(message)).encode()


def bytes_kept(original: Any) -> bytes:
    """Return the bytes that a dead letter keeps."""
    return original.encode() if isinstance(original, str) else b64decode(original["base64"])


def as_amqp(raw: bytes) -> tuple[bytes, dict[str, Any]] | None:
    """Return body and properties of the AMQP message that says the same; None: AMQP cannot say it.

    What is no message at all becomes a body, with the properties of a good one.
    """
    if raw in [unreadable for _, unreadable, _ in UNREADABLE]:
        return raw, _properties(json.loads(make_message()))
    try:
        message = json.loads(raw)
        body, encoding = message["body"], message["properties"]["body_encoding"]
        _ = message["properties"]["delivery_info"]["exchange"], message["properties"]["delivery_tag"]
        data = (
            b64decode(body, validate=True) if encoding == "base64" else body.encode(encoding, "surrogatepass")
        )
        return data, _properties(message)
    except (ValueError, KeyError, TypeError, AttributeError, LookupError, RecursionError):
        return None


def _properties(message: dict[str, Any]) -> dict[str, Any]:
    kind, encoding, headers = message.get("content-type"), message["content-encoding"], message["headers"]
    if not isinstance(kind, str | None) or not isinstance(headers, dict):
        raise TypeError("AMQP has no such properties")
    return {"content_type": kind, "content_encoding": encoding, "headers": headers}


def _without_dots(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _without_dots(item) for name, item in value.items() if item is not ...}


#: What no door may choke on, each with the code it is buried under.
UNREADABLE: list[tuple[str, bytes, str]] = [
    ("S055", b"not json at all", "envelope.not_json"),
    ("S055-half", b'[{"close": 1}', "envelope.not_json"),
    ("S056", b"[1,2,3]", "envelope.shape"),
    ("S057", b"", "envelope.empty"),
    ("S058", b"\xff\xfe\x80", "envelope.encoding"),
    ("S060", b'[{"close":1,"close":2}]', "envelope.duplicate_key"),
    ("S061", b"[" * 100_000, "envelope.depth"),
    ("S066", pickle.dumps({"close": 1}, protocol=4), "envelope.encoding"),
]

TOO_MANY = b"[" + b",".join([b"{}"] * 100_001) + b"]"
_ARGUMENTS = json.dumps([[[ONE]], {}, {}]).encode()


def _in_body(points: bytes) -> bytes:
    return make_message(body=b"[[" + points + b"], {}, {}]")


#: Messages that cannot be delivered, with the code of each.
MALFORMED: list[tuple[str, bytes, str]] = [
    ("S056-number", b"7", "envelope.shape"),
    ("S056-text", b'"point"', "envelope.shape"),
    ("S056-null", b"null", "envelope.shape"),
    ("S056-object", b"{}", "envelope.shape"),
    ("S060-outer", b'{"body": "", "body": ""}', "envelope.duplicate_key"),
    ("S060-points", _in_body(b'[{"close":1,"close":2}]'), "envelope.duplicate_key"),
    ("S061-body", make_message(body=b"[" * 100_000), "envelope.depth"),
    ("S061-points", _in_body(b"[" * 100_000 + b"]" * 100_000), "envelope.depth"),
    ("S061-outer", make_message()[:-1] + b', "x": ' + b"[" * 100_000, "envelope.depth"),
    ("S062", make_message([{"symbol": "x" * 5_000_000}]), "envelope.size"),
    ("S063", _in_body(TOO_MANY), "batch.too_many"),
    (
        "S064",
        make_message(body=zlib.compress(b"[" + b" " * 80_000_000), headers__compression="application/x-gzip"),
        "envelope.size",
    ),
    (
        "S064-bz2",
        make_message(body=bz2.compress(b" " * 80_000_000), headers__compression="application/x-bz2"),
        "envelope.size",
    ),
    ("S066-body", make_message(body=pickle.dumps([[], {}, {}])), "envelope.encoding"),
    ("S068", make_message(headers__task="tasks.add"), "task.unknown"),
    ("S068-ours", make_message(headers__task="deliver.csv_daily"), "task.unknown"),
    ("S068-canary", make_message(headers__task="maint.canary"), "task.unknown"),
    (
        "S069",
        make_message(
            body=pickle.dumps([[], {}, {}]),
            content_type="application/x-python-serialize",
            content_encoding="binary",
        ),
        "task.content_type",
    ),
    ("S069-yaml", make_message(content_type="application/x-yaml"), "task.content_type"),
    ("content type missing", make_message(content_type=...), "task.content_type"),
    ("content type of an odd kind", make_message(content_type=[]), "task.content_type"),
    ("content encoding", make_message(content_encoding="binary"), "envelope.encoding"),
    ("body missing", make_message(body=...), "envelope.shape"),
    ("body null", make_message(body=...)[:-1] + b', "body": null}', "envelope.shape"),
    ("body empty", make_message(body=""), "envelope.empty"),
    ("body a list", make_message(body=[[], {}, {}]), "envelope.shape"),
    ("body of two", make_message(body="[[[]], {}]"), "envelope.shape"),
    ("body of odd kinds", make_message(body='[{}, [], ""]'), "envelope.shape"),
    ("body an object", make_message(body='{"args": []}'), "envelope.shape"),
    ("body in utf-16", make_message(body=_ARGUMENTS.decode().encode("utf-16")), "envelope.encoding"),
    ("body with half a pair", make_message(body='[[["\ud800"]], {}, {}]'), "envelope.encoding"),
    ("no arguments", make_message(body="[[], {}, {}]"), "envelope.shape"),
    ("three arguments", make_message(body="[[[], {}, 1], {}, {}]"), "envelope.shape"),
    ("points given twice", make_message(body='[[[]], {"points": []}, {}]'), "envelope.shape"),
    ("an unknown argument", make_message(body='[[[]], {"rows": 1}, {}]'), "envelope.shape"),
    ("points a number", make_message(7), "envelope.shape"),
    ("points a text", make_message("[{}]"), "envelope.shape"),
    ("points of lists", make_message([[1, 2]]), "envelope.shape"),
    ("context a list", make_message(body="[[[], [1]], {}, {}]"), "envelope.shape"),
    (
        "context too large",
        make_message(body=json.dumps([[[], {"x": "x" * 70_000}], {}, {}])),
        "envelope.size",
    ),
    ("not base64", make_message(properties__body_encoding="base64", body="*"), "envelope.encoding"),
    ("not ASCII base64", make_message(properties__body_encoding="base64", body="é"), "envelope.encoding"),
    ("body encoding unknown", make_message(properties__body_encoding="rot13"), "envelope.encoding"),
    ("compression unknown", make_message(headers__compression="zip"), "envelope.compression"),
    ("compression of an odd kind", make_message(headers__compression={"a": 1}), "envelope.compression"),
    ("not compressed", make_message(headers__compression="application/x-gzip"), "envelope.compression"),
    (
        "compressed and cut",
        make_message(body=zlib.compress(_ARGUMENTS)[:-9], headers__compression="application/x-gzip"),
        "envelope.compression",
    ),
    ("headers missing", make_message(headers=...), "envelope.shape"),
    ("headers a list", make_message(headers=[]), "envelope.shape"),
    ("task missing", make_message(headers__task=...), "envelope.shape"),
    ("task a number", make_message(headers__task=7), "envelope.shape"),
    ("id missing", make_message(headers__id=...), "envelope.shape"),
    ("id null", make_message(headers__id=None), "envelope.shape"),
    ("id empty", make_message(headers__id=""), "envelope.shape"),
    ("properties missing", make_message(properties=...), "envelope.shape"),
    ("delivery tag missing", make_message(properties__delivery_tag=...), "envelope.shape"),
    ("delivery info missing", make_message(properties__delivery_info=...), "envelope.shape"),
    ("delivery info a text", make_message(properties__delivery_info="points"), "envelope.shape"),
    ("eta a word", make_message(headers__eta="soon"), "task.eta"),
    ("eta a number", make_message(headers__eta=5), "task.eta"),
    ("eta before time", make_message(headers__eta="0001-01-01T00:00:00+14:00"), "task.eta"),
]
