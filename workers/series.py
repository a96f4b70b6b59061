"""Series windows: the last bars of each series of a route, as Redis keeps them, one item a bar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from router.schema import FRAME_SCHEMA, PRICES, AssetClass
from router.series import HISTORY_SCHEMA, ORDINAL, SERIES, History, Placed, WindowChange

#: What names a series: source, symbol and timeframe.
Series = tuple[str, str, str]

_CLASSES: Final = tuple(member.value for member in AssetClass)
_OPEN: Final = -1
#: What every item begins with; technical indicators, where there are some, follow as JSON.
_BAR: Final = np.dtype(
    [
        ("timestamp", "<i8"),
        *((name, "<f8") for name in (*PRICES, "volume", "data_quality_score")),
        (ORDINAL, "<i8"),
        ("asset_class", "u1"),
        ("is_realtime", "?"),
        ("has_volume", "?"),
    ]
)


def series_in(frame: pl.DataFrame) -> list[Series]:
    """Return the series that some rows are of, in order of appearance."""
    return frame.select(SERIES).unique(maintain_order=True).rows()


def window_name(stage: str, series: Series) -> str:
    """Return what the window of a series is called among those of a route."""
    return "\0".join((stage, *series))


def decode_windows(series: Sequence[Series], windows: Sequence[Sequence[bytes]]) -> History:
    """Return windows as `encode_changes` had them kept, one for each of some series."""
    items = [item for window in windows for item in window]
    if not items:
        return History.empty()
    bars = np.frombuffer(b"".join([item[: _BAR.itemsize] for item in items]), _BAR)
    texts = pl.DataFrame(series, schema=dict.fromkeys(SERIES, pl.String), orient="row")
    named = texts[np.repeat(np.arange(len(series)), [len(window) for window in windows])]
    volume, ordinal = pl.Series(bars["volume"].copy()), pl.Series(bars[ORDINAL].copy())
    columns = {
        "timestamp": pl.Series(bars["timestamp"].copy()).cast(FRAME_SCHEMA["timestamp"]),
        **{name: pl.Series(bars[name].copy()) for name in (*PRICES, "data_quality_score", "is_realtime")},
        "volume": volume.set(~pl.Series(bars["has_volume"].copy()), None),
        **{name: named[name] for name in SERIES},
        "asset_class": pl.Series(_CLASSES)[bars["asset_class"].astype(np.uint32)],
        "technical_indicators": _indicators(items),
        ORDINAL: ordinal.set(ordinal == _OPEN, None),
    }
    return History(pl.DataFrame(columns).select(HISTORY_SCHEMA.names()).cast(HISTORY_SCHEMA))


def encode_changes(stage: str, placed: Placed) -> list[Any]:
    """Return what `settle.lua` is told of windows that change: of each name, dropped, kept, count, items."""
    changes: Sequence[WindowChange] = placed.changes
    if not changes:
        return []
    items = _items(
        placed.bars[np.concatenate([change.added for change in changes])],
        np.concatenate([change.ordinals for change in changes]),
    )
    told: list[Any] = []
    start = 0
    for change in changes:
        stop = start + len(change.added)
        told += (window_name(stage, change.series), change.dropped, change.kept, stop - start)
        told += items[start:stop]
        start = stop
    return told


def _items(frame: pl.DataFrame, ordinals: npt.NDArray[np.int64]) -> list[bytes]:
    bars = np.zeros(len(frame), _BAR)
    bars["timestamp"] = frame["timestamp"].to_physical().to_numpy()
    for name in (*PRICES, "data_quality_score", "is_realtime"):
        bars[name] = frame[name].to_numpy()
    bars["volume"] = frame["volume"].fill_null(0.0).to_numpy()
    bars["has_volume"] = frame["volume"].is_not_null().to_numpy()
    codes = frame["asset_class"].replace_strict(_CLASSES, range(len(_CLASSES)), return_dtype=pl.UInt8)
    bars["asset_class"] = codes.to_numpy()
    bars[ORDINAL] = ordinals
    data, size = bars.tobytes(), _BAR.itemsize
    items = [data[at : at + size] for at in range(0, len(data), size)]
    indicators = frame["technical_indicators"]
    if indicators.null_count() == len(frame):
        return items
    said = (b"" if one is None else json.dumps(dict(one)).encode() for one in indicators.to_list())
    return [item + text for item, text in zip(items, said, strict=True)]


def _indicators(items: Sequence[bytes]) -> pl.Series:
    kind, size = FRAME_SCHEMA["technical_indicators"], _BAR.itemsize
    if all(len(item) == size for item in items):
        return pl.Series([None], dtype=kind).new_from_index(0, len(items))
    return pl.Series([json.loads(item[size:]) if len(item) > size else None for item in items], dtype=kind)
