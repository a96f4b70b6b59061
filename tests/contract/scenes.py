"""What a ledger does that may be interrupted: appending, writing parts, letting one part replace others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from destinations.files import FileWrite
from destinations.growing import GrowingFiles
from destinations.ledger import Ledger
from destinations.part_files import STAGED
from destinations.part_ledger import PartLedger
from tests.contract.reading import data_files
from tests.make import make_batch

#: Files, and what is in them, as often as it is there; of a part file its folder stands for its name.
Look = Counter[tuple[str, bytes]]


@dataclass(frozen=True)
class Scene:
    """One thing that is done under a root, and what may be seen there.

    Attributes:
        begin: Makes what was there before, given root and durability.
        act: Does it; after any crash it may be done again.
        look: Says what a reader sees.
        recorded: Says what the ledger records, and what lies about that should not.
        may_be_seen: Whether a reader may see something, given what was there before, and what will be.
    """

    begin: Callable[[Path, Any], None]
    act: Callable[[Path, Any], None]
    look: Callable[[Path], Look]
    recorded: Callable[[Path], object]
    may_be_seen: Callable[[Look, Look, Look], bool]


#: The new batch makes one old file grow and begins two; a dataset gets a part more in one folder of three.
BATCHES = {"old": make_batch(4, batch_id="old"), "new": make_batch(9, batch_id="new")}
WRITES = {
    "old": [FileWrite("btc/a.csv", "btc", 4, b"old line\n" * 4)],
    "new": [
        FileWrite("btc/a.csv", "btc", 3, b"new line of btc\n" * 3),
        FileWrite("eth.csv", "eth", 4, b"new line of eth\n" * 4),
        FileWrite("folder/inner/sol.csv", "sol", 2, b"new line of sol\n" * 2),
    ],
}
MERGED = FileWrite("btc/a.csv", "btc", 7, WRITES["old"][0].content + WRITES["new"][0].content)


def growing(root: Path, durability: Any) -> Ledger:
    return Ledger(root, partial(GrowingFiles, header=b"header\n"), durability=durability)


def parts(root: Path, durability: Any) -> PartLedger:
    return PartLedger(root / "bars", "lines", durability=durability, shared=False)


def commit(make: Callable[[Path, Any], Ledger], batch: str, root: Path, durability: Any) -> None:
    """Commit a batch as one process does: open, commit, close."""
    ledger = make(root, durability)
    try:
        ledger.open()
        ledger.commit(BATCHES[batch], lambda _: WRITES[batch])
    finally:
        ledger.close()


def begin_swap(root: Path, durability: Any) -> None:
    commit(parts, "old", root, durability)
    commit(parts, "new", root, durability)
    stranger = root / "bars" / "btc" / "stranger"
    stranger.write_bytes(b"of somebody else")
    for path in (stranger, stranger.parent):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def swap(root: Path, durability: Any) -> None:
    ledger = parts(root, durability)
    try:
        ledger.open()
        gone = [file.name for file in ledger.files() if file.name.startswith("btc/")]
        if len(gone) > 1:
            assert ledger.replace(gone, MERGED) is not None, "files are not what is recorded"
    finally:
        ledger.close()


def look_at_names(root: Path) -> Look:
    return Counter((str(file.relative_to(root)), file.read_bytes()) for file in data_files(root))


def look_at_folders(root: Path) -> Look:
    bars = root / "bars"
    return Counter((str(file.parent.relative_to(bars)), file.read_bytes()) for file in data_files(bars))


def recorded(make: Callable[[Path, Any], Ledger], root: Path) -> object:
    """Return what is recorded, if it is what is there and nothing waits any more; else what is wrong."""
    ledger = make(root, "process")
    try:
        ledger.open()
        tallies = ledger.files()
    finally:
        ledger.close()
    folder = root / "bars" if isinstance(ledger, PartLedger) else root
    wrong = [str(p) for p in data_files(ledger.root.path / STAGED) if not p.parent.name.endswith(".old")]
    wrong += [name for name, _, length in tallies if (folder / name).stat().st_size != length]
    return wrong or sorted((str(Path(file.name).parent), file.rows, file.bytes) for file in tallies)


def in_part(before: Look, now: Look, after: Look) -> bool:
    return before <= now <= after


def one_or_other(before: Look, now: Look, after: Look) -> bool:
    return now in (before, after)


SCENES = {
    "append": Scene(
        partial(commit, growing, "old"),
        partial(commit, growing, "new"),
        look_at_names,
        partial(recorded, growing),
        lambda *_: True,  # the end of a line may be torn until the next commit
    ),
    "parts": Scene(
        partial(commit, parts, "old"),
        partial(commit, parts, "new"),
        look_at_folders,
        partial(recorded, parts),
        in_part,
    ),
    "swap": Scene(begin_swap, swap, look_at_folders, partial(recorded, parts), one_or_other),
}
