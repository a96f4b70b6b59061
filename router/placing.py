"""Place the rows of a batch among the bars of their series: what is late, what replaces, what is complete."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import numpy as np
import polars as pl

from router.rows import Mask
from router.series import (
    ORDINAL,
    SERIES,
    Completions,
    History,
    Piece,
    Placed,
    Places,
    SeriesPolicy,
    WindowChange,
)
from router.steps import STEPS, missing_bars

_OPEN: Final = -1  #: the ordinal of a bar that may still change
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def place(history: History, frame: pl.DataFrame, policy: SeriesPolicy) -> Placed:
    """Return where rows stand among the bars before them.

    The watermark of a series is the time up to which it is complete: that of its newest bar, less the
    allowed lateness. A newest bar that is `is_realtime` may still change until another follows it. Behind
    the watermark a bar is late, unless it only repeats what is there; ahead of it, it takes its place or
    replaces the bar of that time. What stands at the watermark may be revised once more.

    What becomes of a row depends on those before it in its series, and not on how these were cut into
    batches.

    Args:
        history: The windows as the rows before these left them.
        frame: Rows in order of acceptance, columns of `FRAME_SCHEMA`.
        policy: What is kept, and what is late.
    """
    return _Placing(history, frame, policy).placed()


class _Placing:
    def __init__(self, history: History, frame: pl.DataFrame, policy: SeriesPolicy) -> None:
        ordinal = pl.lit(None, dtype=pl.UInt32).alias(ORDINAL)
        self.policy = policy
        self.known = len(history.frame)
        self.bars = pl.concat([history.frame, frame.with_columns(ordinal)])
        self.times: Places = self.bars["timestamp"].to_physical().to_numpy()
        self.realtime: Mask = self.bars["is_realtime"].to_numpy()
        self.ordinals: Places = self.bars[ORDINAL].cast(pl.Int64).fill_null(_OPEN).to_numpy()
        self.keys, self.series = _series(self.bars)
        self.steps = np.array([STEPS[timeframe] for _, _, timeframe in self.keys], dtype=np.float64)
        self.late: dict[int, str] = {}

    def placed(self) -> Placed:
        by_series = np.argsort(self.series, kind="stable")
        tangled = self._tangled(by_series)
        loose = tangled[self.series[by_series]]
        clean = _InOrder(self, by_series[~loose])
        found: list[_Found] = [clean, *(_Tangled(self, g) for g in _groups(self.series, by_series[loose]))]
        starts = np.cumsum([0, *(len(one.order) for one in found)]).tolist()
        return Placed(
            bars=self.bars,
            known=self.known,
            late=dict(sorted(self.late.items())),
            order=np.concatenate([one.order for one in found]),
            firsts=np.concatenate([one.firsts + start for one, start in zip(found, starts, strict=False)]),
            ordinals=np.concatenate([one.counts for one in found]),
            completed=_by_row([one.completions(start) for one, start in zip(found, starts, strict=False)]),
            changes=[change for one in found for change in one.changes()],
            pieces=[piece for one in found for piece in one.pieces()],
            policy=self.policy,
        )

    # Series with a row that is not later than all before it, or whose bars wait for late ones.
    def _tangled(self, by_series: Places) -> Mask:
        series, times = self.series[by_series], self.times[by_series]
        fresh = by_series >= self.known
        behind = np.zeros(len(by_series), dtype=np.bool_)
        behind[1:] = (series[1:] == series[:-1]) & (times[1:] <= times[:-1])
        waiting = ~fresh & (self.ordinals[by_series] == _OPEN) & ~self.realtime[by_series]
        found = np.zeros(len(self.keys), dtype=np.bool_)
        found[series[(behind & fresh) | waiting]] = True
        if self.policy.allowed_lateness:
            found[series[fresh]] = True
        return found


# What is said of some series; places in `order` are their own, counted from 0.
class _Found(Protocol):
    order: Places
    firsts: Places
    counts: Places

    def completions(self, start: int) -> Completions: ...
    def changes(self) -> list[WindowChange]: ...
    def pieces(self) -> list[Piece]: ...


# Series whose rows all follow what was there: the usual case, by the column.
class _InOrder:
    def __init__(self, placing: _Placing, bars: Places) -> None:
        self._p = placing
        self._bars = bars
        series = placing.series[bars]
        self._first = np.ones(len(bars), dtype=np.bool_)
        self._first[1:] = series[1:] != series[:-1]
        self._last = np.ones(len(bars), dtype=np.bool_)
        self._last[:-1] = self._first[1:]
        self._known = placing.ordinals[bars] != _OPEN
        self._complete = ~(self._last & placing.realtime[bars] & ~self._known)
        self._ordinals = np.where(self._complete, self._counted(), _OPEN)
        self.order = bars[self._complete]
        self.counts = self._ordinals[self._complete]
        self.firsts = self._starts()[self._complete]

    # How many bars of its run are before each: that of the one before and one more, unless a run begins.
    def _counted(self) -> Places:
        p, bars, at = self._p, self._bars, np.arange(len(self._bars))
        apart = np.diff(p.times[bars], prepend=0)
        missing = missing_bars(apart, p.steps[p.series[bars]])
        begins = self._first | (missing > p.policy.max_gap)
        anchors = np.where(self._known, at - p.ordinals[bars], at)
        anchored = np.maximum.accumulate(np.where(self._known | begins, at, 0))
        counted: Places = at - anchors[anchored]
        return counted

    # Of each bar the place in `order` of the first of its series.
    def _starts(self) -> Places:
        places = np.cumsum(self._complete) - self._complete
        at = np.maximum.accumulate(np.where(self._first, np.arange(len(places)), 0))
        starts: Places = places[at]
        return starts

    def completions(self, start: int) -> Completions:
        p, bars = self._p, self._bars
        after = np.append(bars[1:], 0)
        by = np.where(p.realtime[bars], after, bars)[self._complete]
        new = (by >= p.known) & ~self._known[self._complete]
        places = np.flatnonzero(new)
        return Completions(
            by[places] - p.known, places + start, self.order[places], np.zeros(len(places), dtype=np.bool_)
        )

    def changes(self) -> list[WindowChange]:
        p, bars, found = self._p, self._bars, []
        for start, stop in self._segments():
            held = int(self._known[start:stop].sum())
            old = int(np.searchsorted(bars[start:stop], p.known))
            open_bars = stop - start - int(self._complete[start:stop].sum())
            new = slice(start + held, stop)
            kept = p.policy.bars + open_bars
            found.append(
                WindowChange(p.keys[p.series[bars[start]]], old - held, bars[new], self._ordinals[new], kept)
            )
        return found

    def pieces(self) -> list[Piece]:
        p, bars, found = self._p, self._bars, []
        for start, stop in self._segments():
            old = int(np.searchsorted(bars[start:stop], p.known))
            rows, at = bars[start + old : stop] - p.known, np.arange(old, stop - start)
            found.append((rows, bars[start:stop], at, max(0, int(self._ordinals[start]))))
        return found

    # Those that have a row among the new ones.
    def _segments(self) -> list[tuple[int, int]]:
        starts, stops = np.flatnonzero(self._first), np.flatnonzero(self._last) + 1
        fresh = self._bars[stops - 1] >= self._p.known
        return list(zip(starts[fresh].tolist(), stops[fresh].tolist(), strict=True))


# One series, row by row, as each is known when it comes.
class _Tangled:
    def __init__(self, placing: _Placing, bars: Places) -> None:
        self._p = p = placing
        self._times: list[int] = []  # of all bars that are there, ascending
        self._held: list[int] = []  # which these are
        self._done = 0  # how many of them, from the first, are complete
        self._ordinals: list[int] = []  # of the complete ones
        self._values = dict(zip(bars.tolist(), p.bars[bars].drop(ORDINAL).rows(), strict=True))
        self._events: list[tuple[int, int, int, bool]] = []
        self._notes: list[tuple[list[int], list[int], list[int], int]] = []
        self._key = p.keys[p.series[bars[0]]]
        self._step = np.array([p.steps[p.series[bars[0]]]])
        self._old = [bar for bar in bars.tolist() if bar < p.known]
        for bar in self._old:
            self._remember(bar)
        self._sound = self._done  # how many of the old ones are as they were
        for bar in bars[len(self._old) :].tolist():
            self._take(bar)
        self.order = np.array(self._held[: self._done], dtype=np.int64)
        self.firsts = np.zeros(len(self.order), dtype=np.int64)
        self.counts = np.array(self._ordinals, dtype=np.int64)

    def _remember(self, bar: int) -> None:
        self._times.append(int(self._p.times[bar]))
        self._held.append(bar)
        if (ordinal := int(self._p.ordinals[bar])) != _OPEN:
            self._ordinals.append(ordinal)
            self._done += 1

    def _take(self, bar: int) -> None:
        time, row = int(self._p.times[bar]), bar - self._p.known
        at = bisect_left(self._times, time)
        there = at < len(self._times) and self._times[at] == time
        if there and self._values[self._held[at]] == self._values[bar]:
            self._note(bar, at)
        elif self._is_late(time, at, there=there):
            self._p.late[row] = self._why_late(time)
        else:
            self._put(bar, at, there=there)
            self._complete(row)
            self._note(bar, at)

    def _is_late(self, time: int, at: int, *, there: bool) -> bool:
        if not self._times:
            return False
        behind = time < self._times[-1] - self._p.policy.allowed_lateness
        return behind or at < self._done - there

    def _put(self, bar: int, at: int, *, there: bool) -> None:
        if not there:
            self._times.insert(at, int(self._p.times[bar]))
            self._held.insert(at, bar)
            return
        self._held[at] = bar
        if at < self._done:  # it stands at the watermark
            self._sound = min(self._sound, at)
            self._events.append((bar - self._p.known, at, bar, True))

    def _complete(self, row: int) -> None:
        newest, lateness = self._held[-1], self._p.policy.allowed_lateness
        watermark = self._times[-1] - lateness - (not lateness and bool(self._p.realtime[newest]))
        while self._done < len(self._times) and self._times[self._done] <= watermark:
            self._ordinals.append(self._ordinal())
            self._events.append((row, self._done, self._held[self._done], False))
            self._done += 1

    def _ordinal(self) -> int:
        if not self._done:
            return 0
        apart = np.array([self._times[self._done] - self._times[self._done - 1]])
        gap = missing_bars(apart, self._step)[0] > self._p.policy.max_gap
        return 0 if gap else self._ordinals[-1] + 1

    # A row that follows the last one goes on with its bars.
    def _note(self, bar: int, at: int) -> None:
        if not self._notes or not at or self._notes[-1][1][-1] != self._held[at - 1]:
            start = max(0, at + 1 - self._p.policy.bars)
            before = start + (self._ordinals[0] if self._ordinals else 0)
            self._notes.append(([], self._held[start:at], [], before))
        rows, bars, places, _ = self._notes[-1]
        rows.append(bar - self._p.known)
        places.append(len(bars))
        bars.append(bar)

    def _why_late(self, time: int) -> str:
        newest, allowed = _shown(self._times[-1]), self._p.policy.allowed_lateness / 1e6
        return (
            f"the bar of {_shown(time)} came when its series stood at {newest}: "
            f"allowed_lateness of its route is {allowed:g} s"
        )

    def completions(self, start: int) -> Completions:
        found = np.array(self._events, dtype=np.int64).reshape(-1, 4)
        return Completions(found[:, 0], found[:, 1] + start, found[:, 2], found[:, 3].astype(np.bool_))

    def changes(self) -> list[WindowChange]:
        added = np.array(self._held[self._sound :], dtype=np.int64)
        counts = self._ordinals[self._sound :]
        ordinals = np.array(counts + [_OPEN] * (len(added) - len(counts)), dtype=np.int64)
        kept = self._p.policy.bars + len(self._held) - self._done
        return [WindowChange(self._key, len(self._old) - self._sound, added, ordinals, kept)]

    def pieces(self) -> list[Piece]:
        return [
            (np.array(rows, np.int64), np.array(bars, np.int64), np.array(places, np.int64), before)
            for rows, bars, places, before in self._notes
        ]


def _series(bars: pl.DataFrame) -> tuple[list[tuple[str, str, str]], Places]:
    numbers = np.zeros(len(bars), dtype=np.int64)
    for name in SERIES:
        words = bars[name].cast(pl.Categorical).to_physical().to_numpy().astype(np.int64)
        numbers = numbers * (words.max(initial=0) + 1) + words
    _, firsts, series = np.unique(numbers, return_index=True, return_inverse=True)
    return bars[firsts].select(SERIES).rows(), series


def _groups(series: Places, bars: Places) -> list[Places]:
    if not len(bars):
        return []
    return np.split(bars, np.flatnonzero(np.diff(series[bars])) + 1)


def _by_row(found: Sequence[Completions]) -> Completions:
    rows, places = np.concatenate([one.rows for one in found]), np.concatenate([one.places for one in found])
    bars, revised = (
        np.concatenate([one.bars for one in found]),
        np.concatenate([one.revised for one in found]),
    )
    return Completions(rows, places, bars, revised)[np.lexsort((places, rows))]


def _shown(time: int) -> str:
    return (_EPOCH + timedelta(microseconds=time)).isoformat()
