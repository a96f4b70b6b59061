"""Points wait in real databases, the newest revision of each, until one person has decided."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from destinations import QualityReviewQueue
from destinations.review_records import Decision, Filters, Review, State
from router.batch import BatchRows, PointBatch
from router.errors import ConfigError, TransientError
from router.points import NormalizedDataPoint
from router.rows import Rows
from tests.integration.conftest import new_table
from tests.make import make_batch, make_point

APPROVE = Decision(State.APPROVED, "ann", "checked with the exchange", {"data_quality_score": 1.0})
REJECT = Decision(State.REJECTED, "bob", "a fat finger")


@dataclass(frozen=True)
class Desk:
    """One queue of a test's own, and the people at it."""

    url: str
    table: str
    made: list[QualityReviewQueue] = field(default_factory=list)

    def queue(self, **options: Any) -> QualityReviewQueue:
        """Return another way to the same queue; it is closed after the test."""
        self.made.append(QualityReviewQueue(self.url, self.table, **options))
        return self.made[-1]

    def states(self) -> list[str]:
        """Return the state of every point, by id."""
        return [one.state for one in self.everything()]

    def everything(self) -> list[Review]:
        """Return every point, by id."""
        return self.queue().reviews.newest(Filters(), 1000)[::-1]


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Give a queue in each database in turn."""
    url = f"sqlite:///{tmp_path / 'review.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    found = Desk(url, new_table())
    yield found
    for queue in found.made:
        queue.close()


def make_revision(number: int, row: int = 0, route_id: str = "poor", **changes: Any) -> PointBatch:
    part = BatchRows(f"batch-{number}", Rows([row]), number)
    point = make_point(**{"data_quality_score": 0.5} | changes)
    return PointBatch(PointBatch.of([point]).table, [part], route_id)


def refusal(decide: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        decide()
    return refused.value


# -- what waits ----------------------------------------------------------------------------------


def test_every_field_of_a_point_waits_as_it_came(desk):
    points = [
        make_point(
            row=row,
            symbol=symbol,
            timestamp=datetime(2004, 1, 1, 5, 30, 0, row, tzinfo=UTC),
            timeframe="tick",
            volume=(None, 0.0, 12.5)[row % 3],
            technical_indicators=(None, {}, {"rsi": 66.3, 'a"b': -1e-7})[row % 3],
            is_realtime=row % 2 == 0,
            data_quality_score=row / 20,
        )
        for row, symbol in enumerate(
            ("BTC/USDT", "it's; DROP TABLE review; --", "日本 🚀", "%s :x ?", "a", "A")
        )
    ]
    desk.queue().write_batch(PointBatch.of(points))
    assert [NormalizedDataPoint(**one.point) for one in desk.everything()] == points
    assert [(one.id, one.row, one.state) for one in desk.everything()] == [
        (row + 1, row, State.WAITING) for row in range(6)
    ]
    assert abs(desk.everything()[0].came_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_point_waits_once_for_each_route_and_says_for_which(desk):
    queue = desk.queue(reason="somebody should look")
    for route_id in ("poor", "odd", "poor"):
        queue.write_batch(make_revision(5, route_id=route_id))
    assert [(one.route, one.reason) for one in desk.everything()] == [
        ("poor", "somebody should look"),
        ("odd", "somebody should look"),
    ]
    assert desk.states() == ["waiting", "waiting"]


def test_a_revision_waits_in_the_place_of_the_older_one(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    queue.write_batch(make_revision(5, row=1, symbol="OTHER"))
    queue.write_batch(make_revision(7, close=42_000.25))
    queue.write_batch(make_revision(7, route_id="odd"))
    assert desk.states() == ["superseded", "waiting", "waiting", "waiting"]
    assert desk.everything()[0].superseded_by == 3


def test_an_older_revision_that_comes_late_never_waits(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(7))
    queue.write_batch(make_revision(5))
    assert desk.states() == ["waiting", "superseded"]
    queue.reviews.decide([1], REJECT)
    queue.write_batch(make_revision(6))
    assert desk.states() == ["rejected", "superseded", "superseded"]


def test_of_one_point_twice_in_a_write_the_later_waits(desk):
    points = [make_point(data_quality_score=score) for score in (0.1, 0.2, 0.3)]
    desk.queue().write_batch(PointBatch.of(points))
    assert desk.states() == ["superseded", "superseded", "waiting"]
    assert [one.superseded_by for one in desk.everything()] == [3, 3, None]


def test_a_revision_after_a_decision_waits_anew(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    queue.reviews.decide([1], REJECT)
    queue.write_batch(make_revision(7))
    assert desk.states() == ["rejected", "waiting"]


def test_writers_at_the_same_time_leave_one_revision_waiting(desk):
    desk.queue().open()
    batches = [
        PointBatch(
            PointBatch.of([make_point(row=row) for row in range(20)]).table,
            [BatchRows(f"b{number}", Rows.all(20), number)],
            "poor",
        )
        for number in range(1, 9)
    ]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda batch: written_again(desk.queue(), batch), batches))
    waiting = [one for one in desk.everything() if one.state == State.WAITING]
    assert len(desk.everything()) == 160
    assert {one.batch for one in waiting} == {"b8"}
    assert len(waiting) == 20


def written_again(queue: QualityReviewQueue, batch: PointBatch) -> None:
    """Write as a worker does, which tries again."""
    for _ in range(20):
        try:
            return queue.write_batch(batch)
        except TransientError:
            continue
    raise AssertionError("twenty attempts were not enough")


def test_nothing_is_made_by_whoever_looks(desk, tmp_path):
    reviews = desk.queue().reviews
    assert (reviews.newest(Filters(), 5), reviews.tally(Filters()), list(reviews.unsent())) == ([], [], [])
    assert "nothing was ever" in str(refusal(lambda: reviews.find(1)))
    assert "nothing was ever" in str(refusal(lambda: reviews.decide([1], REJECT)))
    assert not list(tmp_path.iterdir())


def test_filters_find_by_state_field_and_age(desk):
    queue = desk.queue()
    for number, (symbol, source) in enumerate([("A", "x"), ("B", "x"), ("A", "y")]):
        queue.write_batch(make_revision(number + 1, symbol=symbol, source=source))
    queue.reviews.decide([1], REJECT)

    def ids(**filters: Any) -> list[int]:
        return [one.id for one in queue.reviews.newest(Filters(**filters), 10)]

    moment = queue.reviews.find(2).came_at
    assert ids() == [3, 2, 1]
    assert ids(state=State.WAITING) == [3, 2]
    assert ids(fields={"symbol": "A", "source": "y"}) == [3]
    assert ids(fields={"route": "por"}) == []
    assert (ids(before=moment), ids(after=moment)) == ([1], [3, 2])
    assert [tuple(tally) for tally in queue.reviews.tally(Filters(fields={"source": "x"}))] == [
        ("poor", "rejected", 1, 0),
        ("poor", "waiting", 1, 0),
    ]


# -- decisions -----------------------------------------------------------------------------------


def test_a_decision_says_who_when_and_why_and_is_to_be_sent(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5, close=42_000.25))
    (decided,) = queue.reviews.decide([1], APPROVE)
    found = queue.reviews.find(1)
    assert found == decided
    assert (found.state, found.decided_by, found.why) == ("approved", "ann", "checked with the exchange")
    assert abs(found.decided_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert (found.changes, found.point["data_quality_score"]) == ({"data_quality_score": 1.0}, 0.5)
    ((sent_as, (one,)),) = queue.reviews.unsent()
    assert (sent_as, one.revised["data_quality_score"], one.revised["close"]) == (
        found.sent_as,
        1.0,
        42_000.25,
    )
    queue.reviews.mark_sent(sent_as)
    assert list(queue.reviews.unsent()) == []
    assert queue.reviews.find(1).sent_at is not None


def test_what_is_rejected_is_never_sent(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    queue.reviews.decide([1], REJECT)
    assert list(queue.reviews.unsent()) == []
    assert (queue.reviews.find(1).sent_as, queue.reviews.find(1).changes) == (None, None)


def test_a_decision_on_a_point_that_was_decided_says_by_whom(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    queue.write_batch(make_revision(6, symbol="OTHER"))
    queue.reviews.decide([1], REJECT)
    error = refusal(lambda: queue.reviews.decide([2, 1], APPROVE))
    at = f"{queue.reviews.find(1).decided_at:%Y-%m-%d %H:%M:%S} UTC"
    assert error.code == "review.decided"
    assert error.message == (
        f"1 was rejected by bob at {at}: a fat finger; nothing was decided on the others"
    )
    assert desk.states() == ["rejected", "waiting"]


def test_a_decision_on_a_superseded_point_names_the_newer(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    queue.write_batch(make_revision(7))
    assert "1 was superseded by 2, a newer revision" in str(
        refusal(lambda: queue.reviews.decide([1], APPROVE))
    )


def test_a_decision_on_an_id_that_nobody_has_says_which_there_are(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    error = refusal(lambda: queue.reviews.decide([1, 7, 9], APPROVE))
    assert (error.code, error.where) == ("review.unknown", "7, 9")
    assert "ids go from 1 to 1" in error.message
    assert desk.states() == ["waiting"]


def test_a_correction_is_checked_as_a_point_is_on_arrival(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))

    def correct(**changes: Any) -> list[Review]:
        return queue.reviews.decide([1], Decision(State.CORRECTED, "ann", "a typing error", changes))

    error = refusal(lambda: correct(close="42_050", volume="-1", asset_class="crypt0"))
    assert (error.code, error.where) == ("review.refused", "1")
    for code in ("number.format close", "number.negative volume", "enum asset_class"):
        assert code in error.message
    assert "ohlc.high_below_low" in str(refusal(lambda: correct(low="50000")))
    assert "required close" in str(refusal(lambda: correct(close=None)))
    assert "approve it" in str(refusal(lambda: correct(close="42000.5", data_quality_score=1.0)))
    assert desk.states() == ["waiting"]

    correct(close="42001", volume=None, is_realtime="true", technical_indicators={"rsi": 55})
    found = queue.reviews.find(1)
    assert found.changes == {
        "close": 42_001.0,
        "volume": None,
        "is_realtime": True,
        "technical_indicators": {"rsi": 55.0},
    }
    assert found.point["close"] == 42_000.5


@pytest.mark.parametrize("words", ["", "  ", "a\0b", "\x1b[31mred", "\ud800"])
def test_words_that_say_nothing_or_cannot_be_kept_are_refused(desk, words):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    for name in ("by", "why"):
        error = refusal(lambda name=name: queue.reviews.decide([1], APPROVE._replace(**{name: words})))
        assert (error.code, error.where) == ("review.words", name)
    assert desk.states() == ["waiting"]


def test_a_dry_run_decides_nothing(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    (would,) = queue.reviews.decide([1], APPROVE, dry_run=True)
    assert (would.state, desk.states()) == ("approved", ["waiting"])


def test_of_people_who_decide_at_once_one_does(desk):
    desk.queue().write_batch(make_batch(40, route_id="poor"))
    begin = threading.Barrier(4)

    def decide(name: str) -> list[Review]:
        reviews = desk.queue().reviews
        begin.wait()
        with suppress(ConfigError):
            return reviews.decide(range(1, 41), APPROVE._replace(by=name))
        return []

    with ThreadPoolExecutor(4) as threads:
        decided = list(threads.map(decide, ["ann", "bob", "cid", "dee"]))
    (winner,) = filter(None, decided)
    assert desk.everything() == winner


def test_decisions_and_revisions_at_the_same_time_wait_for_each_other(desk):
    desk.queue().write_batch(make_batch(30, route_id="poor"))

    def revise(number: int) -> None:
        written_again(desk.queue(), make_batch(30, route_id="poor", batch_id=f"again-{number}"))

    def decide(review_id: int) -> State:
        try:
            return desk.queue().reviews.decide([review_id], REJECT)[0].state
        except ConfigError:
            return State.SUPERSEDED

    with ThreadPoolExecutor(4) as threads:
        revised = threads.map(revise, range(3))
        decided = list(threads.map(decide, range(1, 31)))
        list(revised)
    assert desk.states()[:30] == decided
    assert desk.states().count("waiting") == 30


# -- points that come back -----------------------------------------------------------------------


def make_returned(desk: Desk, sent_as: str, route_id: str, number: int = 9) -> PointBatch:
    points = [
        NormalizedDataPoint(**one.revised) for batch, some in desk.queue().reviews.unsent() for one in some
    ]
    part = BatchRows(sent_as, Rows.all(len(points)), number)
    return PointBatch(PointBatch.of(points).table, [part], route_id)


def test_a_point_that_was_sent_on_never_waits_again_for_the_same_route(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(5))
    queue.write_batch(make_revision(6, symbol="OTHER"))
    (decided,) = queue.reviews.decide([1], APPROVE._replace(changes={"data_quality_score": 0.5}))
    assert decided.sent_as is not None

    queue.write_batch(make_returned(desk, decided.sent_as, "poor"))
    assert desk.states() == ["approved", "waiting"]
    assert queue.on_record("poor") == 3

    queue.write_batch(make_returned(desk, decided.sent_as, "odd"))
    assert desk.states() == ["approved", "waiting", "waiting"]


def test_of_two_revisions_that_are_approved_together_the_newer_is_sent(desk):
    queue = desk.queue()
    queue.write_batch(make_revision(7, close=42_000.75))
    queue.write_batch(make_revision(5, route_id="odd", close=42_000.25))
    queue.write_batch(make_revision(6, symbol="OTHER"))
    queue.reviews.decide([1, 2, 3], APPROVE)
    ((_, sent),) = queue.reviews.unsent()
    assert [one.id for one in sent] == [1, 3]


# -- tables --------------------------------------------------------------------------------------


def test_a_table_that_is_missing_is_made_by_the_statements_that_are_told(desk):
    error = refusal(desk.queue(create=False).open)
    statements = error.message.partition(": ")[2].split("; ")
    assert [text.split()[1] for text in statements] == ["TABLE", "INDEX", "INDEX", "TABLE"]
    engine = sa.create_engine(desk.url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    desk.queue(create=False).write_batch(make_revision(5))
    assert desk.states() == ["waiting"]


def test_a_table_that_takes_no_copies_gets_rows_one_by_one(postgres_url):
    desk = Desk(postgres_url, new_table())
    queue = desk.queue()
    queue.open()
    engine = sa.create_engine(desk.url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {desk.table} ALTER technical_indicators TYPE json")
    point = make_point(technical_indicators={"rsi": 66.3}, volume=None)
    queue.write_batch(PointBatch.of([point, point]))
    assert NormalizedDataPoint(**desk.everything()[1].point) == point
    assert desk.states() == ["superseded", "waiting"]
    for made in desk.made:
        made.close()


def test_a_table_that_somebody_holds_costs_an_attempt(desk):
    desk.queue().write_batch(make_revision(5))
    engine = sa.create_engine(desk.url, poolclass=sa.pool.NullPool)
    with engine.connect() as other:
        other.exec_driver_sql(f"UPDATE {desk.table} SET why = 'mine'")
        with pytest.raises(TransientError):
            desk.queue(timeout=1).write_batch(make_revision(7))
        with pytest.raises(TransientError):
            desk.queue(timeout=1).reviews.decide([1], APPROVE)
    assert desk.states() == ["waiting"]
