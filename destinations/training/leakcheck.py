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
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import polars as pl

from destinations.training.known_bars import KnownBars
from destinations.training.later_bars import changed_after
from destinations.training.leaks import Checked, Leak
from destinations.training.options import DIRECTION, TrainingOptions
from router.batch import PointBatch
from router.conditions import said
from router.errors import CandlefleetError, ConfigError
from router.schema import COLUMNS

Digests = dict[str, bytes]
Lines = Mapping[str, bytes] | Iterable[tuple[str, bytes]]
#: Makes the examples of bars: for each `example_id` its line of JSON. Bars come in the order of time.
Build = Callable[[PointBatch, TrainingOptions], Lines]

#: Columns that may say something of the bar that the target comes from.
_OF_THE_LABEL: Final = {"target", "quality_min", "flags", "label_end"}
_AS_OF: Final = b'"as_of":"'


class LeakCheck:
    """Builds examples of some bars at several moments, and compares them.

    Args:
        bars: Those that can change no more.
        options: What makes an example.
        build: Makes examples.
        cuts: Ascending moments, see `cuts_of`.

    Attributes:
        bars: Of how many bars examples are built, all in all.
    """

    def __init__(
        self, bars: KnownBars, options: TrainingOptions, build: Build, cuts: Sequence[datetime]
    ) -> None:
        """Put the bars of all series in the order of time."""
        self._frame = bars.frame.sort("end", "timestamp", maintain_order=True)
        self._options = options
        self._build = build
        self._cuts = cuts
        # A direction may stay the same when prices are lower, or when they are higher, and not in both cases.
        self._ways = (False, True) if options.target_column == DIRECTION else (False,)
        until = [len(self._until(cut)) for cut in cuts]
        self.bars = sum(until) + sum(until[1:]) * len(self._ways)

    def run(self, advance: Callable[[int], object]) -> Checked:
        """Return what came of it.

        Args:
            advance: Told of how many bars more examples were built.

        Raises:
            ConfigError: `builder.failed`, if the builder raises, or gives something else than lines;
                `builder.line`, if one does not say its `as_of`.
        """
        leaks: list[Leak] = []
        counts, under_way = [], 0
        known: Digests = {}
        for before, cut in zip((None, *self._cuts), self._cuts, strict=False):
            moment = _Moment(before, cut, known)
            bars = self._until(cut)
            later = self._built(bars, moment, advance)
            leaks += [*Leak.among("early", cut, later.early), *Leak.among("doubled", cut, later.doubled)]
            if before is not None:
                others = [changed_after(bars, before, up=up) for up in self._ways]
                built = [later, *(self._built(one, moment, advance) for one in others)]
                leaks += self._against(before, known, list(zip((bars, *others), built, strict=True)))
                leaks += _under_way(before, later.under_way, [one.under_way for one in built[1:]])
            counts.append((cut, len(later.digests)))
            under_way += len(later.under_way)
            known = later.digests
        return Checked(tuple(counts), under_way, tuple(leaks))

    def _until(self, cut: datetime) -> pl.DataFrame:
        return self._frame.filter(pl.col("end") <= cut)

    def _built(self, bars: pl.DataFrame, moment: _Moment, advance: Callable[[int], object]) -> _Built:
        built = _Built({}, {}, [], [])
        for name, line in self._lines(bars):
            as_of = _as_of(name, line)
            if as_of >= moment.cut:
                built.early.append(name)
            if name in built.digests:
                built.doubled.append(name)
            if moment.before is not None and as_of <= moment.before and name not in moment.known:
                built.under_way[name] = line
            built.digests[name] = blake2b(line, digest_size=16).digest()
        advance(len(bars))
        return built

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
        yield from Leak.among("gone", before, gone)
        changed = {
            name: bars
            for bars, one in built
            for name, digest in known.items()
            if one.digests.get(name, digest) != digest
        }
        if changed:
            first = next(iter(changed))
            lines = self._line(self._until(before), first), self._line(changed[first], first)
            yield Leak.between("changed", before, {first: lines}, len(changed))

    def _line(self, bars: pl.DataFrame, wanted: str) -> bytes:
        return next((line for name, line in self._lines(bars) if name == wanted), b"")


class _Moment(NamedTuple):
    before: datetime | None  # the cut before, if there was one
    cut: datetime
    known: Digests  # what was built at the cut before


class _Built(NamedTuple):
    digests: Digests
    under_way: dict[
        str, bytes
    ]  # lines of examples whose current bar had ended at the cut before, and no more
    early: list[str]
    doubled: list[str]


# Of examples whose target had not ended: other values may change that, and must.
def _under_way(
    cut: datetime, lines: Mapping[str, bytes], others: Sequence[Mapping[str, bytes]]
) -> Iterator[Leak]:
    foresight: dict[str, tuple[bytes, bytes]] = {}
    own = []
    for name, line in lines.items():
        row, changed = json.loads(line), [json.loads(other[name]) for other in others if name in other]
        known = _known_then(row)
        foresight |= {name: (known, then) for then in map(_known_then, changed) if then != known}  # noqa: B035
        target = _target(row)
        if changed and target is not None and all(_target(one) == target for one in changed):
            own.append(name)
    if foresight:
        yield Leak.between("foresight", cut, foresight, len(foresight))
    yield from Leak.among("own_target", cut, own)


def _known_then(row: Mapping[str, Any]) -> bytes:
    kept = {name: value for name, value in row.items() if name not in _OF_THE_LABEL}
    flags = [flag for flag in row.get("flags") or () if not flag.startswith("label")]
    return json.dumps(kept | {"flags": flags}).encode()


# None where the later bar has none.
def _target(row: Mapping[str, Any]) -> object:
    target = row.get("target")
    return next(iter(target.values()), None) if isinstance(target, dict) and len(target) == 1 else target


def _as_of(name: str, line: bytes) -> datetime:
    at = line.rfind(_AS_OF) + len(_AS_OF)
    try:
        text = line[at : line.index(b'"', at)].decode() if at >= len(_AS_OF) else json.loads(line)["as_of"]
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError, KeyError) as error:
        message = f"the line of {name} does not say `as_of`, as a time in UTC: {said(error)}"
        raise ConfigError("builder.line", "--builder", message) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
