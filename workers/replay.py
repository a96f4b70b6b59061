"""Replay dead letters: their points travel again, under the names they had."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from ulid import ULID

from router.admission import Admission, Refused, admit
from router.batch import BatchRows, PointBatch
from router.decode import decode_json
from router.errors import ConfigError, DecodeError
from router.rows import Rows
from router.table import RouteTable
from workers.dead_letters import DOOR
from workers.overflow import read, release
from workers.records import Buried, Letter, Replay, Revival
from workers.store import LETTERS_AT_A_TIME, Store

#: The reason of points whose condition could not be evaluated: it is asked again.
_UNASKED: Final = "condition"


@dataclass(slots=True)
class Replayed:
    """What became of some dead letters, in rows.

    Attributes:
        replayed: By route; `-` for points that all routes may take.
        stay: Those that cannot be replayed, by what stands in the way.
        gone: Letters that somebody else replayed or dropped meanwhile.
    """

    replayed: Counter[str] = field(default_factory=Counter)
    stay: Counter[str] = field(default_factory=Counter)
    gone: int = 0

    def add(self, other: Replayed) -> None:
        """Add what became of others."""
        self.replayed += other.replayed
        self.stay += other.stay
        self.gone += other.gone


class Plan(NamedTuple):
    """What one step would do: None to do, if all letters stay."""

    revival: Revival | None
    stay: Counter[str]


class _Kind(NamedTuple):
    """Letters that one step can replay together: of one route, asked again or not, of one file or none."""

    route_id: str
    asks: bool
    file: str


@dataclass(frozen=True, slots=True)
class Replayer:
    """Replays letters.

    Attributes:
        store: The fleet's state.
        table: The routes that there are.
        folder: Where the fleet keeps files.
        dry_run: Change nothing, and say what would have happened.
    """

    store: Store
    table: RouteTable
    folder: Path
    dry_run: bool = False

    def replay(self, letters: Iterator[Buried]) -> Iterator[tuple[int, Replayed]]:
        """Replay letters some at a time; yield how many were looked at and what became of them."""
        while chunk := list(islice(letters, LETTERS_AT_A_TIME)):
            done = Replayed()
            kinds: dict[_Kind, list[Buried]] = defaultdict(list)
            for letter in chunk:
                kinds[_kind(letter)].append(letter)
            for kind, group in kinds.items():
                done.add(self._step(kind, group))
            yield len(chunk), done

    def _step(self, kind: _Kind, group: Sequence[Buried]) -> Replayed:
        gone: set[str] = set()
        while True:
            revival, stay = self._plan(kind, [letter for letter in group if letter.letter_id not in gone])
            found = () if revival is None or self.dry_run else self.store.replay(revival)
            gone.update(found)
            if not found:
                break
        if revival is None:
            return Replayed(stay=stay, gone=len(gone))
        if kind.file and not self.dry_run:
            release(self.folder, group[0], replayed=True)
        rows = len(revival.batch) + len(revival.refused)
        return Replayed(Counter({kind.route_id or DOOR: rows}), stay, len(gone))

    def _plan(self, kind: _Kind, letters: Sequence[Buried]) -> Plan:
        if not letters:
            return Plan(None, Counter())
        if not kind.route_id:
            return _knock_again(letters)
        try:
            self.table.route(kind.route_id)
        except ConfigError as error:
            why = f"{kind.route_id}: {error.message}"
            return Plan(None, Counter({why: sum(letter.rows for letter in letters)}))
        if kind.file:
            return _owe_file_again(letters[0], self.folder)
        return _owe_again(kind.route_id, kind.asks, letters)


def _kind(letter: Buried) -> _Kind:
    asks = any(code.startswith(_UNASKED) for code in letter.codes)
    return _Kind(letter.route_id, asks, letter.file)


# -- points that died for a route -----------------------------------------------------------------


def _owe_again(route_id: str, asks: bool, letters: Sequence[Buried]) -> Plan:
    stay: Counter[str] = Counter()
    kept = []
    for letter in letters:
        if letter.kept["original"] is None:
            stay["no original was kept"] += letter.rows
        else:
            kept.append(letter)
    kept.sort(key=lambda letter: (letter.name.number, letter.name.batch_id, letter.kept["row"]))
    admission = admit([letter.kept["original"] for letter in kept])
    refused = {one.index for one in admission.refused}
    stay.update(f"no longer valid: {_listed(one)}" for one in admission.refused)
    chosen = [letter for index, letter in enumerate(kept) if index not in refused]
    if not chosen:
        return Plan(None, stay)
    names = list(_names(letter.name for letter in chosen))
    ids = [letter.letter_id for letter in chosen]
    return Plan(Revival(str(ULID()), ids, admission.batch, Replay(route_id, asks, names)), stay)


def _owe_file_again(letter: Buried, folder: Path) -> Plan:
    try:
        batch = read(folder, letter)
    except DecodeError as error:
        return Plan(None, Counter({error.message: letter.rows}))
    kept = Replay(letter.route_id, asks=False, names=batch.parts)
    return Plan(Revival(str(ULID()), [letter.letter_id], batch, kept), Counter())


# Rows of one batch that follow each other, ascending, have one name.
def _names(rows: Iterable[BatchRows]) -> Iterator[BatchRows]:
    held: list[BatchRows] = []
    for name in rows:
        follows = (
            held and held[-1].batch_id == name.batch_id and held[-1].rows.positions < name.rows.positions
        )
        if held and not follows:
            yield _joined(held)
            held = []
        held.append(name)
    if held:
        yield _joined(held)


def _joined(names: Sequence[BatchRows]) -> BatchRows:
    return replace(names[0], rows=Rows([int(name.rows.positions[0]) for name in names]))


# -- points and messages that were refused at the door --------------------------------------------


def _knock_again(letters: Sequence[Buried]) -> Plan:
    stay: Counter[str] = Counter()
    admitted: list[tuple[str, Admission]] = []
    refused: list[Letter] = []
    for letter in letters:
        try:
            admission = admit(_read(letter))
        except (DecodeError, ValueError) as error:
            stay[f"still cannot be read: {getattr(error, 'code', error)}"] += letter.rows
            continue
        if len(admission.batch):
            admitted.append((letter.letter_id, admission))
            refused += [_letter(one, letter) for one in admission.refused]
        else:
            stay[_invalid(admission)] += letter.rows
    if not admitted:
        return Plan(None, stay)
    ids = [letter_id for letter_id, _ in admitted]
    batch = PointBatch.concat([admission.batch for _, admission in admitted])
    return Plan(Revival(str(ULID()), ids, batch, None, refused, _notes(admitted)), stay)


# A bad point of a message that also held good ones.
def _letter(refused: Refused, message: Buried) -> Letter:
    reasons = [reason._asdict() for reason in refused.reasons]
    return Letter(
        "", refused.original, reasons, message.kept["where"], message.kept["batch_id"], refused.index
    )


def _notes(admitted: Sequence[tuple[str, Admission]]) -> dict[str, Counter[str]]:
    notes: dict[str, Counter[str]] = defaultdict(Counter)
    for _, admission in admitted:
        for source, found in admission.notes.items():
            notes[source].update(found)
    return notes


def _read(letter: Buried) -> list[Any]:
    original = letter.kept["original"]
    if original is None:
        raise ValueError("no original was kept")
    text = original if isinstance(original, str) else json.dumps(original)
    if "envelope.arrow" in letter.codes:
        return list(PointBatch.from_ipc(bytes.fromhex(text)))
    return decode_json(text.encode("utf-8", "surrogatepass"))


def _invalid(admission: Admission) -> str:
    if not admission.refused:
        return "hold no points"
    return "still invalid: " + _listed(admission.refused[0])


def _listed(refused: Refused) -> str:
    return ", ".join(f"{reason.code} {reason.field}".strip() for reason in refused.reasons)
