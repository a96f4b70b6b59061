"""Overflow: the oldest points of a route that owes too much go to files; one dead letter stands for each."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyarrow as pa
from ulid import ULID

from router.batch import PointBatch
from router.errors import DecodeError
from router.route import Route
from router.schema import POINT_SCHEMA
from workers import holder
from workers.letters import missing, reason
from workers.records import Buried, Claim, Letter, Replay
from workers.store import BACKLOG_ROWS, Store

logger = logging.getLogger(__name__)

#: The share of its max_owed that a route owes at most after an overflow.
LEAVES: Final = 0.8
#: Seconds for which a file that no letter names is left alone: its letter may be on the way.
SETTLED_AFTER: Final = 60.0
LEASE: Final = 60.0  #: seconds for which a part is held while it is written to a file

_FOLDER: Final = "dead-letters"
_NAMES: Final = b"candlefleet.names"


def overflow(store: Store, route: Route, folder: Path) -> int:
    """Make dead letters of the oldest points of a route above its max_owed; return how many points.

    Between any two steps a kill leaves the points owed as they were, and at most a file that no letter
    names: a later overflow removes it.
    """
    assert route.max_owed is not None
    spilled = 0
    try:
        _tidy(store, folder / _FOLDER / route.route_id, folder)
        if (owed := store.owed([route.route_id])[route.route_id]) > route.max_owed:
            spilled = _spill(store, route, folder, owed - int(LEAVES * route.max_owed))
    except OSError as error:
        why = f"{error.filename or folder}: {error.strerror}"
        logger.critical("Overflow not written.", extra={"route": route.route_id, "error": why})
    if spilled:
        logger.warning("Overflow written.", extra={"route": route.route_id, "points": spilled})
    return spilled


def _spill(store: Store, route: Route, folder: Path, most: int) -> int:
    """Spill pending points, and then parts that nobody works on: a paused route may have all in parts."""
    spilled, rows = 0, 1
    while rows and spilled < most:
        rows = _spill_pending(store, route, folder, min(most - spilled, BACKLOG_ROWS))
        spilled += rows
    for part_id in store.parts(route.route_id):
        if spilled >= most:
            break
        claim = store.claim(part_id, holder.token(str(ULID())), LEASE)
        if isinstance(claim, Claim):
            spilled += _spill_part(store, route, folder, claim)
    return spilled


def _spill_pending(store: Store, route: Route, folder: Path, most: int) -> int:
    rows = store.oldest(route.route_id, most)
    if not rows.rows:
        return 0
    file, letters = _kept(store, route, folder, rows)
    verdict, why = store.spill(rows, file, letters)
    return rows.rows if _done(store, route, folder / file, file, verdict, why) else 0


def _spill_part(store: Store, route: Route, folder: Path, claim: Claim) -> int:
    file, letters = _kept(store, route, folder, claim)
    found = store.settle(claim, delivered=0, letters=letters)
    if _done(store, route, folder / file, file, found.verdict, found.why):
        return claim.rows
    store.nack(claim, delay=0, counted=False, error=found.why)
    return 0


# The file of some rows, and the letters for them.
def _kept(store: Store, route: Route, folder: Path, rows: Claim) -> tuple[str, list[Letter]]:
    batch, file = store.load(rows), f"{_FOLDER}/{route.route_id}/{ULID()}.arrow"
    letters = missing(rows, batch)
    if len(batch):
        _write(folder / file, batch)
        why = f"the route owed more than its max_owed of {route.max_owed:,} points"
        letter = Letter(route.route_id, None, [reason("owed.limit", why)], attempts=rows.attempts)
        batches = sorted({part.batch_id for part in batch.parts})
        letter = letter._replace(rows=len(batch), file=file, host=socket.gethostname(), batches=batches)
        letters.append(letter)
    return file, letters


def _done(store: Store, route: Route, path: Path, file: str, verdict: str, why: str) -> bool:
    if verdict in ("spilled", "settled") or file in store.spilled():  # its answer may have been lost
        return True
    path.unlink(missing_ok=True)
    if verdict == "full":
        logger.critical("No room for dead letters.", extra={"route": route.route_id, "why": why})
    return False


def _write(path: Path, batch: PointBatch) -> None:
    """Write points and their names so that the file is either whole and on the disk, or not there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = Replay(batch.route_id or "", asks=False, names=batch.parts).to_json()
    schema = POINT_SCHEMA.with_metadata({_NAMES: names.encode()})
    unfinished = path.with_suffix(".part")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(batch.table.cast(schema))
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    for folder in path.parents[:3]:  # each may be new
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(folder: Path, letter: Buried) -> PointBatch:
    """Return the points that a letter has in a file, under the names they died under.

    Raises:
        DecodeError: ``letter.file``: it is on another host, or not there, or damaged.
    """
    file = letter.file
    if not is_here(letter):
        raise DecodeError("letter.file", f"lie on {letter.kept['host']} in {file}: replay them there")
    try:
        with pa.OSFile(str(folder / file)) as source:
            table = pa.ipc.open_file(source).read_all()
        names = Replay.from_json(table.schema.metadata[_NAMES])
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise DecodeError("letter.file", f"cannot be read from {folder / file}: {error}") from error
    return PointBatch(table.replace_schema_metadata(None), names.names, names.route_id)


def is_here(letter: Buried) -> bool:
    """Return whether the file of a letter was written on this host."""
    return bool(letter.file) and letter.kept["host"] == socket.gethostname()


def release(folder: Path, letter: Buried, *, replayed: bool) -> None:
    """Let go of the file of a letter that is gone, if it is on this host.

    After a replay it stays a little: should a power cut set Redis back, the letter is there again.
    """
    if is_here(letter):
        with suppress(FileNotFoundError):
            if replayed:
                os.utime(folder / letter.file)
            else:
                (folder / letter.file).unlink()


# Files without a letter: of a writer that died, or of letters that were replayed or dropped.
def _tidy(store: Store, here: Path, folder: Path) -> None:
    files = list(here.iterdir()) if here.is_dir() else []
    known = store.spilled() if files else set()
    for path in files:
        if path.relative_to(folder).as_posix() not in known and _age(path) > SETTLED_AFTER:
            path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
