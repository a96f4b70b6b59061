"""Look at the points of a review queue, and decide on them: one transaction a question or a decision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa
from ulid import ULID

from destinations.review_records import (
    SENT_ON,
    Decision,
    Filters,
    Review,
    State,
    Tally,
    check_waiting,
    check_words,
    checked,
)
from destinations.review_table import SENT, lock
from destinations.sql_rows import as_moment
from router.errors import ConfigError
from router.schema import COLUMNS, IDENTITY

#: Most points that travel again in one batch.
MOST_SENT: Final = 10_000
#: So many ids are asked for at once: no database's limit on parameters is lower.
_AT_ONCE: Final = 500

#: Begins a transaction of SQLite by the words it is given; no connection: nothing was ever written here.
Begin = Callable[[str], AbstractContextManager[sa.Connection | None]]


class Reviews:
    """The points of one queue.

    Raises, from every method:
        UnavailableError: No connection, or no permission.
        TransientError: A lock that was not released in time, or a lost connection; ask again.
    """

    def __init__(self, table: sa.Table, begin: Begin) -> None:
        """Take the table, and what begins a transaction."""
        self._table = table
        self._begin = begin

    # -- looking --------------------------------------------------------------------------------

    def newest(self, filters: Filters, limit: int) -> list[Review]:
        """Return so many points, the last to come first."""
        with self._begin("BEGIN") as connection:
            if connection is None:
                return []
            asked = self._meant(connection, sa.select(self._table), filters)
            found = connection.execute(asked.order_by(self._table.c.id.desc()).limit(limit))
            return [_review(row) for row in found.mappings()]

    def tally(self, filters: Filters) -> list[Tally]:
        """Count points by route and state."""
        t = self._table.c
        unsent = sa.func.count(t.sent_as) - sa.func.count(t.sent_at)
        with self._begin("BEGIN") as connection:
            if connection is None:
                return []
            counted = sa.select(t.route, t.state, sa.func.count(), unsent)
            asked = self._meant(connection, counted, filters).group_by(t.route, t.state)
            found = connection.execute(asked.order_by(t.route, t.state))
            return [Tally(route, State(state), *counts) for route, state, *counts in found]

    def find(self, review_id: int) -> Review:
        """Return one point.

        Raises:
            ConfigError: `review.unknown`.
        """
        with self._begin("BEGIN") as connection:
            return self._found(connection, [review_id])[0]

    # -- deciding -------------------------------------------------------------------------------

    def decide(self, ids: Iterable[int], decision: Decision, *, dry_run: bool = False) -> list[Review]:
        """Decide on all of some points, or on none of them; of two people at the same time, one does.

        Returns:
            What is known of them now, or would be, by id.

        Raises:
            ConfigError: `review.unknown`; `review.decided` for one that no longer waits; `review.refused` for
                one that would be no valid point; `review.change`, `review.words`.
        """
        check_words("by", decision.by)
        check_words("why", decision.why)
        with self._begin("BEGIN IMMEDIATE") as connection:
            if connection is not None:
                lock(connection, self._table)
            found = self._found(connection, sorted(set(ids)))
            check_waiting(found)
            decided = [checked(one) for one in _decided(found, decision)]
            if connection is not None and not dry_run:
                self._save(connection, decided)
        return decided

    def _save(self, connection: sa.Connection, decided: Sequence[Review]) -> None:
        names = ("state", "decided_by", "decided_at", "why", "changes", "sent_as")
        t, dialect = self._table.c, connection.dialect.name
        changed = (
            sa.update(self._table)
            .where(t.id == sa.bindparam("its_id"), t.state == State.WAITING.value)
            .values({name: sa.bindparam(name) for name in names})
        )
        rows = [{"its_id": one.id, **{name: getattr(one, name) for name in names}} for one in decided]
        for row in rows:
            row["decided_at"] = as_moment(row["decided_at"], dialect)
            row["changes"] = row["changes"] and json.dumps(row["changes"])
        connection.execute(changed, rows)

    # -- sending on -----------------------------------------------------------------------------

    def unsent(self) -> Iterator[tuple[str, list[Review]]]:
        """Yield the batches that are to travel again, each with the points in it: the same ones every time.

        Of two revisions of one point in it there is the newer.
        """
        t = self._table.c
        with self._begin("BEGIN") as connection:
            if connection is None:
                return
            asked = sa.select(self._table).where(t.sent_as.is_not(None), t.sent_at.is_(None))
            rows = connection.execute(asked.order_by(t.sent_as, t.id)).mappings().all()
        for sent_as, some in groupby(map(_review, rows), key=lambda one: str(one.sent_as)):
            by_age = sorted(some, key=lambda one: (one.number, one.row, one.id))
            newest = {tuple(one.point[name] for name in IDENTITY): one for one in by_age}
            yield sent_as, sorted(newest.values(), key=lambda one: one.id)

    def mark_sent(self, sent_as: str) -> None:
        """Note that the fleet has a batch."""
        t = self._table.c
        with self._begin("BEGIN IMMEDIATE") as connection:
            if connection is not None:
                now = as_moment(datetime.now(UTC), connection.dialect.name)
                mine = (t.sent_as == sent_as, t.sent_at.is_(None))
                lock(connection, self._table)
                connection.execute(sa.update(self._table).where(*mine).values(sent_at=now))

    # -- asking ---------------------------------------------------------------------------------

    def _meant(self, connection: sa.Connection, asked: sa.Select[Any], filters: Filters) -> sa.Select[Any]:
        t, dialect = self._table.c, connection.dialect.name
        for name, value in filters.fields.items():
            asked = asked.where(t[name] == value)
        if filters.state is not None:
            asked = asked.where(t.state == filters.state.value)
        if filters.before is not None:
            asked = asked.where(t.came_at < as_moment(filters.before, dialect))
        if filters.after is not None:
            asked = asked.where(t.came_at >= as_moment(filters.after, dialect))
        return asked

    def _found(self, connection: sa.Connection | None, ids: Sequence[int]) -> list[Review]:
        t, found = self._table.c, []
        for start in range(0, len(ids) if connection is not None else 0, _AT_ONCE):
            assert connection is not None
            asked = sa.select(self._table).where(t.id.in_(ids[start : start + _AT_ONCE])).order_by(t.id)
            found += [_review(row) for row in connection.execute(asked).mappings()]
        known = {one.id for one in found}
        if missing := [review_id for review_id in ids if review_id not in known]:
            highest = 0 if connection is None else connection.scalar(sa.select(sa.func.max(t.id))) or 0
            raise _unknown(missing, highest)
        return found


# What becomes of points: those that travel again do so in batches of their own.
def _decided(found: Sequence[Review], decision: Decision) -> list[Review]:
    now, sent_as, decided = datetime.now(UTC), None, []
    for at, one in enumerate(found):
        if decision.state in SENT_ON and at % MOST_SENT == 0:
            sent_as = f"{SENT}{ULID()}"
        decided.append(
            one._replace(
                state=decision.state,
                decided_by=decision.by,
                decided_at=now,
                why=decision.why,
                changes=dict(decision.changes) or None,
                sent_as=sent_as,
            )
        )
    return decided


def _review(row: sa.RowMapping) -> Review:
    fields = {name: _value(name, row[name]) for name in row}
    known = {name: fields[name] for name in Review._fields if name in fields}
    return Review(
        **known
        | {
            "state": State(fields["state"]),
            "point": {name: fields[name] for name in COLUMNS},
            "row": fields["acceptance_row"],
            "number": fields["acceptance_number"],
        }
    )


# SQLite keeps moments as text and flags as numbers; PostgreSQL gives moments in the zone of its session.
def _value(name: str, value: Any) -> Any:
    if name == "is_realtime":
        return bool(value)
    if value is None or name not in _MOMENTS:
        return value
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


def _unknown(missing: Sequence[int], highest: int) -> ConfigError:
    ids = f"ids go from 1 to {highest}" if highest else "nothing was ever to be reviewed"
    message = f"no point has this id; {ids}: `candlefleet review list --state all` shows them"
    return ConfigError("review.unknown", ", ".join(map(str, missing)), message)


_MOMENTS: Final = frozenset({"timestamp", "came_at", "decided_at", "sent_at"})
