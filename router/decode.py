"""Read bytes as points that nobody has checked yet: JSON in, mappings out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from router.check_numbers import FLOAT_DIGITS, NumberText
from router.checks import MAX_FIELDS
from router.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one message may hold.

    Attributes:
        bytes: Of the whole message.
        points: In one message.
        point_bytes: A point may take, on average over the message.
    """

    bytes: int = 64 * 1024 * 1024
    points: int = 100_000
    point_bytes: int = 256 * 1024


#: What a message may hold unless somebody says otherwise.
LIMITS: Final = Limits()


def decode_json(data: bytes, limits: Limits = LIMITS) -> list[dict[str, Any]]:
    """Return the objects of a JSON list, or of one object, as `router.admission.admit` takes them.

    Raises:
        DecodeError: What `parse_json` and `as_points` refuse.
    """
    return as_points(parse_json(data, limits), len(data), limits)


def parse_json(data: bytes, limits: Limits = LIMITS) -> Any:
    """Return what a JSON text says, whatever that is.

    A byte order mark is ignored. NaN and Infinity, which are no JSON, stay floats, and numbers of more
    digits than a float keeps stay `NumberText`, so that it is their point which is judged, not all.

    Raises:
        DecodeError: `envelope.empty`, `envelope.size`, `envelope.encoding`, `envelope.not_json`,
            `envelope.depth`, `envelope.duplicate_key` or, for more objects than can be points,
            `batch.too_many`.
    """
    if len(data) > limits.bytes:
        raise DecodeError("envelope.size", f"{len(data)} bytes are more than the {limits.bytes} allowed")
    if not data.strip():
        raise DecodeError("envelope.empty", "the message is empty: send a JSON list of points")
    if data.count(b"{") > limits.points * MAX_FIELDS:  # far too many: told before they take memory
        raise _too_many(limits)
    try:
        return _JSON.decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DecodeError("envelope.encoding", f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        message = f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise DecodeError("envelope.not_json", message) from error
    except RecursionError:
        raise DecodeError("envelope.depth", "nested too deeply: a point holds fields, not trees") from None


def as_points(parsed: Any, size: int, limits: Limits = LIMITS) -> list[dict[str, Any]]:
    """Return what was parsed from `size` bytes as a list of objects; one object is a list of one.

    Raises:
        DecodeError: `envelope.shape`, `batch.too_many` or `envelope.size`.
    """
    rows = [parsed] if isinstance(parsed, dict) else parsed
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DecodeError("envelope.shape", "not a list of points: send a JSON list of objects")
    if len(rows) > limits.points:
        raise _too_many(limits)
    if size > limits.point_bytes * max(1, len(rows)):
        message = f"{size} bytes for {len(rows)} points: one may take {limits.point_bytes}"
        raise DecodeError("envelope.size", message)
    return rows


def _too_many(limits: Limits) -> DecodeError:
    return DecodeError("batch.too_many", f"more than {limits.points} points: send them in several messages")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DecodeError("envelope.duplicate_key", f"{twice!r:.80} is given twice in one object")
    return fields


def _integer(digits: str) -> int | NumberText:
    return int(digits) if len(digits) <= FLOAT_DIGITS else NumberText(digits)


def _fraction(digits: str) -> float | NumberText:
    return float(digits) if len(digits) <= FLOAT_DIGITS + 1 else NumberText(digits)


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=float
)
