"""`candlefleet dead-letters`: look at what could not be delivered, let it travel again, or let it go."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final

import typer

from destinations import load_routes
from router.errors import ConfigError, DecodeError
from workers.cli import screen
from workers.cli.show import Json, RoutesFile, connect
from workers.dead_letters import DOOR, Filters, Letters, Tally, drop_letters, seconds, tally
from workers.overflow import read
from workers.records import Buried
from workers.replay import Replayed, Replayer
from workers.report import report
from workers.settings import settings

Ids = Annotated[list[str] | None, typer.Argument(help="Ids, as `list` shows them.", show_default=False)]
OfRoute = Annotated[
    str | None, typer.Option("--route", help="Of this route; - for what was refused at the door.")
]
WithReason = Annotated[
    str | None, typer.Option("--reason", help="With this reason, or one that begins with it: destination.")
]
OlderThan = Annotated[
    str | None, typer.Option("--older-than", help="That died longer ago than: 30s, 2h, 7d.")
]
NewerThan = Annotated[str | None, typer.Option("--newer-than", help="That died within: 30s, 2h, 7d.")]
All = Annotated[bool, typer.Option("--all", help="Every one; without a filter this must be said.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]

SHOWN: Final = 60  #: characters of an original that cannot be read as a point
FIRST: Final = 3  #: points shown of a file
MOST_REASONS: Final = 20  #: lines about what stays
WIDE: Final = 24  #: characters of a reason beyond which its field gets a line of its own

app = typer.Typer(
    help="Look at what could not be delivered, let it travel again, or let it go.", no_args_is_help=True
)


def register(to: typer.Typer) -> None:
    """Add these commands to the application."""
    to.add_typer(app, name="dead-letters")


# -- look -----------------------------------------------------------------------------------------


@app.command("list")
def list_letters(
    route: OfRoute = None,
    reason: WithReason = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[int, typer.Option(min=0, help="The newest so many.")] = 20,
    json: Json = False,
) -> None:
    """List dead letters, the newest first, and count them by route and reason."""
    store = connect()
    letters = Letters(store, _filters(None, route, reason, older_than, newer_than))
    if json:
        screen.as_json([_as_dict(letter) for letter in islice(letters.newest_first(), limit)])
        return
    found = tally(letters.oldest_first())
    if not found.letters:
        screen.out.print("no dead letters")
        return
    now = time.time()
    rows = (_row(letter, now) for letter in islice(letters.newest_first(), limit))
    screen.out.print(screen.table(("|id", "age", "<route", "|reasons", "<point"), rows))
    _print_tally(found, limit)
    screen.out.print(f"in all, {screen.held(report(store))}", soft_wrap=True)


def _row(letter: Buried, now: float) -> tuple[str, ...]:
    reasons = (_reason(reason) for reason in letter.kept["reasons"])
    return (
        letter.letter_id,
        screen.age(now - letter.kept["last"]),
        letter.route_id or DOOR,
        "\n".join(text if len(text) <= WIDE else text.replace(" ", "\n  ", 1) for text in reasons),
        screen.word_for_word(_point(letter)),
    )


def _reason(reason: Mapping[str, str]) -> str:
    return screen.word_for_word(f"{reason['code']} {reason.get('field', '')}".strip())


def _point(letter: Buried) -> str:
    original = letter.kept["original"]
    if letter.file:
        return f"{_points(letter.rows)} in a file on {letter.kept['host']}"
    if isinstance(original, Mapping) and {"symbol", "timeframe", "timestamp"} <= original.keys():
        timestamp = str(original["timestamp"]).replace("T", " ").removesuffix("Z")
        return f"{original['symbol']} {original['timeframe']} {timestamp}"
    if original is None:
        return "none was kept"
    text = original if isinstance(original, str) else json_.dumps(original)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _print_tally(found: Tally, limit: int) -> None:
    listed = f", the newest {limit} of them above" if found.letters > limit else ""
    screen.out.print(f"{_letters(found.letters)}{listed}", soft_wrap=True)
    screen.out.print(f"by route: {_counts(found.by_route)}", soft_wrap=True, markup=False)
    screen.out.print(f"by reason: {_counts(found.by_reason)}", soft_wrap=True, markup=False)


@app.command("show")
def show_letter(
    letter_id: Annotated[str, typer.Argument(help="Its id, as `list` shows it.")], json: Json = False
) -> None:
    """Show everything that is known of one dead letter."""
    letter = next(Letters(connect(), Filters(ids=(letter_id,))).oldest_first(), None)
    if letter is None:
        raise _unknown(letter_id)
    if json:
        screen.as_json(_as_dict(letter))
        return
    kept = letter.kept
    lines = {
        "id": letter.letter_id,
        "route": letter.route_id or "none: refused at the door",
        "reasons": "\n".join(f"{_reason(reason)}: {reason['message']}" for reason in kept["reasons"]),
        "attempts": str(kept["attempts"]),
        "first": _moment(kept["first"]),
        "last": _moment(kept["last"]),
        "where": kept["where"],
        "batch": kept["batch_id"],
        "row": "" if kept["row"] < 0 else str(kept["row"]),
        "accepted": _moment(kept.get("number", 0) / 1e6),
        "points": screen.number(letter.rows) if letter.rows > 1 else "",
        "file": f"{letter.file} on {kept['host']}" if letter.file else "",
        "original": _of_file(letter) if letter.file else _pretty(kept["original"]),
    }
    screen.out.print(screen.fields({name: text for name, text in lines.items() if text}))


def _of_file(letter: Buried) -> str:
    try:
        batch = read(settings().dir, letter)
    except DecodeError as error:
        return error.message
    first = [json_.dumps(point.to_json_dict(), ensure_ascii=False) for point in batch[:FIRST]]
    return "\n".join(first + (["…"] if len(batch) > FIRST else []))


def _moment(since_1970: float) -> str:
    return f"{datetime.fromtimestamp(since_1970, UTC):%Y-%m-%d %H:%M:%S.%f} UTC" if since_1970 else ""


def _pretty(original: Any) -> str:
    if isinstance(original, str):
        try:
            original = json_.loads(original)
        except ValueError:
            return str(original)
    return "none was kept" if original is None else json_.dumps(original, indent=2, ensure_ascii=False)


def _as_dict(letter: Buried) -> dict[str, Any]:
    return {"id": letter.letter_id, **letter.kept}


# -- replay and drop ------------------------------------------------------------------------------


@app.command()
def replay(
    ids: Ids = None,
    route: OfRoute = None,
    reason: WithReason = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: All = False,
    dry_run: DryRun = False,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """Let dead letters travel again, under the names they had; exit 1 if some have to stay."""
    filters = _filters(ids, route, reason, older_than, newer_than)
    _require_a_choice(filters, every, "replay")
    store, table = connect(), load_routes(routes or settings().routes)
    if route is not None and route != DOOR:
        table.route(route)  # a route that is not there is refused before anything happens
    letters = Letters(store, filters)
    found, outcome = _counted(letters, filters), Replayed()
    replayer = Replayer(store, table, settings().dir, dry_run)
    with _progress("replaying", found.letters) as advance:
        for looked_at, done in replayer.replay(letters.oldest_first()):
            outcome.add(done)
            advance(looked_at)
    if json:
        counts = {"replayed": outcome.replayed, "stay": outcome.stay, "gone": outcome.gone}
        screen.as_json(counts | {"dry_run": dry_run})
    else:
        _print_replayed(outcome, dry_run=dry_run)
    if outcome.stay:
        raise typer.Exit(1)


def _print_replayed(outcome: Replayed, *, dry_run: bool) -> None:
    total = outcome.replayed.total()
    verb = "would be replayed" if dry_run else "replayed"
    if total:
        screen.out.print(f"[green]{_points(total)} {verb}[/]: {_counts(outcome.replayed)}", soft_wrap=True)
    elif not outcome.stay:
        screen.out.print("no dead letters to replay", soft_wrap=True)
    for why, count in outcome.stay.most_common(MOST_REASONS):
        stay = f"{_points(count)} {'stays' if count == 1 else 'stay'}"
        screen.out.print(f"[yellow]{stay}[/]: {screen.word_for_word(why)}", soft_wrap=True)
    if len(outcome.stay) > MOST_REASONS:
        screen.out.print("… and others for other reasons: --json tells them all", soft_wrap=True)
    if outcome.gone:
        screen.out.print(f"{_letters(outcome.gone)} had been replayed or dropped by somebody else")


@app.command()
def drop(
    ids: Ids = None,
    route: OfRoute = None,
    reason: WithReason = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove dead letters for good: their points will never be delivered."""
    filters = _filters(ids, route, reason, older_than, newer_than)
    _require_a_choice(filters, every, "drop")
    store = connect()
    letters = Letters(store, filters)
    found, dropped = _counted(letters, filters), 0
    if found.letters and not dry_run:
        question = f"Drop {_letters(found.letters)} for good ({_counts(found.by_route)})?"
        if not yes and not screen.agreed(question):
            screen.say("nothing was dropped")
            raise typer.Exit(1)
        with _progress("dropping", found.letters) as advance:
            for looked_at, gone in drop_letters(store, letters.oldest_first(), settings().dir):
                dropped += gone
                advance(looked_at)
    if json:
        counted = found.letters if dry_run else dropped
        screen.as_json({"dropped": counted, "by_route": found.by_route, "dry_run": dry_run})
    elif not found.letters:
        screen.out.print("no dead letters to drop")
    elif dry_run:
        screen.out.print(
            f"{_letters(found.letters)} would be dropped: {_counts(found.by_route)}", soft_wrap=True
        )
    else:
        screen.out.print(f"[green]{_letters(dropped)} dropped[/]: {_counts(found.by_route)}", soft_wrap=True)


# -- what the commands share ----------------------------------------------------------------------


def _filters(
    ids: list[str] | None,
    route: str | None,
    reason: str | None,
    older_than: str | None,
    newer_than: str | None,
) -> Filters:
    return Filters(
        route,
        reason,
        None if older_than is None else seconds(older_than, "--older-than"),
        None if newer_than is None else seconds(newer_than, "--newer-than"),
        tuple(ids or ()),
    )


def _require_a_choice(filters: Filters, every: bool, verb: str) -> None:
    if filters.everything and not every:
        raise ConfigError(
            "letters.choice",
            verb,
            f"say which: name ids, --route, --reason or an age; or --all to {verb} every one",
        )


def _counted(letters: Letters, filters: Filters) -> Tally:
    """Count the letters that are meant; one that is named must be there."""
    named = set(filters.ids)
    found = Tally()
    for letter in letters.oldest_first():
        found.add(letter)
        named.discard(letter.letter_id)
    if named:
        raise _unknown(min(named))
    return found


def _unknown(letter_id: str) -> ConfigError:
    return ConfigError(
        "letter.unknown",
        letter_id,
        "there is no such dead letter, or another filter leaves it out: "
        "`candlefleet dead-letters list` shows them",
    )


@contextmanager
def _progress(verb: str, total: int) -> Iterator[Callable[[int], None]]:
    began, done = time.monotonic(), 0
    with screen.progress("letters") as bar:
        task = bar.add_task(verb, total=total, rate="")

        def advance(count: int) -> None:
            nonlocal done
            done += count
            rate = done / max(1e-6, time.monotonic() - began)
            bar.update(task, completed=done, rate=f"{rate:,.0f} letters/s")

        yield advance


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(
        f"{'refused at the door' if name == DOOR else name} {screen.number(count)}" for name, count in ordered
    )


def _letters(count: int) -> str:
    return f"{screen.number(count)} dead letter{'' if count == 1 else 's'}"


def _points(count: int) -> str:
    return f"{screen.number(count)} point{'' if count == 1 else 's'}"
