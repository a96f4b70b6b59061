"""`candlefleet review`: look at points that wait for a person, and decide on them."""

from __future__ import annotations

import json as json_
import os
import pwd
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from destinations import QualityReviewQueue, load_routes
from destinations.review_records import SENT_ON, Decision, Filters, Review, State, Tally
from router.errors import ConfigError
from router.names import nearest
from router.schema import COLUMNS, IDENTITY
from workers.cli import screen
from workers.cli.letters import DryRun
from workers.cli.show import Json, RoutesFile
from workers.dead_letters import seconds
from workers.review import Sent, send_on
from workers.settings import settings

#: The highest number that a table can hold.
_MOST: Final = (1 << 63) - 1
EVERY: Final = "all"  #: every state
#: What a correction may change: not what makes it the same point.
CORRECTABLE: Final = tuple(name for name in COLUMNS if name not in IDENTITY)

Ids = Annotated[list[int], typer.Argument(help="Ids, as `list` shows them.", min=1, max=_MOST)]
Id = Annotated[int, typer.Argument(help="Its id, as `list` shows it.", min=1, max=_MOST)]
Why = Annotated[str, typer.Option("--why", help="Why, for whoever reads the decision later.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; the user of this system otherwise.")]
Score = Annotated[
    float, typer.Option("--score", min=0, max=1, help="Its data_quality_score from now on: you vouch for it.")
]
Queue = Annotated[
    str | None, typer.Option("--queue", help="The review queue, where the routes have several.")
]

app = typer.Typer(help="Look at points that wait for a person, and decide on them.", no_args_is_help=True)


def register(to: typer.Typer) -> None:
    """Add these commands to the application."""
    to.add_typer(app, name="review")


# -- look -----------------------------------------------------------------------------------------


@app.command("list")
def list_reviews(
    state: Annotated[
        str, typer.Option("--state", help=f"In this state: {', '.join(State)}; or {EVERY}.")
    ] = State.WAITING,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Of this symbol.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Of this source.")] = None,
    route: Annotated[str | None, typer.Option("--route", help="That came by this route.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="That came longer ago than: 30s, 2h, 7d.")
    ] = None,
    newer_than: Annotated[
        str | None, typer.Option("--newer-than", help="That came within: 30s, 2h, 7d.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, max=_MOST, help="The newest so many.")] = 20,
    queue: Queue = None,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """List points, the newest first, and count them by route and state."""
    fields = {"symbol": symbol, "source": source, "route": route}
    filters = Filters(
        _state(state),
        {name: value for name, value in fields.items() if value is not None},
        _ago(older_than, "--older-than"),
        _ago(newer_than, "--newer-than"),
    )
    with closing(_queue(queue, routes)) as chosen:
        found, tallies = chosen.reviews.newest(filters, limit), chosen.reviews.tally(filters)
        unsent = sum(tally.unsent for tally in chosen.reviews.tally(Filters()))
    if json:
        screen.as_json([_as_dict(one) for one in found])
        return
    if found:
        columns = ("id", "age", "<route", "<point", "score", "<reason", "|state")
        screen.out.print(screen.table(columns, map(_row, found)))
    _print_tally(tallies, state, len(found), chosen)
    if unsent:
        screen.out.print(
            f"[yellow]{_points(unsent)} decided, not sent yet[/]: `candlefleet review send`", soft_wrap=True
        )


def _row(one: Review) -> tuple[str, ...]:
    age = (datetime.now(UTC) - one.came_at).total_seconds()
    score = one.point["data_quality_score"]
    words = (one.route, _name(one), f"{score:.2f}", one.reason, _state_of(one))
    return str(one.id), screen.age(age), *map(screen.word_for_word, words)


def _name(one: Review) -> str:
    return f"{one.point['symbol']} {one.point['timeframe']} {one.point['timestamp']:%Y-%m-%d %H:%M:%S}"


def _state_of(one: Review) -> str:
    return f"{one.state}, not sent yet" if one.is_unsent else str(one.state)


def _print_tally(tallies: Sequence[Tally], state: str, listed: int, queue: QualityReviewQueue) -> None:
    total = sum(tally.points for tally in tallies)
    if not total:
        what = "no points" if state == EVERY else f"no points {state}"
        screen.out.print(f"{what} in {screen.word_for_word(queue.place())}", soft_wrap=True)
        return
    newest = f", the newest {screen.number(listed)} of them above" if total > listed else ""
    counts = ", ".join(f"{tally.route} {tally.state} {screen.number(tally.points)}" for tally in tallies)
    screen.out.print(f"{_points(total)}{newest}: {screen.word_for_word(counts)}", soft_wrap=True)


@app.command("show")
def show_review(review_id: Id, queue: Queue = None, routes: RoutesFile = None, json: Json = False) -> None:
    """Show everything that is known of one point."""
    with closing(_queue(queue, routes)) as chosen:
        one = chosen.reviews.find(review_id)
    if json:
        screen.as_json(_as_dict(one))
        return
    lines = {
        "id": str(one.id),
        "state": _state_of(one),
        "superseded by": "" if one.superseded_by is None else str(one.superseded_by),
        "reason": one.reason,
        "route": one.route,
        "came": _moment(one.came_at),
        "batch": f"{one.batch} row {one.row}",
        "decided by": one.decided_by or "",
        "decided": _moment(one.decided_at),
        "why": one.why or "",
        "changes": "" if not one.changes else json_.dumps(one.changes, ensure_ascii=False),
        "sent as": one.sent_as or "",
        "sent": _moment(one.sent_at),
        "point": json_.dumps(_plain(one.point), indent=2, ensure_ascii=False),
    }
    screen.out.print(screen.fields({name: text for name, text in lines.items() if text}))


def _moment(when: datetime | None) -> str:
    return "" if when is None else f"{when:%Y-%m-%d %H:%M:%S.%f} UTC"


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value:%Y-%m-%dT%H:%M:%S.%f}Z" if isinstance(value, datetime) else value
        for name, value in fields.items()
    }


def _as_dict(one: Review) -> dict[str, Any]:
    return _plain(one._asdict() | {"point": _plain(one.point)})


# -- decide ---------------------------------------------------------------------------------------


@app.command()
def approve(
    ids: Ids,
    why: Why,
    by: By = None,
    score: Score = 1.0,
    dry_run: DryRun = False,
    queue: Queue = None,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """Let points travel again as they are, with a higher score; exit 1 if they could not be sent yet."""
    decision = Decision(State.APPROVED, by or _user(), why, {"data_quality_score": score})
    _decide(_queue(queue, routes), ids, decision, dry_run=dry_run, json=json)


@app.command()
def correct(
    review_id: Id,
    changes: Annotated[
        list[str], typer.Argument(help="What changes: close=101.5 volume=", metavar="FIELD=VALUE…")
    ],
    why: Why,
    by: By = None,
    score: Score = 1.0,
    dry_run: DryRun = False,
    queue: Queue = None,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """Let a point travel again with other values, which are checked as on arrival; exit 1 if not sent yet."""
    given = {"data_quality_score": score} | _changes(changes)
    decision = Decision(State.CORRECTED, by or _user(), why, given)
    _decide(_queue(queue, routes), [review_id], decision, dry_run=dry_run, json=json)


@app.command()
def reject(
    ids: Ids,
    why: Why,
    by: By = None,
    dry_run: DryRun = False,
    queue: Queue = None,
    routes: RoutesFile = None,
    json: Json = False,
) -> None:
    """Let points go nowhere; their rows stay, with who decided and why."""
    decision = Decision(State.REJECTED, by or _user(), why)
    _decide(_queue(queue, routes), ids, decision, dry_run=dry_run, json=json)


@app.command()
def send(queue: Queue = None, routes: RoutesFile = None, json: Json = False) -> None:
    """Send on what was decided while the fleet was away; exit 1 if it still is."""
    with closing(_queue(queue, routes)) as chosen:
        sent = send_on(chosen)
    if json:
        screen.as_json(sent._asdict())
    elif sent == Sent():
        screen.out.print("nothing waits to be sent")
    else:
        _print_sent(sent)
    if sent.away:
        raise typer.Exit(1)


def _decide(
    queue: QualityReviewQueue, ids: Iterable[int], decision: Decision, *, dry_run: bool, json: bool
) -> None:
    with closing(queue):
        sent = Sent() if dry_run else _finish(queue)
        decided = queue.reviews.decide(ids, decision, dry_run=dry_run)
        if not (dry_run or sent.away):
            sent = send_on(queue)
    if json:
        ids = [one.id for one in decided]
        screen.as_json({"state": decision.state, "ids": ids, "dry_run": dry_run, **sent._asdict()})
    else:
        verb = f"would be {decision.state}" if dry_run else decision.state
        by = screen.word_for_word(decision.by)
        screen.out.print(f"[green]{_points(len(decided))} {verb}[/] by {by}", soft_wrap=True)
        _print_sent(sent)
    if sent.away and decision.state in SENT_ON:
        raise typer.Exit(1)


# What a decision before left behind, since it was killed or nobody answered.
def _finish(queue: QualityReviewQueue) -> Sent:
    sent = send_on(queue)
    if sent.points:
        screen.say(f"{_points(sent.points)} decided before and not sent then: sent now")
    return sent


def _print_sent(sent: Sent) -> None:
    if sent.points:
        screen.out.print(f"{_points(sent.points)} sent: every route sees them anew", soft_wrap=True)
    if sent.refused:
        what = f"{_points(sent.refused)} of them refused at the door"
        screen.out.print(f"[yellow]{what}[/]: see `candlefleet dead-letters list`", soft_wrap=True)
    if sent.away:
        kept = "what was decided is kept, and the next decision, or `candlefleet review send`, sends it"
        screen.out.print(
            f"[yellow]not sent yet[/]: {screen.word_for_word(sent.away)}; {kept}", soft_wrap=True
        )


# -- what is meant --------------------------------------------------------------------------------


def _queue(name: str | None, path: Path | None) -> QualityReviewQueue:
    known = load_routes(path or settings().routes).destinations()
    queues = {key: one for key, one in known.items() if isinstance(one, QualityReviewQueue)}
    if not queues:
        message = "no route writes to a review queue: give one a destination of kind review_queue"
        raise ConfigError("review.queue", "", message)
    if name is None and len(queues) > 1:
        raise ConfigError("review.queue", "", f"there are several: --queue {' or --queue '.join(queues)}")
    if name is not None and name not in queues:
        raise ConfigError("review.queue", name, f"no review queue has this name{nearest(name, queues)}")
    return queues[name or next(iter(queues))]


def _state(text: str) -> State | None:
    known = [*map(str, State), EVERY]
    if text not in known:
        allowed = f"one of {', '.join(known)}{nearest(text, known)}"
        raise ConfigError("enum", "--state", f"{text!r} is not {allowed}")
    return None if text == EVERY else State(text)


def _ago(text: str | None, where: str) -> datetime | None:
    if text is None:
        return None
    return datetime.fromtimestamp(max(0.0, time.time() - seconds(text, where)), UTC)


def _changes(texts: Iterable[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(
                "review.change", text, "write what changes like close=101.5, or volume= for none"
            )
        if name in changes:
            raise ConfigError("review.change", name, "is given twice")
        changes[name] = _given(name, value)
    return changes


def _given(name: str, value: str) -> Any:
    if name in IDENTITY:
        message = "makes the point the one it is: reject it, and send the right one"
        raise ConfigError("review.change", name, message)
    if name not in COLUMNS:
        raise ConfigError("unknown_field", name, f"a point has no such field{nearest(name, CORRECTABLE)}")
    if name != "technical_indicators" or not value:
        return value or None
    try:
        return json_.loads(value)
    except ValueError as error:
        raise ConfigError("review.change", name, f'is not JSON, such as {{"rsi": 55.0}}: {error}') from None


# Whoever it is, whatever the environment says.
def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def _points(count: int) -> str:
    return f"{screen.number(count)} point{'' if count == 1 else 's'}"
