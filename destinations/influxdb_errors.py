"""What an InfluxDB answers means for the points: wait, try again, or never."""

from __future__ import annotations

import http.client
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import urllib3.exceptions as http_errors

from router.errors import DestinationError, TerminalError, TransientError, UnavailableError

#: No more of an answer is shown.
SHOWN: Final = 200

_NOBODY: Final = "start the server, or mend host and port in url"
#: Whoever reads why a line was refused has the point before him already.
_QUOTED: Final = re.compile(r"unable to parse '.*?': ")
_STRANGER: Final = "what answers there is no InfluxDB that takes /api/v2/write: mend url"
_TLS: Final = "mend its certificate, or name the authority that signed it in tls"

#: Statuses of a refusal that is about what was written; 201 comes from some versions of 3.
_REFUSED: Final = (201, 400, 422)
#: By status: what happens next, and what to do. Source: InfluxDB documentation, API v2, write; troubleshoot
#: writes, of 1.8, 2 and 3.
_STATUSES: Final[dict[int, tuple[type[DestinationError], str]]] = {
    201: (TerminalError, ""),
    400: (TerminalError, ""),
    401: (UnavailableError, "mend token"),
    403: (UnavailableError, "let token write this bucket"),
    404: (UnavailableError, "create the bucket, or mend bucket, org and url"),
    408: (TransientError, ""),
    413: (TerminalError, ""),
    422: (TerminalError, ""),
    429: (UnavailableError, ""),
    502: (UnavailableError, "what stands before the server does not reach it"),
    503: (UnavailableError, ""),
    504: (UnavailableError, "what stands before the server does not reach it"),
    507: (UnavailableError, "make room on the server"),
}
_REPLAY: Final = "then `candlefleet dead-letters replay`"
#: What helps against a refusal, the first that fits; the names in it are the user's and may say anything.
_HINTS: Final = (
    (r"field type conflict|column type", f"name another measurement, {_REPLAY}"),
    (r"retention", f"let the bucket keep points for longer, {_REPLAY}"),
    (r"limit exceeded|limit reached|would exceed", f"raise the limit of the server, {_REPLAY}"),
)
_NO_BUCKET: Final = re.compile(r"please provide either orgid or org|database is required", re.IGNORECASE)
_NO_ROOM: Final = re.compile(r"no space left|cache-max-memory-size|disk quota", re.IGNORECASE)


class Answer(NamedTuple):
    """What a server answered to a write that it did not take whole."""

    status: int
    body: str
    headers: Mapping[str, str] = {}

    @property
    def document(self) -> dict[str, Any] | None:
        """What InfluxDB says, an object with a message; None: somebody else answered."""
        with suppress(ValueError, RecursionError):
            found = json.loads(self.body)
            if isinstance(found, dict) and any(isinstance(found.get(n), str) for n in ("message", "error")):
                return found
        return None

    @property
    def text(self) -> str:
        """The message, or whatever was answered instead, whole."""
        found = self.document
        if found is None:
            return self.body
        said = str(found.get("message") or found.get("error"))
        details = [str(line["error_message"]) for line in _details(found) if "error_message" in line]
        return ": ".join([said, *details[:1]])

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, from a number or a date of HTTP; None: not said, or not readable."""
        value = next((text for name, text in self.headers.items() if name.lower() == "retry-after"), "")
        with suppress(ValueError):
            seconds = float(value)
            return seconds if 0 <= seconds < math.inf else None
        with suppress(ValueError, OverflowError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        return None

    @property
    def location(self) -> str:
        """Where it points, without what may be secret in it."""
        value = next((text for name, text in self.headers.items() if name.lower() == "location"), "")
        with suppress(ValueError):
            read = urlsplit(value)
            return read._replace(netloc=read.netloc.rpartition("@")[2], query="", fragment="").geturl()
        return ""


def named_lines(answer: Answer, lines: Sequence[str]) -> list[int]:
    """Return the lines that a refusal is about, from 0 up and ascending; none: it does not say.

    Args:
        answer: The refusal.
        lines: What was sent, without ends of lines.
    """
    found = answer.document
    if found is None or answer.status not in _REFUSED:
        return []
    numbers = [line.get("line_number") for line in _details(found)]
    named = {number - 1 for number in numbers if isinstance(number, int) and 0 < number <= len(lines)}
    named |= _quoted(answer.text, lines)
    if dropped := re.search(r"\bdropped=(\d+)$", answer.text.strip()):
        named |= set(range(len(lines))) if int(dropped[1]) == len(lines) else set()
    return sorted(named)


def error_of(place: object, answer: Answer, scrub: Callable[[str], str]) -> DestinationError:
    """Return what happens next after an answer.

    Args:
        place: Where was written; it stands in the message.
        answer: Any answer that says that not everything was written.
        scrub: Takes secrets out of a text.
    """
    status = answer.status
    if 300 <= status < 400:
        said = f"answered {status} and points to {scrub(_shown(answer.location)) or 'nowhere'}"
        return UnavailableError(f"{place}: {said}: redirects are not followed: mend url")
    kind, hint = _meaning(answer)
    said = _shown(scrub(_QUOTED.sub("unable to parse a line: ", answer.text)))
    message = f"{place}: answered {status}{f': {said}' if said else ''}{f': {hint}' if hint else ''}"
    if kind is UnavailableError:
        return UnavailableError(message, answer.retry_after)
    return kind(message)


def _meaning(answer: Answer) -> tuple[type[DestinationError], str]:
    other = (TransientError, "") if answer.status >= 500 else (UnavailableError, _STRANGER)
    kind, hint = _STATUSES.get(answer.status, other)
    if answer.document is None:
        # Something between us and the server may refuse a request; no point of it is to blame.
        unknown = (kind is TerminalError and answer.status != 413) or answer.status == 404
        return (UnavailableError, _STRANGER) if unknown else (kind, hint)
    if answer.status == 500 and _NO_ROOM.search(answer.text):
        return UnavailableError, "make room on the server"
    if answer.status in _REFUSED:
        if _NO_BUCKET.match(answer.text):
            return UnavailableError, "mend org and bucket"
        fits = (said for pattern, said in _HINTS if re.search(pattern, answer.text, re.IGNORECASE))
        hint = next(fits, "")
    return kind, hint


@contextmanager
def connection_errors(
    place: object, scrub: Callable[[str], str], *, connecting: bool = False
) -> Iterator[None]:
    """Turn what keeps a request from being answered into what happens next.

    Args:
        place: Where was written; it stands in the message.
        scrub: Takes secrets out of a text.
        connecting: No point was sent yet: whoever does not answer now is not there.

    Raises:
        UnavailableError: Nobody is there, or somebody who does not speak HTTP or our TLS.
        TransientError: A lost connection, or no answer in time.
    """
    try:
        yield
    except (http_errors.HTTPError, OSError) as error:
        kind, hint = _meaning_of_silence(error)
        if connecting:
            kind, hint = UnavailableError, hint or _NOBODY
        said = _shown(scrub(str(error))) or type(error).__name__
        raise kind(f"{place}: {said}{f': {hint}' if hint else ''}") from error


def _meaning_of_silence(error: Exception) -> tuple[type[DestinationError], str]:
    if isinstance(error, http_errors.SSLError):
        return UnavailableError, _TLS
    if isinstance(error, http_errors.ReadTimeoutError):
        return TransientError, "no answer in time"
    if isinstance(error, (http_errors.ConnectTimeoutError, http_errors.LocationValueError)):
        return UnavailableError, _NOBODY
    causes = [cause for cause in error.args if isinstance(cause, http.client.HTTPException)]
    lost = (http.client.RemoteDisconnected, http.client.IncompleteRead)
    if causes and not isinstance(causes[0], lost):
        return UnavailableError, _STRANGER
    return TransientError, ""


# Of every line that cannot be read it is said which, word for word: unable to parse '<line>': <why>
def _quoted(text: str, lines: Sequence[str]) -> set[int]:
    pieces = text.split("unable to parse '")[1:]
    if not pieces:
        return set()
    at = {line: number for number, line in enumerate(lines)}
    ends = ((piece, end.start()) for piece in pieces for end in re.finditer("':", piece))
    return {at[piece[:end]] for piece, end in ends if piece[:end] in at}


def _details(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    data = document.get("data")
    return [line for line in (data if isinstance(data, list) else [data]) if isinstance(line, dict)]


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
