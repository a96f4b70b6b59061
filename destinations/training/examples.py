"""Examples: which bars make them, and everything that is said of one beside its bars."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from destinations.training.options import DIRECTION, NEXT, RETURN, TrainingOptions
from destinations.training.splits import splits_of
from router.rows import Mask
from router.series import ORDINAL, SERIES, Placed, Places
from router.steps import STEPS, bar_ends, missing_bars

#: A close that falls to this share of the one before, or rises by it, is as large as a split of 3 to 2.
JUMP: Final = 0.7
#: What may be said of an example, in this order.
FLAGS: Final = ("context_gap", "context_jump", "label_gap", "label_jump", "revised")


#: Prices beyond it are squared in units of their own.
_HUGE: Final = 1e100

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Examples:
    """Some examples, in the order of the rows that completed them.

    Attributes:
        rows: Of each the row that completed it, among those placed together.
        bars: The bars they are made of, each once; columns of `FRAME_SCHEMA`.
        first: Of each the place in `bars` where its context begins; it goes on up to `current`.
        current: Of each the place of its current bar.
        said: The other columns of `TrainingOptions.schema`, and `split`.
    """

    rows: Places
    bars: pl.DataFrame
    first: Places
    current: Places
    said: pl.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, rows: Places) -> Places:
        """Return the places of those that some rows completed, in order."""
        asked = np.zeros(max(self.rows.max(initial=-1), rows.max(initial=-1)) + 1, dtype=np.bool_)
        asked[rows] = True
        return np.flatnonzero(asked[self.rows])


def examples_of(placed: Placed, options: TrainingOptions, route_version: str = "") -> Examples:
    """Return the examples that rows complete.

    A row completes an example when its bar, or one it lets no longer change, is the one that the target
    comes from. A bar that is revised when it just was a target gives its example anew, under its old id.

    Args:
        placed: The rows among the bars before them: at least `options.span` of a series, if it had as many.
        options: What makes an example.
        route_version: What the delivery says of itself.
    """
    done, back = placed.completed, options.span - 1
    counted = placed.ordinals[done.places] - back
    begun = done.places - back >= placed.firsts[done.places]
    done = done[(counted >= 0) & (counted % options.stride == 0) & begun]
    bars, at = _used(placed.bars, placed.order, done.places, back)
    last = at[done.places]
    seen = _Seen(bars, last - back, last - options.horizon, last, placed.bars[done.bars], done.revised)
    said = seen.said(options).with_columns(pl.lit(route_version).alias("route_version"))
    return Examples(done.rows, bars, seen.first, seen.current, said)


# The bars between the first and the last of some example, and where each place in the order went.
def _used(bars: pl.DataFrame, order: Places, last: Places, back: int) -> tuple[pl.DataFrame, Places]:
    edges = np.zeros(len(order) + 1, dtype=np.int64)
    np.add.at(edges, last - back, 1)
    np.add.at(edges, last + 1, -1)
    used = np.cumsum(edges[:-1]) > 0
    return bars[order[used]].drop(ORDINAL), np.cumsum(used) - 1


@dataclass(frozen=True, slots=True)
class _Seen:
    bars: pl.DataFrame
    first: Places
    current: Places
    last: Places
    targets: pl.DataFrame  # the bars at `last`, as they were then
    revised: Mask

    def said(self, options: TrainingOptions) -> pl.DataFrame:
        now = self.bars[self.current]
        ends = bar_ends(now["timestamp"], now["timeframe"])
        mean, std = self._scale(options)
        said = now.select(
            *("symbol", "timeframe", "asset_class"),
            pl.struct(self._target(options).alias(options.target_column)).alias("target"),
            pl.struct("source", pl.col("data_quality_score").alias("data_quality"), "timestamp").alias(
                "metadata"
            ),
            (_prefixes(now, options) + pl.col("timestamp").to_physical().cast(pl.String)).alias("example_id"),
            "source",
        ).with_columns(
            self.bars["timestamp"][self.first].alias("context_start"),
            *(ends.alias(name) for name in ("context_end", "as_of", "label_start")),
            bar_ends(self.targets["timestamp"], self.targets["timeframe"]).alias("label_end"),
            pl.struct(pl.Series("close_mean", mean), pl.Series("close_std", std)).alias("scale"),
            self._quality_min(options).alias("quality_min"),
            self._flags().alias("flags"),
        )
        split = splits_of(said["context_start"], said["label_end"], options)
        return said.with_columns(split.alias("split"))

    def _windows(self, column: str, width: int) -> Floats:
        values = self.bars[column].to_numpy()
        places = self.first[:, None] + np.arange(width)
        windows: Floats = values[places]  # contiguous: sums are then the same wherever a window lies
        return windows

    # Huge and tiny prices in units of the largest: no square of one is infinite then, or 0.
    def _scale(self, options: TrainingOptions) -> tuple[Floats, Floats]:
        closes = self._windows("close", options.context_window - 1)
        most = np.abs(closes).max(axis=1, initial=0.0)
        unit = np.where((most > _HUGE) | ((most < 1 / _HUGE) & (most > 0)), most, 1.0)
        in_units = closes if (unit == 1).all() else closes / unit[:, None]
        return in_units.mean(axis=1) * unit, in_units.std(axis=1) * unit

    def _target(self, options: TrainingOptions) -> pl.Series:
        now, then = self.bars["close"][self.current], self.targets["close"]
        if options.target_column == RETURN:
            change = (then / now - 1) * 10_000
            return pl.select(pl.when((now != 0) & change.is_finite()).then(change)).to_series()
        if options.target_column == DIRECTION:
            up = pl.select(pl.when(then > now).then(pl.lit("up")).when(then < now).then(pl.lit("down")))
            return up.to_series().fill_null("flat")
        return self.targets[options.target_column.removeprefix(NEXT)]

    def _quality_min(self, options: TrainingOptions) -> pl.Series:
        before = self._windows("data_quality_score", options.span - 1).min(axis=1, initial=1.0)
        return pl.Series(np.minimum(before, self.targets["data_quality_score"].to_numpy()))

    def _flags(self) -> pl.Series:
        gaps = np.cumsum(_apart(self.bars) > 0)
        closes = self.bars["close"].to_numpy()
        jumps = np.cumsum(np.append(False, are_jumps(closes[:-1], closes[1:])))
        at_last = are_jumps(closes[self.last - 1], self.targets["close"].to_numpy())
        found = (
            gaps[self.current] > gaps[self.first],
            jumps[self.current] > jumps[self.first],
            gaps[self.last] > gaps[self.current],
            (jumps[self.last - 1] > jumps[self.current]) | at_last,
            self.revised,
        )
        named = {name: pl.Series(mask) for name, mask in zip(FLAGS, found, strict=True)}
        return (
            pl.select(
                pl.concat_list(
                    pl.when(mask).then(pl.lit(name)) for name, mask in named.items()
                ).list.drop_nulls()
            ).to_series()
            if len(self.first)
            else pl.Series([], dtype=pl.List(pl.String))
        )


def are_jumps(before: Floats, after: Floats) -> Mask:
    """Return where a close is so far from the one before as a split would put it."""
    positive = (before > 0) & (after > 0)
    found: Mask = positive & ((after <= JUMP * before) | (before <= JUMP * after))
    return found


# How many bars are missing before each; what is said across two series is of no use.
def _apart(bars: pl.DataFrame) -> Places:
    times = bars["timestamp"].to_physical().to_numpy()
    steps = bars["timeframe"].replace_strict(STEPS, return_dtype=pl.Float64).to_numpy()
    return missing_bars(np.diff(times, prepend=times[:1]), steps)


def _prefixes(bars: pl.DataFrame, options: TrainingOptions) -> pl.Series:
    kinds = bars.select(pl.concat_str(SERIES, separator="\0").alias("key"))["key"]
    what = f"\0{options.context_window}\0{options.horizon}\0{options.target_column}"
    names = {key: blake2b(f"{key}{what}".encode(), digest_size=8).hexdigest() + "-" for key in kinds.unique()}
    return kinds.replace_strict(names, return_dtype=pl.String)
