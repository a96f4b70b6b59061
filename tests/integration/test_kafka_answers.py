"""What a Kafka destination makes of the answers that brokers give: wait, try again, or never."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from destinations import KafkaDestination
from destinations.kafka import place_of
from router.errors import TerminalError, TransientError, UnavailableError
from tests.make import make_batch
from tests.servers.kafka import closes, messages, without_copies
from tests.servers.mock_kafka import ALWAYS, INIT_PRODUCER_ID, PRODUCE, MockKafka, mock_kafka

UNKNOWN_TOPIC, NOT_LEADER, TIMED_OUT, TOO_LARGE = 3, 6, 7, 10
NOT_ENOUGH_REPLICAS, NO_TOPIC_RIGHT, NO_CLUSTER_RIGHT, INVALID_RECORD = 19, 29, 31, 87

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.usefixtures("sockets"),
]


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    """Give brokers that answer as they are told."""
    with mock_kafka() as mock:
        mock.create("bars")
        yield mock


@pytest.fixture
def destination(cluster: MockKafka) -> Iterator[KafkaDestination]:
    """Give a destination that has written three rows."""
    made = KafkaDestination(cluster.address, "bars", timeout=1, api_version=(2, 3), retry_backoff_ms=20)
    with closing(made):
        made.write_batch(make_batch(3, batch_id="before"))
        yield made


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (UNKNOWN_TOPIC, UnavailableError, "create the topic"),
        (NOT_LEADER, TransientError, "NotLeaderForPartition"),
        (TIMED_OUT, TransientError, "RequestTimedOut"),
        (NOT_ENOUGH_REPLICAS, UnavailableError, "bring back the replicas"),
        (NO_TOPIC_RIGHT, UnavailableError, "let this user write"),
        (NO_CLUSTER_RIGHT, UnavailableError, "let this user write"),
    ],
)
def test_an_answer_says_its_cause_and_the_rows_are_written_when_it_is_mended(
    cluster, destination, code, kind, says
):
    batch = make_batch(20)
    cluster.answer(PRODUCE, *[code] * ALWAYS)
    with pytest.raises(kind, match=says) as refused:
        destination.write_batch(batch)
    assert "topic bars" in str(refused.value)
    cluster.relent(PRODUCE)
    destination.write_batch(batch)
    assert len(without_copies(messages(cluster.address, "bars"))) == 23


@pytest.mark.parametrize("code", [NOT_LEADER, TIMED_OUT, NOT_ENOUGH_REPLICAS])
def test_what_passes_within_the_time_limit_costs_nothing(cluster, destination, code):
    cluster.answer(PRODUCE, code, code)
    destination.write_batch(batch := make_batch(20))
    assert closes(messages(cluster.address, "bars"))[3:] == [point.close for point in batch]


def test_rows_that_are_too_large_for_the_brokers_only_together_are_written(cluster, destination):
    cluster.answer(PRODUCE, TOO_LARGE)
    destination.write_batch(batch := make_batch(20))
    assert closes(messages(cluster.address, "bars"))[3:] == [point.close for point in batch]


def test_rows_of_which_the_brokers_took_none_are_refused_without_saying_which(cluster, destination):
    cluster.answer(PRODUCE, TOO_LARGE, TOO_LARGE, TOO_LARGE)  # four rows, two of them, one of them
    batch = make_batch(4)
    with pytest.raises(TerminalError, match="MessageSizeTooLarge") as refused:
        destination.write_batch(batch)
    assert refused.value.rows is None
    cluster.answer(PRODUCE, TOO_LARGE)
    with pytest.raises(TerminalError, match="MessageSizeTooLarge"):
        destination.write_batch(batch.slice(0, 1))
    destination.write_batch(batch.slice(1, 4))
    assert closes(messages(cluster.address, "bars"))[3:] == [point.close for point in batch][1:]


def test_a_bad_row_is_found_among_those_that_came_along_and_all_others_are_written(cluster):
    cluster.create("two", partitions=2)
    batch = make_batch(6, symbols := ["BTC", "ETH", "ADA"])
    places = {symbol: place_of(symbol.encode(), [0, 1]) for symbol in symbols}
    assert sorted(places.values()) == [0, 0, 1]
    bad = [row for row, point in enumerate(batch) if places[point.symbol] == 1]
    cluster.answer_for("two", 1, INVALID_RECORD, times=2)  # both rows together, and the first of them alone
    with (
        closing(KafkaDestination(cluster.address, "two", timeout=5, api_version=(2, 3))) as destination,
        pytest.raises(TerminalError, match=r"InvalidRecord.*compacted") as refused,
    ):
        destination.write_batch(batch)
    assert refused.value.rows == (bad[0],)
    found = messages(cluster.address, "two")
    assert sorted(closes(found)) == [point.close for row, point in enumerate(batch) if row != bad[0]]


def test_a_producer_that_may_not_be_numbered_is_waited_for(cluster):
    cluster.answer(INIT_PRODUCER_ID, *[NO_CLUSTER_RIGHT] * ALWAYS)
    with closing(KafkaDestination(cluster.address, "bars", timeout=1, api_version=(2, 3))) as destination:
        with pytest.raises(UnavailableError, match="let this user write"):
            destination.write_batch(make_batch(2))
        cluster.relent(INIT_PRODUCER_ID)
        destination.write_batch(make_batch(2))
    assert len(messages(cluster.address, "bars")) == 2


def test_a_topic_that_is_not_there_is_waited_for(cluster):
    cluster.create("absent")
    cluster.fail("absent", UNKNOWN_TOPIC)
    with (
        closing(KafkaDestination(cluster.address, "absent", timeout=1, api_version=(2, 3))) as destination,
        pytest.raises(UnavailableError, match=r"topic absent.*create the topic"),
    ):
        destination.open()


def test_a_broker_that_is_down_is_named_and_written_to_when_it_is_up(cluster, destination):
    batch = make_batch(20)
    cluster.down(1)
    with pytest.raises(TransientError, match=cluster.address):
        destination.write_batch(batch)
    with pytest.raises(UnavailableError, match="start a broker"):
        destination.write_batch(batch)
    cluster.up(1)
    destination.write_batch(batch)
    assert len(without_copies(messages(cluster.address, "bars"))) == 23


def test_a_broker_that_answers_late_leaves_names_for_every_copy(cluster, destination):
    batch = make_batch(20)
    cluster.delay(1, 3000)
    with pytest.raises(TransientError):
        destination.write_batch(batch)
    cluster.delay(1, 0)
    destination.write_batch(batch)
    assert len(without_copies(messages(cluster.address, "bars"))) == 23
