"""TrainingOptions: what the examples of one dataset are, and the one schema of their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Self

import pyarrow as pa

from destinations.dataset import whole_number
from router.check_numbers import shown
from router.errors import ConfigError
from router.names import is_name, nearest
from router.schema import PRICES

#: The file in a dataset's folder that says what its examples are.
SETTINGS: Final = "dataset.json"
#: The folder, under that of the dataset, where deliveries leave their examples, by split.
PARTS: Final = "parts"
#: The split of examples that lie across a boundary of two: kept, but in no finished dataset.
PURGED: Final = "purged"

FORMATS: Final = ("jsonl", "parquet")
FEATURES: Final = ("ohlcv", "ohlc", "volume", "technical_indicators")
#: What a target may be called, and what makes it; any other is a column of the bar `horizon` later.
RETURN: Final = "next_return_bps"
DIRECTION: Final = "direction"
NEXT: Final = "next_"
#: Columns that may be a target, each after `next_`.
TARGETS: Final = (*PRICES, "volume", "data_quality_score")
#: Most bars of one example.
MOST_WINDOW: Final = 10_000

_TIME: Final = pa.timestamp("us", "UTC")


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a dataset: the examples whose bars and whose target end by `until`, if that is said."""

    name: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What makes the examples of one dataset; two datasets with equal options have equal examples.

    Attributes:
        format: How deliveries write them, "jsonl" or "parquet".
        context_window: Bars of an example, the current one included.
        horizon: Bars from the current one to the one the target comes from.
        stride: Every how many bars of a run without a gap an example begins.
        max_gap: Most bars that may be missing between two of an example.
        target_column: `next_close` or another column of that later bar, `next_return_bps`, `direction`.
        include_features: What is said of each bar beside its time and prices.
        splits: The parts, in the order of time; only the last may have no end.
        embargo: Seconds that no example may touch after the end of a split.
    """

    format: str = "jsonl"
    context_window: int = 100
    horizon: int = 1
    stride: int = 1
    max_gap: int = 0
    target_column: str = "next_close"
    include_features: tuple[str, ...] = ("ohlcv",)
    splits: tuple[Split, ...] = (Split("train", None),)
    embargo: float = 0.0

    @classmethod
    def of(
        cls,
        *,
        format: str = "jsonl",
        context_window: int = 100,
        horizon: int = 1,
        stride: int = 1,
        max_gap: int = 0,
        target_column: str = "next_close",
        include_features: Sequence[str] | None = None,
        splits: Mapping[str, Any] | None = None,
        embargo: float | timedelta = 0.0,
    ) -> Self:
        """Return options as users write them, checked.

        Raises:
            ConfigError: `enum`, `range`, `type`, `target.leak` or `dataset.splits`.
        """
        if format not in FORMATS:
            raise _not_one_of("format", format, FORMATS)
        window = whole_number("context_window", context_window, 2, MOST_WINDOW)
        return cls(
            format,
            window,
            whole_number("horizon", horizon, 1, MOST_WINDOW),
            whole_number("stride", stride),
            whole_number("max_gap", max_gap, 0),
            _target(target_column),
            _features(include_features),
            _splits(splits),
            _seconds(embargo),
        )

    @property
    def span(self) -> int:
        """Bars from the first of an example to the one its target comes from."""
        return self.context_window + self.horizon

    @property
    def has_volume(self) -> bool:
        """Whether the volume of each bar is said."""
        return not {"ohlcv", "volume"}.isdisjoint(self.include_features)

    @property
    def has_indicators(self) -> bool:
        """Whether the technical indicators of each bar are said."""
        return "technical_indicators" in self.include_features

    def to_json(self) -> str:
        """Return them as they are kept with the dataset: one JSON object, the same for equal options."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Return them as the arguments of `of` that give them, in JSON types."""
        kept = asdict(self)
        kept["splits"] = {s.name: None if s.until is None else s.until.isoformat() for s in self.splits}
        return kept

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: `dataset.settings`, if it is something else.
        """
        try:
            return cls.of(**json.loads(text))
        except (ValueError, TypeError) as error:
            message = f"{SETTINGS} is not what a training set keeps there: {error}"
            raise ConfigError("dataset.settings", "path", message) from error

    def schema(self) -> pa.Schema:
        """Return the columns of an example, the same in every row; times are UTC, the starts of bars.

        Those the origin had come first. `as_of` is when the current bar ended: nothing later is in
        `context`, `current` and `scale`. `label_end` is when the bar of the target ended.
        """
        bar = self.bar()
        value = pa.string() if self.target_column == DIRECTION else pa.float64()
        texts = [
            pa.field(name, pa.string(), nullable=False) for name in ("symbol", "timeframe", "asset_class")
        ]
        times = ("context_start", "context_end", "as_of", "label_start", "label_end")
        metadata = [
            pa.field("source", pa.string(), nullable=False),
            pa.field("data_quality", pa.float64(), nullable=False),
            pa.field("timestamp", _TIME, nullable=False),
        ]
        scale = [pa.field(name, pa.float64(), nullable=False) for name in ("close_mean", "close_std")]
        return pa.schema(
            [
                *texts,
                pa.field("context", pa.list_(pa.field("item", bar, nullable=False)), nullable=False),
                pa.field("current", bar, nullable=False),
                pa.field("target", pa.struct([pa.field(self.target_column, value)]), nullable=False),
                pa.field("metadata", pa.struct(metadata), nullable=False),
                pa.field("example_id", pa.string(), nullable=False),
                pa.field("source", pa.string(), nullable=False),
                *(pa.field(name, _TIME, nullable=False) for name in times),
                pa.field("scale", pa.struct(scale), nullable=False),
                pa.field("quality_min", pa.float64(), nullable=False),
                pa.field("flags", pa.list_(pa.field("item", pa.string(), nullable=False)), nullable=False),
                pa.field("route_version", pa.string(), nullable=False),
            ]
        )

    def bar(self) -> pa.DataType:
        """Return the type of one bar: `timestamp`, the prices, and what `include_features` names."""
        fields = [pa.field("timestamp", _TIME, nullable=False)]
        fields += [pa.field(name, pa.float64(), nullable=False) for name in PRICES]
        if self.has_volume:
            fields.append(pa.field("volume", pa.float64()))
        if self.has_indicators:
            fields.append(pa.field("indicators", pa.map_(pa.string(), pa.float64())))
        return pa.struct(fields)


def _not_one_of(name: str, value: object, allowed: Sequence[str]) -> ConfigError:
    wanted = ", ".join(allowed)
    return ConfigError("enum", name, f"{shown(value)} is not one of {wanted}{nearest(str(value), allowed)}")


def _features(given: Sequence[str] | None) -> tuple[str, ...]:
    names = ("ohlcv",) if given is None else (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if name not in FEATURES:
            raise _not_one_of("include_features", name, FEATURES)
    return names or ("ohlc",)


def _target(name: str) -> str:
    known = (f"{NEXT}close", RETURN, DIRECTION, *(NEXT + column for column in TARGETS[:3] + TARGETS[4:]))
    if name in TARGETS:
        message = f"{name} of the current bar is in its example already: {NEXT}{name} is that of a later bar"
        raise ConfigError("target.leak", "target_column", message)
    if name not in known:
        raise _not_one_of("target_column", name, known)
    return name


def _splits(given: Mapping[str, Any] | None) -> tuple[Split, ...]:
    if given is None:
        return (Split("train", None),)
    splits = tuple(Split(_split_name(name), _moment(until)) for name, until in given.items())
    ends = [split.until for split in splits]
    if not splits or None in ends[:-1] or any(not a < b for a, b in pairwise(ends) if a and b):
        message = (
            "give each split its end, in the order of time, and the last None: {'train': '2024-01-01', ...}"
        )
        raise ConfigError("dataset.splits", "splits", message)
    return splits


def _split_name(name: object) -> str:
    if (
        not isinstance(name, str)
        or not is_name(name)
        or not name.replace("_", "a").isalnum()
        or name in (PURGED, "all")  # which load_dataset takes for the union of all splits
    ):
        message = f"{shown(name)} cannot name a split: take letters and digits, such as train"
        raise ConfigError("dataset.splits", "splits", message)
    return name


def _moment(given: object) -> datetime | None:
    if given is None:
        return None
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    except ValueError:
        message = f"{shown(given)} is not a moment: write 2024-01-01 or 2024-01-01T00:00:00Z"
        raise ConfigError("dataset.splits", "splits", message) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _seconds(given: float | timedelta) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        raise ConfigError("range", "embargo", f"{shown(given)} is not a number of seconds of at least 0")
    return float(seconds)
