"""`candlefleet send --dry-run`: the verdict on every row of files, without sending any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from router.admission import Refused, admit
from router.arrangement import Understood
from router.errors import ConfigError, DecodeError
from router.files import read_bars
from router.layout import Layout
from router.seen_bars import Facts, SeenBars
from workers.cli import screen
from workers.cli.reading import described

#: Refused rows of a file that people are shown.
SHOWN: Final = 20


@dataclass
class Verdict:
    """What was found in one file."""

    file: str
    good: int = 0
    refused: int = 0
    error: str | None = None
    understood: Understood | None = None
    facts: Facts | None = None
    notes: Counter[str] = field(default_factory=Counter)
    rows: list[Refused] = field(default_factory=list)  #: the first of the refused ones


def dry_run(files: Sequence[Path], format_: str | None, layout: Layout, *, json: bool) -> bool:
    """Show the verdict on every row of some files; return whether all of them are good."""
    good = True
    for path in files:
        verdict = _judge(path, format_, layout, json=json)
        (_as_lines if json else _show)(verdict)
        good = good and not verdict.refused and verdict.error is None
    return good


def _judge(path: Path, format_: str | None, layout: Layout, *, json: bool) -> Verdict:
    verdict, seen = Verdict(str(path)), SeenBars()
    with screen.progress("") as bar:
        task = bar.add_task(path.name, total=None, rate="")
        try:
            for chunk in read_bars(path, format_, layout=layout):
                admission = admit(chunk.rows, where=chunk.where)
                verdict.understood = chunk.understood
                verdict.good += len(admission.batch)
                verdict.refused += len(admission.refused)
                verdict.rows += admission.refused[: SHOWN - len(verdict.rows)]
                for counts in admission.notes.values():
                    verdict.notes.update(counts)
                seen.add(admission.batch)
                if json:
                    for refused in admission.refused:
                        screen.as_json(_row(refused))
                bar.update(task, completed=chunk.bytes_read, total=chunk.bytes_total)
        except (ConfigError, DecodeError) as error:
            verdict.error = str(error)
    verdict.facts = seen.facts()
    return verdict


def _row(refused: Refused) -> dict[str, Any]:
    reasons = [reason._asdict() for reason in refused.reasons]
    return {"where": refused.where, "reasons": reasons, "original": refused.original}


def _as_lines(verdict: Verdict) -> None:
    understood = {} if verdict.understood is None else asdict(verdict.understood)
    facts = {} if verdict.facts is None else _with_iso_times(verdict.facts)
    told = {"file": verdict.file, "good": verdict.good, "refused": verdict.refused, "error": verdict.error}
    screen.as_json({**told, "understood": understood, **facts, **verdict.notes})


def _with_iso_times(facts: Facts) -> dict[str, Any]:
    times = {name: _iso(getattr(facts, name)) for name in ("first", "last")}
    return facts._asdict() | times


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def _show(verdict: Verdict) -> None:
    colour = "yellow" if verdict.refused else "green"
    total = verdict.good + verdict.refused
    if total or verdict.error is None:
        name = screen.word_for_word(verdict.file)
        screen.out.print(
            f"{name}: [{colour}]{screen.number(verdict.good)} of {screen.number(total)} rows are good[/]",
            soft_wrap=True,
        )
        screen.out.print(screen.fields(_facts(verdict)))
    for refused in verdict.rows:
        reasons = "; ".join(map(str, refused.reasons))
        screen.out.print(screen.word_for_word(f"  {refused.where}: {reasons}"), soft_wrap=True)
    if verdict.refused > len(verdict.rows):
        more = screen.number(verdict.refused - len(verdict.rows))
        screen.out.print(f"  and {more} more: --json shows all")
    if verdict.error is not None:
        screen.err.print(screen.word_for_word(f"candlefleet: {verdict.error}"), soft_wrap=True)


def _facts(verdict: Verdict) -> dict[str, str]:
    told = {} if verdict.understood is None else described(verdict.understood)
    facts = verdict.facts
    if facts is not None and facts.first is not None:
        told["bars"] = (
            f"{_iso(facts.first)} to {_iso(facts.last)}; "
            f"{screen.number(facts.series)} series, {screen.number(facts.gaps)} gaps, "
            f"{screen.number(facts.late)} late, {screen.number(facts.repeated)} repeated"
            + "".join(f", {screen.number(count)} {note}" for note, count in verdict.notes.items())
        )
    return {f"  {title}": text for title, text in told.items()}
