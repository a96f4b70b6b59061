"""Every error Candlefleet raises, on one page.

CandlefleetError
├── ConfigError                routes or settings were refused when they were loaded
│   ├── ConditionError         a route's condition cannot be read
│   └── RoutesFileError        a routes file with one or more mistakes, all of them
├── DecodeError                bytes that cannot be read as points
├── PointError                 one point was refused, with every reason
├── TransformError             a route's transform gave something that is not a point
├── DestinationError           a destination could not write
│   ├── TransientError         try again; costs an attempt
│   ├── UnavailableError       nobody is there, or not now; costs no attempt
│   └── TerminalError          never try these rows again
└── FleetError                 the fleet could not take what it was given
    ├── FleetUnreachableError  the broker does not answer
    ├── FleetBusyError         the fleet holds as much as it may
    ├── BatchTooLargeError     one batch is more than the fleet may hold
    └── ExpiredError           a batch id too old to be told from a repeat

Errors cross worker processes pickled, so every constructor argument is passed on by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Reason(NamedTuple):
    """Why a point was refused: a stable code such as ``number.not_finite``, the field, a sentence."""

    code: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.code} {self.field}: {self.message}" if self.field else f"{self.code}: {self.message}"


class CandlefleetError(Exception):
    """The root of every error of this package."""


class ConfigError(CandlefleetError):
    """Routes or settings that cannot be used.

    Args:
        code: A stable name of the fault, such as ``range`` or ``route.duplicate_id``.
        where: File, route and field, as far as they are known: ``routes.py: csv_daily.batch_size``.
        message: What is wrong and what would be right.
    """

    def __init__(self, code: str, where: str, message: str) -> None:
        super().__init__(code, where, message)
        self.code = code
        self.where = where
        self.message = message

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.message} [{self.code}]" if self.where else f"{self.message} [{self.code}]"
        )

    def at(self, where: str) -> ConfigError:
        """Return the same error, said of a wider place: ``csv`` becomes ``routes.py: csv``."""
        return type(self)(self.code, f"{where}: {self.where}" if self.where else where, self.message)


class ConditionError(ConfigError):
    """A condition that cannot be read, or that reads something other than a point's columns."""


class RoutesFileError(ConfigError):
    """A routes file with mistakes: every one of them, by line, where one of them would hide the others.

    Args:
        path: The file, as it was named.
        problems: The mistakes, by line; `where` of each is its file, line and key path. Its code is that of
            the first.
    """

    def __init__(self, path: str, problems: Sequence[ConfigError]) -> None:
        super().__init__(problems[0].code, path, f"{len(problems)} mistakes")
        self.args = (path, tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        return lines[0] if len(lines) == 1 else "\n".join([f"{self.where}: {self.message}", *lines])

    def at(self, where: str) -> RoutesFileError:
        """Return the same error, said of a wider place."""
        return RoutesFileError(f"{where}: {self.where}", [problem.at(where) for problem in self.problems])


class DecodeError(CandlefleetError):
    """Bytes that are not points at all; ``code`` is one of the ``envelope.*`` codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class PointError(CandlefleetError, ValueError):
    """One point was refused; ``reasons`` lists every one, in the order of the fields."""

    def __init__(self, reasons: Sequence[Reason]) -> None:
        super().__init__(tuple(reasons))
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        return "; ".join(str(reason) for reason in self.reasons)


class TransformError(CandlefleetError):
    """A transform raised, or gave something other than a point, a batch, a frame or None."""


class DestinationError(CandlefleetError):
    """A destination could not write; its subclasses say what happens next."""


class TransientError(DestinationError):
    """The write failed or its outcome is unknown: the same rows are written again, which costs an attempt."""


class UnavailableError(DestinationError):
    """Nobody answers, or not now: the points wait and no attempt is counted.

    Args:
        message: What answered, and how.
        retry_after: Seconds the destination asked to be left alone; None: not said.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after)
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message


class TerminalError(DestinationError):
    """The destination will never take these rows.

    Args:
        message: Why they were refused.
        rows: Positions in the written batch that were refused, all others being written;
            None: nothing was written, and it is not known which row is at fault.
    """

    def __init__(self, message: str, rows: Sequence[int] | None = None) -> None:
        super().__init__(message, rows)
        self.message = message
        self.rows = None if rows is None else tuple(rows)

    def __str__(self) -> str:
        return self.message


class FleetError(CandlefleetError):
    """The fleet could not take what it was given; nothing of it was accepted."""


class FleetUnreachableError(FleetError):
    """The broker does not answer, or refuses us; the message says where it was looked for."""


class FleetBusyError(FleetError):
    """The fleet holds as much as it may: send again when it has drained."""


class BatchTooLargeError(FleetError):
    """One batch is more than the fleet may hold at all: send it in smaller ones."""


class ExpiredError(FleetError):
    """A batch id older than the fleet's memory of ids: whether it is a repeat can no longer be told."""
