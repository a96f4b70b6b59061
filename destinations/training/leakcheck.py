"""Show that later bars change no earlier example, byte for byte, by building examples at several moments.

For each moment but the last the examples are built three times: of the bars that had ended by then, of those
that have ended by the next moment, and of these with other values in all that came in between. Then

- what was built of the earlier bars must be in both of the others, with equal bytes (`changed`, `gone`);
- nothing may be built before its target is known (`early`);
- of an example whose current bar had ended, and whose target had not, other values may change the target,
  `quality_min` and what is flagged of the label, and nothing else (`foresight`); the target they must change,
  or it is none of a later bar (`own_target`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from destinations.training.known_bars import KnownBars
from destinations.training.options import DIRECTION, TrainingOptions
from router.batch import PointBatch
from router.conditions import said
from router.errors import CandlefleetError, ConfigError
from router.schema import COLUMNS, PRICES

Digests = dict[str, bytes]
Lines = Mapping[str, bytes] | Iterable[tuple[str, bytes]]
#: Makes the examples of bars: for each `example_id` its line of JSON. Bars come in the order of time.
Build = Callable[[PointBatch, TrainingOptions], Lines]

#: What a leak is called, and what it means.
KINDS: Final = {
    "changed": "changed when later bars came",
    "gone": "gone when later bars came",
    "early": "built before the bar of the target ended",
    "foresight": "say something of bars after `as_of`",
    "own_target": "have a target that later bars do not change",
    "doubled": "built twice",
}
#: Columns that may say something of the bar that the target comes from.
_OF_THE_LABEL: Final = {"target", "quality_min", "flags", "label_end"}
_SERIES: Final = ("source", "symbol", "timeframe")
#: What stands, in bars with other values, for a volume or a score that was 0 or absent.
_INSTEAD: Final = {"volume": 1.0, "data_quality_score": 0.5}
#: What positive prices after a moment are multiplied by, so that other examples would be built of them.
_FACTORS: Final = (0.001,)
_BOTH_WAYS: Final = (0.001, 1000.0)
_AS_OF: Final = b'"as_of":"'
#: Bytes shown before and after the first that differs.
_AROUND: Final = 40


@dataclass(frozen=True, slots=True)
class Leak:
    """One way in which examples depend on what came later.

    Attributes:
        kind: One of `KINDS`.
        cut: Up to when the bars had ended of which the examples were built, UTC.
        examples: How many examples it is true of.
        example_id: The first of them.
        at: The first byte that differs, of its line; None: there is nothing to compare.
        before: What stands there, and around it, of the earlier bars.
        after: What stands there when others came.
    """

    kind: str
    cut: datetime
    examples: int
    example_id: str
    at: int | None = None
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        first = f"the first is {self.example_id}"
        shown = (
            ""
            if self.at is None
            else f", at byte {self.at}:\n  before  {self.before}\n  after   {self.after}"
        )
        return f"{self.cut.isoformat()}: {self.examples} examples {KINDS[self.kind]}; {first}{shown}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of building examples at several moments.

    Attributes:
        cuts: Up to when, and how many examples the bars had that had ended by then; the last are all.
        leaks: What depends on later bars, by moment.
    """

    cuts: tuple[tuple[datetime, int], ...]
    leaks: tuple[Leak, ...]


def cuts_of(bars: KnownBars, count: int, seed: int) -> list[datetime]:
    """Return moments at which bars ended, one by chance in each part of the time, the last being the last.

    Args:
        bars: Of all series.
        count: How many; fewer, if bars ended at fewer moments.
        seed: The chance.
    """
    ends = bars.frame["end"].unique().sort()
    edges = np.linspace(0, len(ends), min(count, len(ends)) + 1).astype(int)
    chance = np.random.default_rng(seed)
    places = [int(chance.integers(a, b)) for a, b in pairwise(edges[:-1])]
    found: list[datetime] = ends.gather([*places, len(ends) - 1]).to_list() if len(ends) else []
    return found


class LeakCheck:
    """Builds examples of some bars at several moments, and compares them.

    Args:
        bars: Those that can change no more.
        options: What makes an example.
        build: Makes examples.
        cuts: Ascending moments, see `cuts_of`.
    """

    def __init__(
        self, bars: KnownBars, options: TrainingOptions, build: Build, cuts: Sequence[datetime]
    ) -> None:
        """Put the bars of all series in the order of time."""
        self._frame = bars.frame.sort("end", "timestamp", maintain_order=True)
        self._options = options
        self._build = build
        self._cuts = cuts
        self._factors = _BOTH_WAYS if options.target_column == DIRECTION else _FACTORS

    @property
    def bars(self) -> int:
        """How many bars are built of, all in all."""
        until = [len(self._until(cut)) for cut in self._cuts]
        return sum(until) + sum(until[1:]) * len(self._factors)

    def run(self, advance: Callable[[int], object]) -> Checked:
        """Return what came of it.

        Args:
            advance: Told of how many bars more examples were built.

        Raises:
            ConfigError: `builder.failed`, if the builder raises, or gives something else than lines.
        """
        leaks: list[Leak] = []
        counts = []
        known: Digests = {}
        for before, cut in zip((None, *self._cuts), self._cuts, strict=False):
            bars = self._until(cut)
            later = self._built(bars, cut, before, known, advance)
            leaks += later.faults
            if before is not None:
                others = [self._changed(bars, before, factor) for factor in self._factors]
                built = [later, *(self._built(one, cut, before, known, advance) for one in others)]
                leaks += self._against(before, known, list(zip((bars, *others), built, strict=True)))
                leaks += _under_way(before, later.under_way, [one.under_way for one in built[1:]])
            counts.append((cut, len(later.digests)))
            known = later.digests
        return Checked(tuple(counts), tuple(leaks))

    def _until(self, cut: datetime) -> pl.DataFrame:
        return self._frame.filter(pl.col("end") <= cut)

    # All values after a moment are others, and closes are all above what came before, or all below.
    def _changed(self, bars: pl.DataFrame, after: datetime, factor: float) -> pl.DataFrame:
        later, signed = pl.col("end") > after, pl.col("low").min().over(_SERIES) <= 0
        far = (
            1000
            * (1 + pl.max_horizontal(pl.col(PRICES).abs()).max().over(_SERIES))
            * (1 if factor > 1 else -1)
        )
        prices = [
            pl.when(signed).then(pl.col(name) + far).otherwise(pl.col(name) * factor) for name in PRICES
        ]
        others = [
            pl.when(pl.col(name) > 0).then(pl.col(name) / 2).otherwise(by) for name, by in _INSTEAD.items()
        ]
        return bars.with_columns(
            pl.when(later).then(value).otherwise(pl.col(name)).alias(name)
            for name, value in zip((*PRICES, *_INSTEAD), [*prices, *others], strict=True)
        )

    def _built(
        self,
        bars: pl.DataFrame,
        cut: datetime,
        before: datetime | None,
        known: Digests,
        advance: Callable[[int], object],
    ) -> _Built:
        digests: Digests = {}
        under_way: dict[str, bytes] = {}
        early, doubled = [], []
        for name, line in self._lines(bars):
            as_of = _as_of(name, line)
            if as_of >= cut:
                early.append(name)
            if name in digests:
                doubled.append(name)
            if before is not None and as_of <= before and name not in known:
                under_way[name] = line
            digests[name] = blake2b(line, digest_size=16).digest()
        advance(len(bars))
        faults = [
            Leak(kind, cut, len(names), names[0])
            for kind, names in (("early", early), ("doubled", doubled))
            if names
        ]
        return _Built(digests, under_way, faults)

    def _lines(self, bars: pl.DataFrame) -> Iterator[tuple[str, bytes]]:
        try:
            built = self._build(PointBatch(bars.select(COLUMNS)), self._options)
            for name, line in built.items() if isinstance(built, Mapping) else built:
                yield str(name), bytes(line)
        except CandlefleetError:
            raise
        except Exception as error:
            raise ConfigError(
                "builder.failed", "--builder", f"cannot build examples: {said(error)}"
            ) from error

    # What was built of the earlier bars must be in all that is built of more.
    def _against(
        self, before: datetime, known: Digests, built: Sequence[tuple[pl.DataFrame, _Built]]
    ) -> Iterator[Leak]:
        gone = [name for name in known if any(name not in one.digests for _, one in built)]
        if gone:
            yield Leak("gone", before, len(gone), gone[0])
        changed = {
            name: bars
            for bars, one in built
            for name, digest in known.items()
            if one.digests.get(name, digest) != digest
        }
        if changed:
            first = next(iter(changed))
            lines = [self._line(bars, first) for bars in (self._until(before), changed[first])]
            yield Leak("changed", before, len(changed), first, *_around(*lines))

    def _line(self, bars: pl.DataFrame, wanted: str) -> bytes:
        return next((line for name, line in self._lines(bars) if name == wanted), b"")


@dataclass(frozen=True, slots=True)
class _Built:
    digests: Digests
    under_way: dict[str, bytes]  # new lines of examples whose current bar had ended at the cut before
    faults: Sequence[Leak]


# Of examples whose target had not ended: other values may change that, and must.
def _under_way(
    cut: datetime, lines: Mapping[str, bytes], others: Sequence[Mapping[str, bytes]]
) -> Iterator[Leak]:
    foresight: dict[str, tuple[bytes, bytes]] = {}
    own = []
    for name, line in lines.items():
        row, changed = json.loads(line), [json.loads(other[name]) for other in others if name in other]
        known = _known_then(row)
        others_known = [then for then in map(_known_then, changed) if then != known]
        if others_known:
            foresight[name] = known, others_known[0]
        target = row.get("target")
        if changed and _is_something(target) and all(one.get("target") == target for one in changed):
            own.append(name)
    if foresight:
        first = next(iter(foresight))
        yield Leak("foresight", cut, len(foresight), first, *_around(*foresight[first]))
    if own:
        yield Leak("own_target", cut, len(own), own[0])


def _known_then(row: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in row.items() if name not in _OF_THE_LABEL}
    flags = [flag for flag in row.get("flags") or () if not flag.startswith("label")]
    return json.dumps(kept | {"flags": flags}).encode()


def _is_something(target: object) -> bool:
    return (
        any(value is not None for value in target.values())
        if isinstance(target, dict)
        else target is not None
    )


def _as_of(name: str, line: bytes) -> datetime:
    at = line.rfind(_AS_OF) + len(_AS_OF)
    try:
        text = line[at : line.index(b'"', at)].decode() if at >= len(_AS_OF) else json.loads(line)["as_of"]
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError, KeyError) as error:
        message = f"the line of {name} does not say `as_of`, as a time in UTC: {said(error)}"
        raise ConfigError("builder.line", "--builder", message) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


# The first byte that differs, and what stands around it in both.
def _around(before: bytes, after: bytes) -> tuple[int, str, str]:
    shorter = min(len(before), len(after))
    at = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    start, stop = max(0, at - _AROUND), at + _AROUND

    def shown(line: bytes) -> str:
        text = line[start:stop].decode(errors="replace")
        return f"{'…' * (start > 0)}{text}{'…' * (stop < len(line))}"

    return at, shown(before), shown(after)
