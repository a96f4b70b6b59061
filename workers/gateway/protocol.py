"""What subscribers and the gateway say to each other: requests read, frames written; pure functions."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from router.decode import Limits, parse_json
from router.errors import CandlefleetError, DecodeError
from router.names import nearest
from router.schema import TIMEFRAMES, AssetClass

#: Bytes of the longest message a subscriber may send.
MOST_BYTES: Final = 64 * 1024
#: Names in one filter.
MOST_NAMES: Final = 1000

#: Codes with which a connection is closed, beside those of RFC 6455.
BAD_REQUEST: Final = 4400
UNAUTHORIZED: Final = 4401
TOO_SLOW: Final = 4008
TRY_LATER: Final = 1013

_LIMITS: Final = Limits(bytes=MOST_BYTES, point_bytes=MOST_BYTES)
_FIELDS: Final = ("token", "subscribe", "after")
_FILTERS: Final = ("symbols", "timeframes", "asset_classes")
#: By the name of a parameter of the URL, the filter it adds to.
_PARAMETERS: Final = {"symbol": "symbols", "timeframe": "timeframes", "asset_class": "asset_classes"}
_OTHERS: Final = ("all", "after", "token")
_AFTER: Final = 'write {"epoch": "…", "seq": 123} with what the last message said, or "oldest"'


class RefusalError(CandlefleetError):
    """A request that is not served; the connection is closed.

    Args:
        code: A stable name of the fault, such as ``filter.timeframes``.
        message: What is wrong, and what to do.
        close: The code the connection is closed with.
    """

    def __init__(self, code: str, message: str, close: int = BAD_REQUEST) -> None:
        super().__init__(code, message, close)
        self.code = code
        self.message = message
        self.close = close

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which points a subscriber wants; None: whatever they are."""

    symbols: frozenset[str] | None = None
    timeframes: frozenset[str] | None = None
    asset_classes: frozenset[str] | None = None

    def takes(self, symbol: str, timeframe: str, asset_class: str) -> bool:
        """Return whether points with these are wanted."""
        return (
            (self.symbols is None or symbol in self.symbols)
            and (self.timeframes is None or timeframe in self.timeframes)
            and (self.asset_classes is None or asset_class in self.asset_classes)
        )

    @property
    def everything(self) -> bool:
        """Whether every point is wanted."""
        return self == _EVERYTHING


class After(NamedTuple):
    """The last point somebody has; no epoch: the one before the oldest that is kept."""

    epoch: str = ""
    seq: int = 0


class Request(NamedTuple):
    """What a subscriber asks for; `after` None: from now on. The token is shown to nobody."""

    selection: Selection
    after: After | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return f"Request({self.selection!r}, {self.after!r})"


_EVERYTHING: Final = Selection()
_CLASSES: Final = [one.value for one in AssetClass]


# -- reading -----------------------------------------------------------------------------------


def read_message(text: str) -> Request:
    """Return what a message asks for.

    Raises:
        RefusalError: It cannot be read; the message names the field, and the nearest right one.
    """
    try:
        given = parse_json(text.encode("utf-8", "surrogatepass"), _LIMITS)
    except DecodeError as error:
        code = error.code.replace("envelope", "message")
        raise RefusalError(code, f'{error.message}: send {{"subscribe": {{"symbols": […]}}}}') from None
    fields = _object(given, "the message", _FIELDS)
    chosen = fields.get("subscribe")
    filters = {} if chosen is None else _object(chosen, "subscribe", _FILTERS)
    token = fields.get("token")
    if not isinstance(token, str | None):
        raise RefusalError("message.type", "token is not a text")
    return Request(_selection(filters), _after(fields.get("after")), token)


def read_query(parameters: Iterable[tuple[str, str]]) -> Request | None:
    """Return what the parameters of a URL ask for; None: nothing but perhaps a token, a message will say it.

    Raises:
        RefusalError: One is not known, or cannot be read.
    """
    filters: dict[str, list[str]] = {}
    others: dict[str, str] = {}
    for name, value in parameters:
        if name in _PARAMETERS:
            filters.setdefault(_PARAMETERS[name], []).append(value)
        elif name in _OTHERS:
            others[name] = value
        else:
            known = (*_PARAMETERS, *_OTHERS)
            raise RefusalError(
                "query.unknown", f"{name!r:.80} is none of {', '.join(known)}{nearest(name, known)}"
            )
    if not filters and others.keys() <= {"token"}:
        return None
    return Request(_selection(filters), _after_text(others.get("after")), others.get("token"))


def _object(value: Any, what: str, known: Sequence[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RefusalError("message.shape", f"{what} is not an object: its fields are {', '.join(known)}")
    for name in value:
        if name not in known:
            message = f"{what}: {name!r:.80} is none of {', '.join(known)}{nearest(name, known)}"
            raise RefusalError("message.field", message)
    return value


def _selection(filters: Mapping[str, Any]) -> Selection:
    return Selection(
        _names(filters, "symbols", _is_text, "a text"),
        _names(filters, "timeframes", TIMEFRAMES.__contains__, known=TIMEFRAMES),
        _names(filters, "asset_classes", _CLASSES.__contains__, known=_CLASSES),
    )


def _names(
    filters: Mapping[str, Any],
    field: str,
    allowed: Callable[[Any], bool],
    what: str = "",
    known: Collection[str] = (),
) -> frozenset[str] | None:
    given, code = filters.get(field), f"filter.{field}"
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise RefusalError(code, f"{field} is not a list of texts")
    if not given:
        raise RefusalError(code, f"{field} is empty, so nothing would ever come: leave it out for all")
    if len(given) > MOST_NAMES:
        message = f"{len(given)} {field} are more than {MOST_NAMES}: subscribe to all, or on two connections"
        raise RefusalError("filter.too_many", message)
    for name in given:
        if not allowed(name):
            of = f"none of {', '.join(known)}{nearest(name, known)}" if known else f"not {what}"
            raise RefusalError(code, f"{field}: {name!r:.80} is {of}")
    return frozenset(unicodedata.normalize("NFC", name) for name in given)


def _is_text(name: str) -> bool:
    return bool(name) and name.isprintable()


def _after(given: Any) -> After | None:
    if given is None:
        return None
    if given == "oldest":
        return After()
    if not isinstance(given, dict):
        raise RefusalError("after", f"after cannot be read: {_AFTER}")
    fields = _object(given, "after", ("epoch", "seq"))
    epoch, seq = fields.get("epoch"), fields.get("seq")
    if not isinstance(epoch, str) or not epoch or type(seq) is not int or seq < 0:
        raise RefusalError("after", f"after cannot be read: {_AFTER}")
    return After(epoch, seq)


def _after_text(given: str | None) -> After | None:
    if given is None or given == "oldest":
        return None if given is None else After()
    epoch, _, seq = given.rpartition(":")
    if not epoch or not seq.isascii() or not seq.isdigit() or len(seq) > 16:
        raise RefusalError("after", "after cannot be read: write after=<epoch>:<seq>, or after=oldest")
    return After(epoch, int(seq))


# -- writing -----------------------------------------------------------------------------------


def hello(epoch: str, seq: int, newest: int, oldest: int, heartbeat: float) -> str:
    """Return the first message: where this subscriber begins, and what is kept."""
    return _text(
        type="hello", epoch=epoch or None, seq=seq, newest=newest, oldest=oldest, heartbeat=heartbeat
    )


def gap(epoch: str, first: int, last: int | None, why: str, seq: int) -> str:
    """Return what says that points were missed, and after which one it goes on."""
    return _text(type="gap", epoch=epoch, **{"from": first, "to": last}, why=why, seq=seq)


def ping(epoch: str, seq: int, *, live: bool) -> str:
    """Return a heartbeat: nothing that this subscriber wants was missed up to a number."""
    return _text(type="ping", epoch=epoch or None, seq=seq, live=live)


def error(refusal: RefusalError) -> str:
    """Return what is said before a connection is closed."""
    return _text(type="error", code=refusal.code, message=refusal.message)


def points_head(epoch: str, seq: int, prev: int) -> str:
    """Return the beginning of a message of points; `points_tail` ends it."""
    return f'{{"type":"points","epoch":"{epoch}","seq":{seq},"prev":{prev},"points":['


def points_tail(numbered: Iterable[str]) -> str:
    """Return the points of a message, and its end."""
    return f"{','.join(numbered)}]}}"


def numbered(number: int, value: str) -> str:
    """Return the JSON object of a point with its number in it."""
    return f'{{"seq":{number},{value[1:]}'


def _text(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":"))
