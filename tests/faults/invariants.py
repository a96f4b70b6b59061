"""What must hold after every fault, read from the destinations themselves and from the dead letters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from destinations.training.destination import example_lines
from destinations.training.options import PARTS, SETTINGS, TrainingOptions
from router.admission import admit
from tests.faults.scene import DRAINED_WITHIN, Scene
from tests.faults.send_batches import MARKER, START, SYMBOLS, make_bars

#: Which symbols each ledgered destination holds; every one of them promises order.
FILES = {
    "csv": range(SYMBOLS - 1),
    "jsonl": range(SYMBOLS - 1),
    "troubled": range(3, 5),
    "default": range(SYMBOLS - 1, SYMBOLS),
}
#: Which symbols each route to the recorder takes.
NOTED = {"notes": range(3), "limited": range(5, 6)}
#: Which symbols are made into examples of the training set.
TAUGHT = (1, 6)
VALUES = ("open", "high", "low", "close", "volume", "asset_class", "timeframe", "source", "symbol")


@dataclass
class Findings:
    """What a run of one fault left: counts of rows over all destinations, and sentences on what is wrong."""

    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    dead: int = 0  #: dead letters that the fault left
    copies: int = 0  #: rows that the recorder, which has no ledger, was given again
    wrong: list[str] = field(default_factory=list)

    def say(self, count: int, what: str) -> int:
        """Note something that must not be, if it is; return how often it is."""
        if count:
            self.wrong.append(f"{count} {what}")
        return count


def check(
    scene: Scene, source: str, points: int, drained: float | None, injected: int, *, ordered: bool = True
) -> Findings:
    """Return what became of points 0 to `points` of a source; I1 to I9 of the reliability design.

    Args:
        scene: Where they went.
        source: Which points.
        points: How many were sent.
        drained: Seconds until the fleet was at rest after the last injection; None: it never was.
        injected: How often the fault struck: a destination without a ledger may repeat a write for each.
        ordered: Whether every point had to arrive in order of acceptance.
    """
    found = Findings()
    letters = [letter for letter in scene.store.letters(100_000) if _source(letter) == source]
    sent = make_bars(0, points, source).with_columns(number=pl.int_range(points))
    for name, symbols in FILES.items():
        rows = _rows(scene.exports / name / source, found)
        dead = [_number(letter) for letter in letters if letter["route_id"] == name]
        _compare(found, name, _of(sent, symbols), rows, dead, ordered=ordered)
    _compare_examples(found, scene.exports / "training", sent, letters)
    _compare_notes(found, scene.notes / f"{source}.lines", sent, letters, injected)
    _check_letters(found, letters)
    _check_secrets(found, scene, letters)
    if drained is None:
        found.wrong.append("not drained: something waits for ever")
    elif drained > DRAINED_WITHIN:
        found.wrong.append(f"drained after {drained:.0f} s, not {DRAINED_WITHIN:.0f}")
    found.wrong += scene.report().broken if drained is not None else []
    return found


# -- files: I1, I2, I3, I5, I8 ------------------------------------------------------------------


def _rows(folder: Path, found: Findings) -> pl.DataFrame:
    frames = [pl.DataFrame(schema={"number": pl.Int64, "file": pl.String, "row": pl.Int64})]
    for path in sorted(folder.glob("*")):
        text = path.read_text()
        if not text.endswith("\n"):
            found.wrong.append(f"{path.name} ends in mid-line")
        rows = _parsed(path, text, found)
        if rows is not None:
            frames.append(rows.with_columns(file=pl.lit(str(path)), row=pl.int_range(pl.len())))
    return pl.concat(frames, how="diagonal_relaxed")


def _parsed(path: Path, text: str, found: Findings) -> pl.DataFrame | None:
    lines = text.splitlines()
    try:
        if path.suffix == ".csv":
            if {line.count(",") for line in lines} != {10} or lines.count(lines[0]) != 1:
                found.wrong.append(f"{path.name} has not one header and eleven columns in every line")
            rows = pl.read_csv(text.encode(), infer_schema_length=None)
        else:
            rows = pl.DataFrame([json.loads(line) for line in lines]).drop("technical_indicators")
    except (ValueError, pl.exceptions.PolarsError) as error:
        found.wrong.append(f"{path.name} cannot be read: {error}")
        return None
    return rows.with_columns(
        pl.col("timestamp").str.to_datetime(time_zone="UTC"), number=pl.col("volume").cast(pl.Int64)
    )


def _compare(
    found: Findings, name: str, sent: pl.DataFrame, rows: pl.DataFrame, dead: list[int], *, ordered: bool
) -> None:
    owed = sent.filter(~pl.col("number").is_in(dead))
    lost = owed.join(rows, on="number", how="anti")
    once = rows.unique("number", keep="first", maintain_order=True)
    found.lost += found.say(len(lost), f"lost in {name}: {lost['number'].to_list()[:5]}")
    found.doubled += found.say(len(rows) - len(once), f"doubled in {name}")
    found.say(len(rows.filter(pl.col("number").is_in(dead))), f"both delivered and dead in {name}")
    if not len(rows):
        return
    if ordered:
        order = once.sort("file", "row").with_columns(most=pl.col("number").cum_max().over("file"))
        late = order.filter(pl.col("number") < pl.col("most"))
        found.out_of_order += found.say(len(late), f"out of order in {name}")
    same = ["number", "timestamp", *VALUES]
    changed = once.join(sent.with_columns(pl.col("timestamp").dt.cast_time_unit("us")), on=same, how="anti")
    found.say(len(changed), f"in {name} that were not sent so")


def _of(sent: pl.DataFrame, symbols: range) -> pl.DataFrame:
    return sent.filter((pl.col("number") % SYMBOLS).is_in(list(symbols)))


# -- the training set: complete, unique, and equal to that of an undisturbed run -----------------


def _compare_examples(
    found: Findings, folder: Path, sent: pl.DataFrame, letters: list[dict[str, Any]]
) -> None:
    dead = [_number(letter) for letter in letters if letter["route_id"] == "training"]
    bars = sent.filter((pl.col("number") % SYMBOLS).is_in(TAUGHT) & ~pl.col("number").is_in(dead))
    settings = folder / SETTINGS
    if not len(bars) or not settings.exists():
        found.say(len(bars), "bars without a training set")
        return
    source, wanted = bars["source"][0], dict[str, Any]()
    options = TrainingOptions.from_json(settings.read_text())
    for name, line in example_lines(admit(bars.drop("number")).batch, options).items():
        wanted[name] = json.loads(line)
    rows = [row for row in _examples(folder, found) if row["source"] == source]
    held = {row["example_id"]: row | {"route_version": ""} for row in rows}
    found.lost += found.say(len(wanted.keys() - held.keys()), "examples lost")
    found.doubled += found.say(len(rows) - len(held), "examples doubled")
    changed = [name for name in held if held[name] != wanted.get(name)]
    found.say(len(changed), f"examples that an undisturbed run does not have: {changed[:3]}")


def _examples(folder: Path, found: Findings) -> Iterator[dict[str, Any]]:
    for path in sorted((folder / PARTS).rglob("part-*")):
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                found.wrong.append(f"{path.name} holds what is no example")


# -- the recorder: I1, and I2 for copies with one id --------------------------------------------


def _compare_notes(
    found: Findings, path: Path, sent: pl.DataFrame, letters: list[dict[str, Any]], injected: int
) -> None:
    notes = list(_notes(path))
    writes = Counter(write for *_, write in notes)
    for route, symbols in NOTED.items():
        seen = Counter(
            (batch_id, row, int(volume)) for name, batch_id, row, _, volume, _ in notes if name == route
        )
        dead = {_number(letter) for letter in letters if letter["route_id"] == route}
        owed = set(_of(sent, symbols)["number"].to_list()) - dead
        numbers = Counter(number for _, _, number in seen)
        lost = owed - set(numbers)
        found.lost += found.say(len(lost), f"lost in {route}: {sorted(lost)[:5]}")
        found.say(sum(n - 1 for n in numbers.values()), f"given to {route} under two names")
        found.say(len(set(numbers) - set(_of(sent, symbols)["number"])), f"in {route} that were not sent")
        found.copies += sum(seen.values()) - len(seen)
    most = injected * max(writes.values(), default=0)
    if found.copies > most:
        found.wrong.append(f"{found.copies} copies at the recorder, more than {most}: a write a fault")


def _notes(path: Path) -> Iterator[list[Any]]:
    for line in path.read_text().splitlines() if path.exists() else ():
        yield json.loads(line)


# -- dead letters and secrets: I4, I9 -----------------------------------------------------------


def _source(letter: dict[str, Any]) -> str:
    return letter["original"].get("source", "") if isinstance(letter["original"], dict) else ""


def _number(letter: dict[str, Any]) -> int:
    return int(letter["original"]["volume"])


def _check_letters(found: Findings, letters: list[dict[str, Any]]) -> None:
    for letter in letters:
        number = _number(letter)
        stamp = START.timestamp() + 60 * (number // SYMBOLS)
        whole = str(letter["original"]["timestamp"]).startswith(_iso(stamp)) and letter["batch_id"]
        if not (whole and letter["reasons"] and all(reason["code"] for reason in letter["reasons"])):
            found.wrong.append(f"a dead letter without original or reason: {letter}")
        if letter["route_id"] and letter["attempts"] < 1:
            found.wrong.append(f"a dead letter without its attempts: {letter}")


def _iso(stamp: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(stamp, UTC).isoformat()[:16]


def _check_secrets(found: Findings, scene: Scene, letters: list[dict[str, Any]]) -> None:
    secrets = {"the password of Redis": scene.redis.url.split(":")[2].split("@")[0], "the context": MARKER}
    texts = {path.name: path.read_text(errors="replace") for path in scene.logs.glob("*.log")}
    texts["the dead letters"] = json.dumps(letters)
    for what, secret in secrets.items():
        found.wrong += [f"{what} is in {name}" for name, text in texts.items() if secret in text]
