"""What the writes of a task come to: sizes, refusals, failures, turns, and one commit for all of them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from destinations import DataDestination, JSONLinesDestination
from destinations.pruning import StillOwed
from router import PointBatch, Route, TerminalError, TransientError
from router.table import RouteTable
from tests.make import make_batch
from workers.open_destinations import OpenDestinations, Written


class Scripted(DataDestination):
    """Notes the symbols of every write, and raises what it was given for the n-th."""

    def __init__(self, errors: dict[int, Exception] | None = None) -> None:
        super().__init__()
        self.errors = errors or {}
        self.opened = 0
        self.writes: list[int] = []

    def open(self) -> None:
        self.opened += 1

    def write_batch(self, batch: PointBatch) -> None:
        self.writes.append(len(batch))
        if error := self.errors.get(len(self.writes)):
            raise error


def write(
    destination: DataDestination, rows: int = 10, size: int | None = 4, turn: float = math.inf
) -> Written:
    table = RouteTable([Route(route_id="r", condition="true", destination=destination)])
    return OpenDestinations(turn).write(table, "r", make_batch(rows), size)


@pytest.mark.parametrize(
    ("size", "writes"), [(None, [10]), (4, [4, 4, 2]), (10, [10]), (50, [10]), (1, [1] * 10)]
)
def test_writes_hold_so_many_rows_and_the_last_what_is_left(size, writes):
    destination = Scripted()
    assert write(destination, size=size) == Written(rows=10)
    assert destination.writes == writes


@pytest.mark.parametrize(("size", "said"), [(4, ["a write holds 4 points, not the 10"]), (10, [])])
def test_writes_too_small_for_a_destination_are_told_once_it_is_open(
    size: int, said: list[str], caplog: pytest.LogCaptureFixture
):
    destination = Scripted()
    destination.advised_batch_size = 10  # type: ignore[misc]
    table = RouteTable([Route(route_id="r", condition="true", destination=destination, batch_size=size)])
    opened = OpenDestinations(math.inf)
    for _ in range(3):
        opened.write(table, "r", make_batch(10), size)
    assert [message.partition(": ")[2].partition(" points that")[0] for message in caplog.messages] == said


def test_nothing_is_opened_for_no_rows():
    destination = Scripted()
    assert write(destination, rows=0) == Written()
    assert destination.opened == 0


def test_rows_refused_by_name_do_not_stop_the_writes_after_them():
    destination = Scripted({2: TerminalError("no", [3, 1, 1])})
    written = write(destination)
    assert (written.rows, written.refused, written.error) == (
        10,
        [(5, "TerminalError: no"), (7, "TerminalError: no")],
        None,
    )


def test_a_refusal_of_one_row_is_of_that_row():
    written = write(Scripted({3: TerminalError("no")}), rows=9)
    assert (written.rows, written.refused) == (9, [(8, "TerminalError: no")])


def test_a_refusal_of_no_row_refuses_none_even_where_there_is_but_one():
    written = write(Scripted({3: TerminalError("no", [])}), rows=9)
    assert (written.rows, written.refused, written.error) == (9, [], None)


@pytest.mark.parametrize("rows", [None, [4], [-1], [0, 17]])
def test_a_refusal_that_does_not_say_which_rows_ends_the_writes_there(rows):
    written = write(Scripted({2: TerminalError("no", rows)}))
    assert (written.rows, written.refused, written.failed) == (4, [], 4)
    assert isinstance(written.error, TerminalError)


def test_a_failure_ends_the_writes_and_tells_how_many_rows_it_concerns():
    error = TransientError("reset")
    destination = Scripted({3: error})
    assert write(destination) == Written(rows=8, failed=2, error=error)
    assert destination.writes == [4, 4, 2]


def test_after_its_turn_a_task_begins_no_further_write():
    destination = Scripted()
    assert write(destination, turn=0.0) == Written(rows=4)
    assert destination.writes == [4]


def test_writes_of_one_task_are_one_commit_of_a_file(tmp_path):
    sizes = []

    class Counted(JSONLinesDestination):
        def write_batch(self, batch: PointBatch) -> None:
            sizes.append(len(batch))
            super().write_batch(batch)

    destination = Counted(tmp_path, "{symbol}.jsonl")
    commits = []
    commit = destination.ledger.commit
    destination.ledger.commit = lambda batch, encode: commits.append(len(batch)) or commit(batch, encode)
    assert write(destination) == Written(rows=10)
    assert (sizes, commits) == ([4, 4, 2], [10])
    (path,) = tmp_path.glob("*.jsonl")
    assert len(path.read_text().splitlines()) == 10


def test_writes_before_a_failure_are_in_the_file(tmp_path):
    class Fails(JSONLinesDestination):
        writes = 0

        def write_batch(self, batch: PointBatch) -> None:
            self.writes += 1
            if self.writes == 3:
                raise TransientError("reset")
            super().write_batch(batch)

    destination = Fails(tmp_path, "{symbol}.jsonl")
    assert write(destination).rows == 8
    (path,) = tmp_path.glob("*.jsonl")
    assert len(path.read_text().splitlines()) == 8


def test_if_the_commit_fails_no_row_is_done(tmp_path):
    destination = JSONLinesDestination(tmp_path, "{symbol}.jsonl")

    def fail(batch: PointBatch, encode: object) -> int:
        raise TransientError("the disk is away")

    destination.ledger.commit = fail
    written = write(destination)
    assert (written.rows, written.failed) == (0, 10)
    assert isinstance(written.error, TransientError)


@pytest.mark.parametrize("size", [1, 3, 7, 20, None])
def test_chunks_hold_every_row_once_under_its_name(size):
    batch = PointBatch.concat([make_batch(rows) for rows in (1, 5, 2, 9)])
    chunks = list(batch.chunks(size))
    assert PointBatch.concat(chunks) == batch
    names = [(part.batch_id, row) for part in batch.parts for row in part.rows.positions]
    found = [(part.batch_id, row) for c in chunks for part in c.parts for row in part.rows.positions]
    assert found == names
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert all(sum(len(part.rows) for part in chunk.parts) == len(chunk) for chunk in chunks)


def test_what_a_ledger_has_on_record_is_held_and_nothing_else(tmp_path):
    table = RouteTable([Route(route_id="r", condition="true", destination=JSONLinesDestination(tmp_path))])
    batch, opened = make_batch(4), OpenDestinations(math.inf)
    assert opened.hold(table, "r", batch).tolist() == [False] * 4
    opened.write(table, "r", batch[1:3], None)
    assert opened.hold(table, "r", batch).tolist() == [False, True, True, False]
    opened.close()


def test_a_destination_without_a_record_or_with_a_broken_one_holds_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    for destination in (Scripted(), JSONLinesDestination(tmp_path / "file")):
        table = RouteTable([Route(route_id="r", condition="true", destination=destination)])
        assert OpenDestinations(math.inf).hold(table, "r", make_batch(2)).tolist() == [False] * 2


class Forgetful(Scripted):
    """Says how often it was pruned, or raises what it was given."""

    def __init__(self, *answers: object) -> None:
        super().__init__()
        self.answers = list(answers)

    def prune(self, older_than: timedelta, still_owed: StillOwed) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("answer", [TransientError("locked"), KeyError("a mistake"), None, "many"])
def test_a_destination_that_cannot_prune_is_named_and_opened_anew_by_the_next_write(answer, caplog):
    destination = Forgetful(answer, 7)
    table = RouteTable([Route(route_id="r", condition="true", destination=destination)])
    opened = OpenDestinations()
    opened.write(table, "r", make_batch(1), None)

    assert opened.prune("r", timedelta(days=1), lambda *_: []) == 0
    assert caplog.messages == ["Destination did not prune its records."]
    assert "r" not in opened

    assert opened.write(table, "r", make_batch(1), None) == Written(rows=1)
    assert opened.prune("r", timedelta(days=1), lambda *_: []) == 7
    assert destination.opened == 2


def test_what_is_not_open_or_keeps_no_record_has_nothing_to_prune():
    destination = Scripted()
    table, opened = (
        RouteTable([Route(route_id="r", condition="true", destination=destination)]),
        OpenDestinations(),
    )
    assert opened.prune("r", timedelta(days=1), lambda *_: []) == 0
    assert destination.opened == 0
    opened.write(table, "r", make_batch(1), None)
    assert opened.prune("r", timedelta(days=1), lambda *_: []) == 0
