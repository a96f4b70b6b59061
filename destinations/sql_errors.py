"""What a database's answer means for the points: wait, try again, or never."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa

from destinations.sql_url import Server
from router.errors import DestinationError, TerminalError, TransientError, UnavailableError

#: By the start of PostgreSQL's SQLSTATE; the longest that fits counts.
#: Source: PostgreSQL documentation, appendix A.
_STATES: Final[dict[str, type[DestinationError]]] = {
    "22": TerminalError,  # data exception
    "23": TerminalError,  # integrity constraint violation
    "25006": UnavailableError,  # read-only transaction: a standby
    "28": UnavailableError,  # invalid authorization
    "3D": UnavailableError,  # no such database
    "42501": UnavailableError,  # insufficient privilege
    "44": TerminalError,  # a view's check option
    "53": UnavailableError,  # disk full, out of memory, too many connections
    "57P03": UnavailableError,  # starting up, shutting down
    "P0001": TerminalError,  # a trigger of the user's refused
}
_SQLITE: Final[dict[int, type[DestinationError]]] = {
    **dict.fromkeys(
        (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG), TerminalError
    ),
    **dict.fromkeys(
        (
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_PERM,
        ),
        UnavailableError,
    ),
}

#: What to do about what a driver says, the first that fits.
_HINTS: Final = (
    (
        r"invalid connection option|invalid \w+ value|bad value for",
        "mend what follows the question mark in url",
    ),
    (r"invalid port", "mend the port in url"),
    (r"does not support SSL|certificate", "let the server speak TLS, or mend sslmode in url"),
    (r"not a database", "name another file in url"),
    (
        r"password|authentication|role .* does not exist|pg_hba|access denied",
        "mend user and password in url",
    ),
    (r"database .* does not exist|unknown database", "create the database, or mend its name in url"),
    (
        r"refused|could not translate|resolve|timeout|timed out|no route|unreachable|no such file",
        "start the server, or mend host and port in url",
    ),
    (r"read-?only", "name the primary server in url, or let this user write"),
    (r"permission denied|denied for|must be owner", "grant the user of url what is missing"),
    (r"too many|remaining connection slots", "let the server take more connections, or run fewer workers"),
    (r"disk|no space|full", "make room on the server"),
)
#: What libpq asks after it said that nobody listens.
_QUESTION: Final = re.compile(r" Is the server running [^?]*\?")


@contextmanager
def sql_errors(server: Server, driver: Any, *, connecting: bool = False) -> Iterator[None]:
    """Turn what a database answers into what happens next.

    Args:
        server: Named in the message, its secrets never.
        driver: The driver's module, whose errors may come unwrapped.
        connecting: Whatever fails now is no fault of any point.

    Raises:
        UnavailableError: No connection, no permission, no room.
        TransientError: A deadlock, a conflict, a time limit, a lost connection, or anything else.
        TerminalError: The data was refused; nothing of it is written.
    """
    try:
        yield
    except (sa.exc.DBAPIError, driver.Error) as error:
        said = getattr(error, "orig", None) or error
        kind = UnavailableError if connecting and not _is_busy(said) else meaning(error)
        text = _QUESTION.sub("", " ".join(str(said).split()))
        message = f"{server}: {server.scrub(text)}{_hint(text) if kind is UnavailableError else ''}"
        # A driver that repeats a secret is not to be read in a traceback either.
        raise kind(message) from (error if server.scrub(text) == text else None)


def meaning(error: BaseException) -> type[DestinationError]:
    """Return what an error of SQLAlchemy or of a driver means."""
    said = getattr(error, "orig", None) or error
    state = getattr(said, "sqlstate", None) or getattr(said, "pgcode", None)
    if state is not None:
        return next((_STATES[state[:n]] for n in (5, 2) if state[:n] in _STATES), TransientError)
    code = getattr(said, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(code & 0xFF, TransientError)
    refused = type(said).__name__ in ("IntegrityError", "DataError")
    return TerminalError if refused else TransientError


def _is_busy(said: BaseException) -> bool:
    code = getattr(said, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _hint(text: str) -> str:
    hints = (hint for pattern, hint in _HINTS if re.search(pattern, text, re.IGNORECASE))
    found = next(hints, None)
    return f": {found}" if found else ""
