"""What a finished training set is made of: its shards, and what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from router.errors import ConfigError

#: The file in a training set's folder that says that the folder `DATA` is whole.
MANIFEST: Final = "manifest.json"
#: The folder of the shards.
DATA: Final = "data"
#: The style of rows that keeps every column of an example.
RAW: Final = "raw"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What shards are made from: of equal recipes come equal bytes.

    Attributes:
        style: How a row says an example.
        encoding: How texts tell bars; None: the style has no texts.
        format: Of the shards, "jsonl" or "parquet".
        rows_per_shard: Examples of every shard of a split but its last.
        options: What the examples are, as `dataset.json` has it.
        parts: What stands for the part files.
        version: Grows when the same parts become other bytes.
    """

    style: str
    encoding: str | None
    format: str
    rows_per_shard: int
    options: Mapping[str, Any]
    parts: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of finished examples; times are ISO 8601, UTC, and its name is that under the set's folder."""

    name: str
    split: str
    rows: int
    bytes: int
    sha256: str
    first_as_of: str
    last_as_of: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished training set: what it was made from, how many examples lie across a boundary, the shards."""

    recipe: Recipe
    purged: int
    shards: tuple[Shard, ...]

    def to_json(self) -> str:
        """Return it as it is kept beside the shards: the same text for the same shards."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError, KeyError: It is something else.
        """
        kept = json.loads(text)
        shards = tuple(Shard(**shard) for shard in kept["shards"])
        return cls(Recipe(**kept["recipe"]), int(kept["purged"]), shards)

    def is_whole(self, folder: Path) -> bool:
        """Return whether every shard is there, with the bytes it was written with."""
        return all(_is_there(folder / shard.name, shard) for shard in self.shards)

    def counts(self) -> dict[str, int]:
        """Return the examples of every split that has some, in the order of time."""
        found: dict[str, int] = {}
        for shard in self.shards:
            found[shard.split] = found.get(shard.split, 0) + shard.rows
        return found


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a finished training set; None: there is no finished one in this folder.

    Raises:
        ConfigError: `dataset.manifest`, if it is something else.
    """
    file = folder / MANIFEST
    try:
        return Manifest.from_json(file.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        message = f"is no manifest of a training set: {error}; remove it, and {DATA} if nobody needs that"
        raise ConfigError("dataset.manifest", str(file), message) from error


def sha256_of(path: Path) -> str:
    """Return the checksum of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_there(path: Path, shard: Shard) -> bool:
    return path.is_file() and path.stat().st_size == shard.bytes and sha256_of(path) == shard.sha256
