"""Read single records of others: values by name, counts since 1970, and what is no bar at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from numbers import Integral
from typing import Any, Final

import numpy as np

from router.admission import Unreadable
from router.errors import Reason
from router.layout import Layout
from router.originals import original_text
from router.rules import TIMESTAMP_UNITS

#: A point that nobody has checked yet, or what could not be read as one.
Record = dict[str, Any] | Unreadable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def checked(**constants: str | None) -> dict[str, str]:
    """Return the values that hold for all points, those that are None left out.

    Raises:
        ConfigError: `timeframe`, `enum`, `symbol.*`, if no point could have one of them.
    """
    given = {name: value for name, value in constants.items() if value is not None}
    Layout(constants=given)
    return given


def no_bar(record: Any, wanted: str) -> Unreadable:
    """Return a record as what admission refuses: it is not what was wanted."""
    return Unreadable(original_text(record), (Reason("envelope.shape", "", f"is not {wanted}"),))


def value_of(record: Any, name: str) -> Any:
    """Return a value of a mapping or a row of an array, or an attribute; None: there is none."""
    if isinstance(record, np.void):
        return record[name].item() if name in (record.dtype.names or ()) else None
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name, None)


def moment_of(value: Any, unit: str) -> Any:
    """Return a whole number as a datetime in UTC; what is none, as it came, for admission to judge.

    What a datetime cannot say becomes text: ISO 8601 with nine digits where it is finer than a
    microsecond, the number and its unit where it is further away than the year 9999.

    Args:
        value: An integer, also one kept as a float; anything else is returned.
        unit: What it counts: s, ms, us, ns.
    """
    if type(value) is not int and not _is_whole(value):
        return value
    seconds, rest = divmod(int(value), TIMESTAMP_UNITS[unit])
    nanoseconds = rest * (1_000_000_000 // TIMESTAMP_UNITS[unit])
    try:
        moment = _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        return f"{value} {unit} since 1970"
    return moment if nanoseconds % 1000 == 0 else f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"


def _is_whole(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, Integral) and not isinstance(value, bool)
