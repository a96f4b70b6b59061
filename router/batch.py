"""PointBatch: points as columns, each row with a name that survives every retry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import count, repeat
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from ulid import ULID

from router.enriching import enriched
from router.errors import DecodeError
from router.indicators import indicators
from router.points import NormalizedDataPoint
from router.rows import Mask, Rows
from router.schema import POINT_SCHEMA
from router.series import Standing
from router.show_batch import MOST_NAMED, Shown, html_of, line_of, text_of
from router.tables import as_frame, as_table, dicts_of, empty_frame, table_of

__all__ = ["BatchRows", "PointBatch", "as_frame", "as_table", "empty_frame", "table_of"]

#: From this many rows on a batch is compressed: below, it saves nothing and takes ten times as long.
_WORTH_COMPRESSING: Final = 500
#: Up to so many rows, words are hashed as they are: finding the distinct ones takes longer.
_FEW: Final = 50
_PLAIN: Final = pa.ipc.IpcWriteOptions(use_threads=False)
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_READ: Final = pa.ipc.IpcReadOptions(use_threads=False)  # a fleet has a process for every core


@dataclass(frozen=True, slots=True)
class BatchRows:
    """The name of some rows: which rows of which accepted batch they are.

    Attributes:
        batch_id: The accepted batch.
        rows: Row numbers in that batch, ascending.
        number: The batch's acceptance number; 0 before it was accepted. The highest is the newest.
        digest: A fingerprint of the identities in the whole batch, the same on every retry.
    """

    batch_id: str
    rows: Rows
    number: int = 0
    digest: str = ""


class PointBatch(Sequence[NormalizedDataPoint]):
    """Valid points as one Arrow table of `POINT_SCHEMA`; a sequence of points to whoever loops over it.

    Columns are reached by `table` (Arrow) or `frame` (Polars, text as plain text). `parts` names the
    rows in order. `route_id` is the route the rows are being delivered for, None outside a delivery.
    `standing` says where the rows stand among the bars before them, if that was asked for.
    A batch is a value: `filter`, `slice` and `with_frame` give new ones.

    Points are checked where they enter (`router.admission.admit`); this class trusts its table.
    """

    __slots__ = ("_frame", "_table", "parts", "route_id", "standing")

    def __init__(
        self,
        table: pa.Table | pl.DataFrame,
        parts: Sequence[BatchRows] | None = None,
        route_id: str | None = None,
        standing: Standing | None = None,
    ) -> None:
        """Take a table of `POINT_SCHEMA` or a frame of `FRAME_SCHEMA`; rows without parts get a new name."""
        self._table: pa.Table | None = table if isinstance(table, pa.Table) else None
        self._frame: pl.DataFrame | None = table if isinstance(table, pl.DataFrame) else None
        self.parts: tuple[BatchRows, ...] = (
            (BatchRows(str(ULID()), Rows.all(len(self))),) if parts is None else tuple(parts)
        )
        self.route_id = route_id
        self.standing = standing

    # -- columns ------------------------------------------------------------------------------

    @property
    def table(self) -> pa.Table:
        """The columns as an Arrow table of `POINT_SCHEMA`."""
        if self._table is None:
            self._table = as_table(self.frame)
        return self._table

    @property
    def frame(self) -> pl.DataFrame:
        """The columns as a Polars frame of `FRAME_SCHEMA`; text columns are plain text."""
        if self._frame is None:
            self._frame = as_frame(self.table)
        return self._frame

    def dictionary(self, name: str) -> pa.DictionaryArray:
        """Return a column of text as its words, and for each row which of them it is."""
        if self._table is not None:
            return self._table[name].combine_chunks()
        return self.frame[name].to_arrow().cast(pa.string()).dictionary_encode()

    def digest(self) -> str:
        """Return a fingerprint of the rows: their sources, symbols, timeframes and timestamps, in order."""
        table = self.table
        seen = blake2b(table["timestamp"].to_numpy().tobytes(), digest_size=8)
        for name in ("source", "symbol", "timeframe"):
            if len(self) <= _FEW:
                seen.update("\0".join(table[name].to_pylist()).encode())
                continue
            column = table[name].combine_chunks().cast(pa.string()).dictionary_encode()
            seen.update("\0".join(column.dictionary.to_pylist()).encode())
            seen.update(column.indices.to_numpy().tobytes())
        return seen.hexdigest()

    # -- a sequence of points -----------------------------------------------------------------

    def __len__(self) -> int:
        return self._table.num_rows if self._table is not None else len(self.frame)

    @overload
    def __getitem__(self, index: int) -> NormalizedDataPoint: ...
    @overload
    def __getitem__(self, index: slice) -> PointBatch: ...
    def __getitem__(self, index: int | slice) -> NormalizedDataPoint | PointBatch:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self.slice(start, max(start, stop))
            keep = np.zeros(len(self), dtype=np.bool_)
            keep[index] = True
            if step < 0:
                raise ValueError("a batch keeps its order: slice it with a positive step")
            return self.filter(keep)
        row = index if index >= 0 else len(self) + index
        if not 0 <= row < len(self):
            raise IndexError(f"no point {index} in a batch of {len(self)}")
        return next(iter(self.slice(row, row + 1)))

    def __iter__(self) -> Iterator[NormalizedDataPoint]:
        if self.standing is None:
            return map(NormalizedDataPoint.trusted, self.to_dicts())
        return map(NormalizedDataPoint.trusted, self.to_dicts(), zip(repeat(self.standing), count()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointBatch) and self.frame.equals(other.frame)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return line_of(self._shown())

    def __str__(self) -> str:
        return text_of(self._shown())

    def _repr_html_(self) -> str:
        return html_of(self._shown())

    # The columns are read as they are: making the others would take longer than all of showing them.
    def _shown(self) -> Shown:
        names = [f"{part.batch_id} {part.rows!r}" for part in self.parts[:MOST_NAMED]]
        more = len(self.parts) - len(names)
        columns = self._table if self._frame is None else self._frame
        return Shown(columns, self.route_id, [*names, *([f"{more} more"] if more else [])])

    # -- other batches ------------------------------------------------------------------------

    def slice(self, start: int, stop: int) -> PointBatch:
        """Return the rows from `start` to `stop` as a batch that shares these columns."""
        start = min(max(0, start), len(self))
        stop = max(start, min(stop, len(self)))
        keep = np.zeros(len(self), dtype=np.bool_)
        keep[start:stop] = True
        columns = (
            self.frame.slice(start, stop - start)
            if self._table is None
            else self._table.slice(start, stop - start)
        )
        return PointBatch(columns, _named(self.parts, keep), self.route_id, _cut(self.standing, keep))

    def chunks(self, size: int | None) -> Iterator[PointBatch]:
        """Yield the rows in order, `size` at a time; None: all at once, if there are any."""
        if size is None or size >= len(self):
            if len(self):
                yield self
            return
        parts = _chunked(self.parts, size)
        for start in range(0, len(self), size):
            columns = self.frame if self._table is None else self._table
            standing = _cut(self.standing, slice(start, start + size))
            yield PointBatch(columns.slice(start, size), next(parts), self.route_id, standing)

    def filter(self, keep: pl.Expr | npt.ArrayLike) -> PointBatch:
        """Return the rows for which an expression or a boolean mask is true; they keep their names."""
        mask: Mask = (
            self.frame.select(keep.fill_null(value=False)).to_series().to_numpy()
            if isinstance(keep, pl.Expr)
            else np.asarray(keep, dtype=np.bool_)
        )
        if mask.all():
            return self
        return PointBatch(
            self.frame.filter(mask), _named(self.parts, mask), self.route_id, _cut(self.standing, mask)
        )

    def with_frame(self, frame: pl.DataFrame) -> PointBatch:
        """Return these rows, by name, with other values: one row for each, in order."""
        if len(frame) != len(self):
            raise ValueError(f"{len(frame)} rows cannot stand for {len(self)}: use filter() to drop rows")
        return PointBatch(frame, self.parts, self.route_id, self.standing)

    def enrich_with_indicators(self, *names: str) -> PointBatch:
        """Return these rows with technical indicators, made of the bars they stand among.

        Outside a delivery these are the rows themselves, and one that is late among them gets none.

        Args:
            names: Such as `sma_20`, `rsi_14`; none: those of `router.indicators.DEFAULT`.

        Raises:
            TransformError: They stand among no bars, or fewer are kept than these indicators need.
            ConfigError: A name means nothing; `package.missing` without TA-Lib.
        """
        return enriched(self, indicators(names))

    def for_route(self, route_id: str) -> PointBatch:
        """Return the same rows, said to be delivered for a route."""
        columns = self.table if self._frame is None else self.frame
        return PointBatch(columns, self.parts, route_id, self.standing)

    def with_standing(self, standing: Standing | None) -> PointBatch:
        """Return the same rows, said to stand somewhere among the bars before them."""
        columns = self.table if self._frame is None else self.frame
        return PointBatch(columns, self.parts, self.route_id, standing)

    def accepted_as(self, batch_id: str) -> PointBatch:
        """Return the same rows under the id of an accepted batch."""
        table = self.table if self._frame is None else self.frame
        return PointBatch(table, (BatchRows(batch_id, Rows.all(len(self))),), self.route_id)

    @classmethod
    def of(cls, points: Iterable[NormalizedDataPoint]) -> PointBatch:
        """Return a batch of points that were already checked, in their order."""
        return cls(table_of([point.__dict__ for point in points]))

    @classmethod
    def concat(cls, batches: Sequence[PointBatch]) -> PointBatch:
        """Return the rows of several batches, in order, each still under its own name."""
        if len(batches) == 1:
            return batches[0]
        if not batches:
            return cls(POINT_SCHEMA.empty_table(), ())
        parts = _joined([part for batch in batches for part in batch.parts])
        tables = [batch._table for batch in batches]
        # Small tables are joined before they become a frame: one of each would cost a hundred times more.
        columns = (
            pl.concat([batch.frame for batch in batches])
            if any(table is None for table in tables)
            else pa.concat_tables(tables).combine_chunks()
        )
        return cls(columns, parts, batches[0].route_id, Standing.concat([b.standing for b in batches]))

    @classmethod
    def gather(cls, pieces: Sequence[tuple[bytes, BatchRows]], route_id: str) -> PointBatch:
        """Return the named rows of batches given as IPC bytes, in order, for delivery to a route.

        Rows of a batch that cannot be read are left out.
        """
        tables: dict[str, pa.Table | None] = {}
        chosen: list[tuple[BatchRows, pa.Table]] = []
        for data, part in pieces:
            if part.batch_id not in tables:
                tables[part.batch_id] = _readable(data)
            whole = tables[part.batch_id]
            if whole is not None:
                chosen.append((part, _rows_of(whole, part.rows)))
        if not chosen:
            return cls(POINT_SCHEMA.empty_table(), (), route_id)
        together = pa.concat_tables([table for _, table in chosen]).combine_chunks()
        return cls(together, [part for part, _ in chosen], route_id)

    # -- to and from elsewhere ----------------------------------------------------------------

    def to_ipc(self) -> bytes:
        """Return the columns as an Arrow IPC stream, compressed if they are many; names are not in it."""
        options = _COMPRESSED if len(self) >= _WORTH_COMPRESSING else _PLAIN
        out = pa.BufferOutputStream()
        with pa.ipc.new_stream(out, POINT_SCHEMA, options=options) as writer:
            writer.write_table(self.table.combine_chunks())
        return bytes(out.getvalue())

    @classmethod
    def from_ipc(cls, data: bytes, parts: Sequence[BatchRows] | None = None) -> PointBatch:
        """Read what `to_ipc` wrote.

        Raises:
            DecodeError: `envelope.arrow`, if it is not an Arrow stream of exactly `POINT_SCHEMA`.
        """
        return cls(_read(data), parts)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict per point, in order, with the values a `NormalizedDataPoint` holds."""
        return dicts_of(self.frame)

    def to_json(self) -> str:
        """Return a JSON list with one object per point, in order; timestamps are ISO 8601 UTC."""
        return json.dumps([point.to_json_dict() for point in self], allow_nan=False)


def _cut(standing: Standing | None, keep: Mask | slice) -> Standing | None:
    return None if standing is None else standing[keep]


def _read(data: bytes) -> pa.Table:
    try:
        table = pa.ipc.open_stream(data, options=_READ).read_all()
    except pa.ArrowException as error:
        raise DecodeError("envelope.arrow", f"not an Arrow IPC stream: {error}") from error
    if table.schema != POINT_SCHEMA:
        raise DecodeError(
            "envelope.arrow", f"columns {table.schema.names} are not those of a batch of points"
        )
    return table


def _readable(data: bytes) -> pa.Table | None:
    try:
        return _read(data)
    except DecodeError:
        return None


def _rows_of(table: pa.Table, rows: Rows) -> pa.Table:
    if len(rows) == table.num_rows:
        return table
    runs = rows.ranges()
    if len(runs) == 1:
        return table.slice(int(runs[0][0]), len(rows))
    return table.take(pa.array(rows.positions))


def _named(parts: Sequence[BatchRows], keep: Mask) -> list[BatchRows]:
    named, start = [], 0
    for part in parts:
        kept = keep[start : start + len(part.rows)]
        start += len(part.rows)
        if kept.any():
            named.append(part if kept.all() else replace(part, rows=Rows(part.rows.positions[kept])))
    return named


# Neighbours that name ascending rows of one batch become one name: a ledger looks at each by itself.
def _joined(parts: Sequence[BatchRows]) -> list[BatchRows]:
    runs: list[list[BatchRows]] = []
    for part in parts:
        last = runs[-1][-1] if runs else None
        if last is not None and _goes_on(last, part):
            runs[-1].append(part)
        else:
            runs.append([part])
    return [
        run[0]
        if len(run) == 1
        else replace(run[0], rows=Rows(np.concatenate([p.rows.positions for p in run])))
        for run in runs
    ]


def _goes_on(last: BatchRows, part: BatchRows) -> bool:
    if replace(last, rows=part.rows) != part or not len(last.rows) or not len(part.rows):
        return False
    return bool(last.rows.positions[-1] < part.rows.positions[0])


# The names of every `size` rows in turn.
def _chunked(parts: Sequence[BatchRows], size: int) -> Iterator[list[BatchRows]]:
    chunk: list[BatchRows] = []
    room = size
    for part in parts:
        start = 0
        while start < len(part.rows):
            stop = min(len(part.rows), start + room)
            whole = (start, stop) == (0, len(part.rows))
            chunk.append(part if whole else replace(part, rows=part.rows.slice(start, stop)))
            room -= stop - start
            start = stop
            if not room:
                yield chunk
                chunk, room = [], size
    if chunk:
        yield chunk
