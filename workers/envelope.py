"""Read a foreign Celery message, and write it anew so that nothing in it can harm a worker."""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import pyarrow as pa

from router.check_numbers import shown
from router.decode import LIMITS, as_points, parse_json
from router.errors import DecodeError

QUEUE: Final = "points"  #: where foreign producers send to
TASK: Final = "router.route_points"  #: what they may ask for

#: What a batch, or a message, may be called; whatever is called otherwise gets a name of its own.
_NAME: Final = re.compile(r"[!-~]{1,128}")
#: Kombu's names of compressions, and Arrow's; kombu's gzip is zlib's format, which Arrow reads as well.
_COMPRESSIONS: Final = {
    "application/x-gzip": "gzip",
    "application/x-bz2": "bz2",
    "application/x-brotli": "brotli",
    "application/zstd": "zstd",
}
_CONTEXT_BYTES: Final = 64 * 1024
_MOST_RETRIES: Final = 100
_PARAMETERS: Final = ("points", "context")


class Call(NamedTuple):
    """What a message asks to route: points that nobody has checked yet, and their context."""

    points: list[dict[str, Any]]
    context: dict[str, Any]


class Envelope(NamedTuple):
    """A message that can be delivered.

    Attributes:
        task_id: Under which Celery knows it, and the fleet its batch.
        body: The arguments as JSON text, in the sender's own words; `called` reads it.
        points: How many are in it.
        priority: 0 to 9; 0 is served first.
        retries: How often it was sent again after its worker died.
        eta: Not before; None: now.
        ignore_result: Whether nobody waits for the result.
    """

    task_id: str
    body: str
    points: int
    priority: int
    retries: int
    eta: datetime | None
    ignore_result: bool

    def message(self, tag: str) -> dict[str, Any]:
        """Return the message as Celery gets it, with a delivery tag that is surely its own.

        The points are one text in it, so that nothing but `called` ever parses what a stranger wrote,
        and nothing shows them. Callbacks, time limits and an expiry are left out.
        """
        headers = {
            "lang": "py",
            "task": TASK,
            "id": self.task_id,
            "root_id": self.task_id,
            "parent_id": None,
            "group": None,
            "eta": None if self.eta is None else self.eta.isoformat(),
            "expires": None,
            "retries": self.retries,
            "timelimit": [None, None],
            "argsrepr": f"({self.points} points)",
            "kwargsrepr": "{}",
            "ignore_result": self.ignore_result,
        }
        properties = {
            "correlation_id": self.task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": self.priority,
            "delivery_tag": tag,
        }
        return {
            "body": json.dumps([[self.body], {}, {}]),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }


class Malformed(NamedTuple):
    """Why a message cannot be delivered: a stable code, a sentence, and the id it gave, if any."""

    code: str
    message: str
    task_id: str = ""


def checked(raw: bytes) -> Envelope | Malformed:
    """Return what a message of the queue says, or why it cannot be delivered. Raises nothing."""
    task_id = ""
    try:
        message = _mapping(parse_json(raw), "the message")
        headers = _mapping(message.get("headers"), "headers")
        task_id = _text(headers, "id")
        return _envelope(message, headers, task_id)
    except DecodeError as error:
        return Malformed(error.code, error.message, named(task_id))
    except RecursionError:
        return Malformed("envelope.depth", "nested too deeply to be looked at", named(task_id))


def as_listed(body: bytes | str, properties: Mapping[str, Any]) -> bytes:
    """Return a message of AMQP as it would lie in a Redis list: one check and one kind of letter suit both.

    Args:
        body: Its body.
        properties: Its properties, as py-amqp names them.
    """
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    try:
        text, encoding = data.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = binascii.b2a_base64(data, newline=False).decode(), "base64"
    message = {
        "body": text,
        "content-type": properties.get("content_type"),
        "content-encoding": properties.get("content_encoding"),
        "headers": properties.get("application_headers") or {},
        "properties": {
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "delivery_tag": "",
            "body_encoding": encoding,
            "priority": properties.get("priority"),
        },
    }
    return json.dumps(message, default=str).encode()


def called(body: str) -> Call:
    """Return what a body, `[args, kwargs, embed]` as JSON text, asks to route.

    Raises:
        DecodeError: It is no such body, or holds no list of objects.
    """
    data = _utf8(body)
    return _call(parse_json(data), len(data))


def is_name(text: str) -> bool:
    """Return whether a text is short and printable enough to name a batch."""
    return _NAME.fullmatch(text) is not None


def named(text: str) -> str:
    """Return a text that can name a batch: the same if it can, else one made from it, always the same."""
    if is_name(text) or not text:
        return text
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def kept(raw: bytes) -> str | dict[str, Any]:
    """Return bytes as a dead letter keeps them: as text if they are, else as base64 and marked as such.

    Of more than a message may hold the beginning is kept, and the size of all.
    """
    if len(raw) > LIMITS.bytes:
        return {"beginning": kept(raw[: LIMITS.point_bytes]), "bytes": len(raw)}
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": binascii.b2a_base64(raw, newline=False).decode()}


def _envelope(message: Mapping[str, Any], headers: Mapping[str, Any], task_id: str) -> Envelope:
    properties = _mapping(message.get("properties"), "properties")
    _mapping(properties.get("delivery_info"), "properties.delivery_info")
    if not isinstance(properties.get("delivery_tag"), str | int):
        raise _shape("properties.delivery_tag is missing")
    _check_content(message)
    task = _text(headers, "task")
    if task != TASK:
        raise DecodeError("task.unknown", f"{shown(task)} is not to be had here: send {TASK}")
    body, call = _innermost(_body(message, headers, properties))
    return Envelope(
        task_id=named(task_id),
        body=body,
        points=len(call.points),
        priority=_whole(properties.get("priority"), 9),
        retries=_whole(headers.get("retries"), _MOST_RETRIES),
        eta=_time(headers.get("eta")),
        ignore_result=headers.get("ignore_result") is True,
    )


def _check_content(message: Mapping[str, Any]) -> None:
    kind = message.get("content-type")
    if not isinstance(kind, str) or kind.partition(";")[0].strip().lower() != "application/json":
        raise DecodeError("task.content_type", f"content-type is {shown(kind)}: send application/json")
    encoding = message.get("content-encoding") or "utf-8"
    if not isinstance(encoding, str) or encoding.lower() not in ("utf-8", "utf8"):
        raise DecodeError("envelope.encoding", f"content-encoding is {shown(encoding)}: send utf-8")


def _body(message: Mapping[str, Any], headers: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    body = message.get("body")
    if not isinstance(body, str):
        raise _shape("body is not a text")
    data = _unwrapped(body, properties.get("body_encoding") or "utf-8")
    compression = headers.get("compression")
    if compression:
        data = _inflated(data, compression)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("envelope.encoding", f"the body is not UTF-8 at byte {error.start}") from error


def _unwrapped(body: str, encoding: Any) -> bytes:
    if encoding == "base64":
        try:
            return b64decode(body, validate=True)
        except ValueError as error:  # binascii's error is one, and so is that of a text that is not ASCII
            raise DecodeError("envelope.encoding", f"the body is not base64: {error}") from error
    if not isinstance(encoding, str) or encoding.lower() not in ("utf-8", "utf8"):
        raise DecodeError("envelope.encoding", f"body_encoding is {shown(encoding)}: send base64 or utf-8")
    return _utf8(body)


def _inflated(data: bytes, compression: Any) -> bytes:
    codec = _COMPRESSIONS.get(compression) if isinstance(compression, str) else None
    if codec is None:
        known = ", ".join(_COMPRESSIONS)
        raise DecodeError("envelope.compression", f"compression is {shown(compression)}: send one of {known}")
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
            inflated: bytes = stream.read(LIMITS.bytes + 1)
    except OSError as error:
        raise DecodeError("envelope.compression", f"the body is not {codec}: {error}") from error
    if len(inflated) > LIMITS.bytes:
        raise DecodeError("envelope.size", f"the body inflates to more than the {LIMITS.bytes} bytes allowed")
    return inflated


# A message that comes again, because its worker died, is one that `Envelope.message` wrote.
def _innermost(body: str) -> tuple[str, Call]:
    data = _utf8(body)
    parsed = parse_json(data)
    match parsed:
        case [[str(inner)], {**kwargs}, _] if not kwargs:
            return inner, called(inner)
    return body, _call(parsed, len(data))


def _call(parsed: Any, size: int) -> Call:
    if not isinstance(parsed, list) or len(parsed) != 3:
        raise _shape("the body is not [args, kwargs, embed]")
    args, kwargs, embed = parsed
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        raise _shape("the body is not [list, object, object or null]")
    given = _bound(args, kwargs)
    context = given.get("context") or {}
    if not isinstance(context, dict):
        raise _shape("context is not an object")
    if len(repr(context)) > _CONTEXT_BYTES:
        raise DecodeError("envelope.size", f"the context is more than {_CONTEXT_BYTES} bytes")
    return Call(as_points(given["points"], size), context)


def _bound(args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    given = dict(zip(_PARAMETERS, args, strict=False))
    if len(args) > len(_PARAMETERS) or not kwargs.keys() <= set(_PARAMETERS) - given.keys():
        raise _shape(f"{TASK} takes points and, if you like, context")
    given |= kwargs
    if "points" not in given:
        raise _shape(f"{TASK} was sent without points")
    return given


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _shape(f"{what} is not an object: is this a Celery message?")
    return value


def _text(headers: Mapping[str, Any], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str) or not value:
        raise _shape(f"headers.{name} is not a text: is this a Celery message?")
    return value


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DecodeError("envelope.encoding", f"half a surrogate pair at character {error.start}") from error


def _whole(value: Any, most: int) -> int:
    return min(value, most) if isinstance(value, int) and value > 0 else 0


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise DecodeError("task.eta", f"eta {shown(value)} is not a time in ISO 8601: {error}") from error


def _shape(message: str) -> DecodeError:
    return DecodeError("envelope.shape", message)
