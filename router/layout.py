"""What somebody says of a file of bars that it does not say itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any, Final

from router.check_names import check_asset_class, check_flag, check_name, check_timeframe
from router.check_numbers import check_score
from router.errors import ConfigError, PointError
from router.names import nearest
from router.rules import FOLDS, TIMESTAMP_UNITS, check_word, check_zone
from router.schema import COLUMNS

STAMPS: Final = ("open", "close")
#: Fields that may hold one value for a whole file.
CONSTANTS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "symbol": check_name,
    "timeframe": check_timeframe,
    "asset_class": check_asset_class,
    "source": check_name,
    "data_quality_score": check_score,
    "is_realtime": check_flag,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file of bars is to be read.

    Attributes:
        columns: For a field of a point, the file's column that holds it.
        constants: Values of fields for which the file has no column; where it has one, that counts.
        zone: The IANA zone of timestamps that name none; None: they are refused.
        fold: Which moment a local time means that comes twice: earlier or later; None: it is refused.
        unit: What numbers count since 1970: s, ms, us, ns; None: what their size makes evident.
        stamp: Whether timestamps are the open (the start) of their bars or their close (the end).

    Raises:
        ConfigError: `unknown_field`, `enum`, `zone`, or the code of what is wrong with a constant.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None
    fold: str | None = None
    unit: str | None = None
    stamp: str = "open"

    def __post_init__(self) -> None:
        for name in self.columns:
            _check_field("columns", name, COLUMNS)
        for name, value in self.constants.items():
            _check_field("constants", name, CONSTANTS)
            _check_constant(name, value)
        check_word("stamp", self.stamp, STAMPS)
        if self.zone is not None:
            check_zone("tz", self.zone)
        if self.unit is not None:
            check_word("unit", self.unit, TIMESTAMP_UNITS)
        if self.fold is not None:
            check_word("fold", self.fold, FOLDS)

    def key(self) -> str:
        """Return a name for all that is said here, for ids: nothing if nothing is said."""
        said = [dict(self.columns), dict(self.constants), self.zone, self.fold, self.unit, self.stamp]
        if self == Layout():
            return ""
        return f"-{sha256(dumps(said, sort_keys=True).encode()).hexdigest()[:8]}"


def _check_field(where: str, name: str, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    if name not in known:
        what = "is no field of a point" if known is COLUMNS else "cannot be one value for a whole file"
        message = f"{what}{nearest(name, known)}: it is one of {', '.join(known)}"
        raise ConfigError("unknown_field", f"{where}.{name}", message)


def _check_constant(name: str, value: str) -> None:
    try:
        CONSTANTS[name](value, name)
    except PointError as error:
        raise ConfigError(error.reasons[0].code, name, error.reasons[0].message) from error
