"""What examples some bars have, and what each of them says: the definition in numbers, no engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from destinations.training.known_bars import KnownBars, Mask, Places
from destinations.training.options import DIRECTION, NEXT, PURGED, RETURN, TrainingOptions

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Floats = npt.NDArray[np.float64]

#: Flags of an example, in the order in which it says them.
FLAGS: Final = ("context_gap", "context_jump", "label_gap", "label_jump", "revised")


@dataclass(frozen=True)
class Expected:
    """The examples that bars have: one for each current bar that `stands`.

    Attributes:
        bars: The bars.
        options: What makes an example of them.
        stands: Of each bar, whether there is an example for it.
    """

    bars: KnownBars
    options: TrainingOptions
    stands: Mask = field(init=False)
    _begins: Places = field(init=False)
    _gaps: Places = field(init=False)
    _jumps: Places = field(init=False)

    def __post_init__(self) -> None:
        bars, options = self.bars, self.options
        at = np.arange(len(bars))
        breaks = (bars.firsts == at) | (bars.missing > options.max_gap)
        begins = np.maximum.accumulate(np.where(breaks, at, 0)) if len(bars) else at
        ahead = at + options.horizon
        reached = ahead < len(bars)
        reached[reached] = begins[ahead[reached]] == begins[reached]
        turn = at - begins - (options.context_window - 1)
        object.__setattr__(self, "_begins", begins)
        object.__setattr__(self, "_gaps", np.cumsum(bars.missing > 0))
        object.__setattr__(self, "_jumps", np.cumsum(bars.jumps))
        object.__setattr__(self, "stands", reached & (turn >= 0) & (turn % options.stride == 0))

    def wanted(self, *, purged: bool) -> Mask:
        """Return where there must be an example, those across a boundary among them or not."""
        if purged:
            return self.stands
        at = np.flatnonzero(self.stands)
        found = np.zeros(len(self.stands), dtype=np.bool_)
        found[at[(self._split(at) != PURGED).to_numpy()]] = True
        return found

    def why_not(self, place: int) -> tuple[str, str]:
        """Return the column that cannot be as it must, and why: there is no example for this current bar."""
        options, bars = self.options, self.bars
        begins, before = int(self._begins[place]), options.context_window - 1
        if place - bars.firsts[place] < before:
            return "context", f"only {place - bars.firsts[place]} bars before it, and {before} are needed"
        if place - begins < before:
            return "context", self._gap(begins)
        ahead = np.arange(place + 1, min(place + options.horizon, len(bars) - 1) + 1)
        apart = ahead[self._begins[ahead] != begins]
        if len(apart) and bars.firsts[apart[0]] < apart[0]:
            return "target", self._gap(int(apart[0]))
        if len(apart) or len(ahead) < options.horizon:
            return "target", f"no bar that is {options.horizon} later and can change no more"
        return "example_id", f"an example only for every {options.stride}. bar of a run"

    def _gap(self, place: int) -> str:
        before, after = self.bars.frame["timestamp"][place - 1], self.bars.frame["timestamp"][place]
        missing = int(self.bars.missing[place])
        return (
            f"{missing} bars are missing between {before.isoformat()} and {after.isoformat()},"
            f" and max_gap is {self.options.max_gap}"
        )

    # -- what they say ------------------------------------------------------------------------

    def bar(self, at: Places, name: str) -> pl.Series:
        """Return a column of the bars at some places."""
        return self.bars.frame[name].gather(at)

    def windows(self, at: Places, *, width: int) -> Places:
        """Return the places of the first `width` bars of each example: one row for each current bar."""
        return (at - self.options.context_window + 1)[:, None] + np.arange(width)

    def context(self, at: Places) -> Places:
        """Return the places of the bars of each context: one row for each current bar."""
        return self.windows(at, width=self.options.context_window - 1)

    def said(self, at: Places) -> dict[str, pl.Series]:
        """Return what the examples with these current bars say beside their bars, by column, `split` too."""
        end = self.bar(at, "end")
        mean, std = self._scale(at)
        quality = self.bars.frame["data_quality_score"].to_numpy()
        return {
            "split": self._split(at),
            "symbol": self.bar(at, "symbol"),
            "timeframe": self.bar(at, "timeframe"),
            "asset_class": self.bar(at, "asset_class"),
            f"target.{self.options.target_column}": self._target(at),
            "metadata.source": self.bar(at, "source"),
            "metadata.data_quality": self.bar(at, "data_quality_score"),
            "metadata.timestamp": self.bar(at, "timestamp"),
            "source": self.bar(at, "source"),
            "context_start": self.bar(self._first(at), "timestamp"),
            **dict.fromkeys(("context_end", "as_of", "label_start"), end),
            "label_end": self.bar(self._label(at), "end"),
            "scale.close_mean": pl.Series(mean),
            "scale.close_std": pl.Series(std),
            "quality_min": pl.Series(quality[self.windows(at, width=self.options.span)].min(axis=1)),
        }

    def flags(self, at: Places) -> dict[str, Mask]:
        """Return whether each flag is said of the examples with these current bars."""
        found = {}
        for name, start, stop in (("context", self._first(at), at), ("label", at, self._label(at))):
            found[f"{name}_gap"] = self._gaps[stop] > self._gaps[start]
            found[f"{name}_jump"] = self._jumps[stop] > self._jumps[start]
        return found | {"revised": self.bars.revised[self._label(at)]}

    def _first(self, at: Places) -> Places:
        return at - (self.options.context_window - 1)

    def _label(self, at: Places) -> Places:
        return at + self.options.horizon

    def _target(self, at: Places) -> pl.Series:
        now, then = self.bar(at, "close").to_numpy(), self.bar(self._label(at), "close").to_numpy()
        if self.options.target_column == RETURN:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                value = (then / now - 1) * 10_000
            return pl.Series(
                [None if not np.isfinite(one) else one for one in value.tolist()], dtype=pl.Float64
            )
        if self.options.target_column == DIRECTION:
            return pl.Series(
                np.select([then > now, then < now], ["up", "down"], "flat").tolist(), dtype=pl.String
            )
        return self.bar(self._label(at), self.options.target_column.removeprefix(NEXT))

    # In units of the largest, so that no square of a large price is infinite, nor one of a small price 0.
    def _scale(self, at: Places) -> tuple[Floats, Floats]:
        closes = self.bars.frame["close"].to_numpy()[self.context(at)]
        unit = np.abs(closes).max(axis=1, keepdims=True)
        unit = np.where(unit > 0, unit, 1.0)
        return (closes / unit).mean(axis=1) * unit[:, 0], (closes / unit).std(axis=1) * unit[:, 0]

    def _split(self, at: Places) -> pl.Series:
        first = self.bar(self._first(at), "timestamp").to_physical().to_numpy()
        last = self.bar(self._label(at), "end").to_physical().to_numpy()
        names = np.full(len(at), PURGED, dtype=object)
        free_from = -np.inf
        for split in self.options.splits:
            ends = np.inf if split.until is None else _microseconds(split.until)
            names[(first > free_from) & (last <= ends)] = split.name
            free_from = ends + round(self.options.embargo * 1e6)
        return pl.Series(names.tolist(), dtype=pl.String)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
