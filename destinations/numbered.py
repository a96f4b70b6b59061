"""Entries of a stream whose points are numbered: what is written there, and what a reader finds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

import polars as pl

from destinations.jsonl_file import encode_jsonl
from destinations.redis_errors import NOT_NUMBERED
from router.errors import DecodeError

_KEY: Final = ("symbol", "timeframe", "asset_class")

#: Adds rows as one entry, whose id is the number of its last point: the stream itself is the counter.
#: A stream that is not there begins with number 1 and an epoch of its own. The oldest entries go, as far as
#: those after them hold so many points or bytes.
ADD_NUMBERED: Final = f"""
local epoch, keep, keep_bytes = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local number, size = 0, 0
if newest then
  number, epoch, size = tonumber(string.match(newest[1], '^%d+')), newest[2][2], tonumber(newest[2][4])
  if newest[2][1] ~= 'epoch' or not size then return redis.error_reply('{NOT_NUMBERED}') end
elseif redis.call('EXISTS', stream) == 1 then
  redis.call('DEL', stream)
end
local function whole(n) return string.format('%.0f', n) end
local last = number + rows
size = size + #ARGV[at + 4]
redis.call('XADD', stream, whole(last), 'epoch', epoch, 'size', whole(size), 'first', whole(number + 1),
  'keys', ARGV[at + 3], 'points', ARGV[at + 4])
while true do
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local id = tonumber(string.match(oldest[1], '^%d+'))
  if id == last or (last - id < keep and size - tonumber(oldest[2][4]) < keep_bytes) then break end
  redis.call('XTRIM', stream, 'MINID', whole(id + 1))
end
"""


class Key(NamedTuple):
    """What subscribers choose points by, and at which positions of an entry the points with it are."""

    symbol: str
    timeframe: str
    asset_class: str
    positions: list[int]


class NumberedEntry(NamedTuple):
    """Some points in a row.

    Attributes:
        epoch: Names the stream since it began: with another one, numbers began anew.
        first: The number of its first point.
        last: The number of its last.
        keys: Every key of its points, in the order in which they come up.
        values: The JSON object of each.
    """

    epoch: str
    first: int
    last: int
    keys: list[Key]
    values: list[str]

    @classmethod
    def decode(cls, name: bytes, fields: Mapping[bytes, bytes]) -> Self:
        """Return what a reader of the stream gets.

        Raises:
            DecodeError: `stream.foreign`: somebody else wrote the entry.
        """
        try:
            last, first = int(name.partition(b"-")[0]), int(fields[b"first"])
            keys = [Key(*key) for key in json.loads(fields[b"keys"])]
            values = fields[b"points"].decode().split("\n")[:-1]
            return cls(fields[b"epoch"].decode(), first, last, keys, values)
        except (KeyError, ValueError, TypeError) as error:
            raise DecodeError("stream.foreign", f"{NOT_NUMBERED}: {error!r}") from error


def encode_numbered(frame: pl.DataFrame) -> tuple[bytes, bytes]:
    """Return the keys and the points of one entry.

    Args:
        frame: Points as columns of `FRAME_SCHEMA`, at least one.
    """
    rows = frame.select(_KEY).with_row_index("row")
    keys = rows.group_by(_KEY, maintain_order=True).agg("row")
    return json.dumps(keys.rows(), separators=(",", ":")).encode(), encode_jsonl(frame)
