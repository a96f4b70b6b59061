"""Sets of row numbers, kept in the smallest of four forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Positions = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
Bits = int  #: a set of rows as one number: bit n is 1 if row n is in it

_ALL, _RANGES, _POSITIONS, _BITMAP = b"arpb"


class Rows:
    """An ascending set of row numbers of one batch; a value, compared by content.

    The encoded form is the smallest of: everything from 0 to n, ranges, positions (16 or 32 bits
    each), or a bitmap.
    """

    __slots__ = ("_bits", "_positions")

    def __init__(self, positions: npt.ArrayLike) -> None:
        """Take strictly ascending row numbers, each below 2**32."""
        self._positions: Positions | None = np.asarray(positions, dtype=np.uint32)
        self._bits: Bits | None = None

    @classmethod
    def all(cls, count: int) -> Rows:
        """Return every row of a batch of `count`."""
        return cls(np.arange(count, dtype=np.uint32))

    @classmethod
    def of_mask(cls, mask: npt.ArrayLike) -> Rows:
        """Return the rows at which a boolean mask is true."""
        return cls(np.flatnonzero(np.asarray(mask, dtype=np.bool_)))

    @classmethod
    def of_bits(cls, bits: Bits) -> Rows:
        """Return the rows n for which bit n of a number is 1."""
        rows = cls.__new__(cls)
        rows._positions, rows._bits = None, bits
        return rows

    @property
    def positions(self) -> Positions:
        """The row numbers, ascending."""
        if self._positions is None:
            self._positions = np.flatnonzero(_mask(_packed(self.bits))).astype(np.uint32)
        return self._positions

    @property
    def bits(self) -> Bits:
        """The set as one number, of as many bits as its last row says."""
        if self._bits is None:
            mask = np.zeros(int(self.positions[-1]) + 1 if self.positions.size else 0, dtype=np.bool_)
            mask[self.positions] = True
            self._bits = int.from_bytes(np.packbits(mask, bitorder="little").tobytes(), "little")
        return self._bits

    def __len__(self) -> int:
        return int(self._positions.size) if self._positions is not None else self.bits.bit_count()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and np.array_equal(self.positions, other.positions)

    def __hash__(self) -> int:
        return hash(self.positions.tobytes())

    def __repr__(self) -> str:
        shown = ", ".join(f"{a}" if a + 1 == b else f"{a}-{b - 1}" for a, b in self.ranges()[:4].tolist())
        return f"Rows({shown}{', …' if len(self.ranges()) > 4 else ''})"

    def __or__(self, other: Rows) -> Rows:
        return Rows(np.union1d(self.positions, other.positions))

    def __sub__(self, other: Rows) -> Rows:
        return Rows(self.positions[~self.within(other)])

    def within(self, other: Rows) -> Mask:
        """Return, for each of these rows in order, whether it is in `other`."""
        return np.isin(self.positions, other.positions, assume_unique=True)

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows from the start-th to the stop-th, not their numbers."""
        return Rows(self.positions[start:stop])

    def ranges(self) -> npt.NDArray[np.uint32]:
        """Return the maximal runs as an array of (start, stop) pairs, stop excluded."""
        p = self.positions
        if not p.size:
            return np.empty((0, 2), dtype=np.uint32)
        breaks = np.flatnonzero(np.diff(p) != 1)
        starts = p[np.concatenate(([0], breaks + 1))]
        stops = p[np.concatenate((breaks, [p.size - 1]))] + np.uint32(1)
        return np.stack([starts, stops], axis=1)

    def encode(self) -> bytes:
        """Return the smallest of the four forms: one byte naming it, then little-endian numbers."""
        size, runs, last = self._measure()
        if runs <= 1 and last + 1 == size:
            return bytes([_ALL]) + _little(np.array([size]), 4)
        width = 2 if last < 2**16 else 4
        sizes = {_RANGES: 8 * runs, _POSITIONS: 1 + width * size, _BITMAP: last // 8 + 1}
        form = min(sizes, key=lambda name: sizes[name])
        if form == _RANGES:
            return bytes([_RANGES]) + _little(self.ranges(), 4)
        if form == _POSITIONS:
            return bytes([_POSITIONS, width]) + _little(self.positions, width)
        return bytes([_BITMAP]) + _packed(self.bits)

    # How many rows, in how many runs, and the number of the last; -1 if there is none.
    def _measure(self) -> tuple[int, int, int]:
        if self._bits is not None:
            bits = self._bits
            return bits.bit_count(), (bits & ~(bits << 1)).bit_count(), bits.bit_length() - 1
        p = self.positions
        return p.size, len(self.ranges()), int(p[-1]) if p.size else -1

    @classmethod
    def decode(cls, data: bytes) -> Rows:
        """Return the set that `encode` wrote."""
        form, body = data[0], data[1:]
        if form == _ALL:
            return cls.all(int(np.frombuffer(body, "<u4")[0]))
        if form == _RANGES:
            pairs = np.frombuffer(body, "<u4").reshape(-1, 2)
            return cls(np.concatenate([np.arange(a, b, dtype=np.uint32) for a, b in pairs]))
        if form == _POSITIONS:
            return cls(np.frombuffer(body[1:], f"<u{body[0]}"))
        if form == _BITMAP:
            return cls.of_bits(int.from_bytes(body, "little"))
        raise ValueError(f"unknown form {form!r} of a row set")


def bits_of(verdicts: pl.Series) -> Bits:
    """Return the rows for which a column of Boolean values is true; null is not."""
    column = verdicts.to_arrow()
    known, true = column.buffers()
    bits = int.from_bytes(true, "little")
    if known is not None:
        bits &= int.from_bytes(known, "little")
    return bits >> int(column.offset) & ((1 << len(column)) - 1)


def _packed(bits: Bits) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _mask(packed: bytes) -> Mask:
    return np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little").view(np.bool_)


def _little(numbers: npt.NDArray[Any], width: int) -> bytes:
    return numbers.astype(f"<u{width}").tobytes()
