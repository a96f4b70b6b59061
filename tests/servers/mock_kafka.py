"""librdkafka's mock of a Kafka cluster, which answers what a broker of one's own cannot be brought to say."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

PRODUCE, INIT_PRODUCER_ID = 0, 22
#: More than any client asks while a test lasts.
ALWAYS = 1000

_PRODUCER = 0


class MockKafka:
    """Brokers in threads of this process, numbered from 1; they drop no duplicates.

    Args:
        library: librdkafka.
        cluster: Its handle of the mock.
    """

    def __init__(self, library: ctypes.CDLL, cluster: ctypes.c_void_p) -> None:
        self._library = library
        self._cluster = cluster

    @property
    def address(self) -> str:
        """Of the brokers, ``host:port``, with commas between."""
        found = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return str(found.decode())

    def create(self, topic: str, partitions: int = 1) -> None:
        """Create a topic."""
        self._call("topic_create", topic.encode(), partitions, 1)

    def fail(self, topic: str, error: int) -> None:
        """Answer whoever asks for a topic with an error."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), error)

    def answer(self, request: int, *errors: int) -> None:
        """Answer the next requests of a kind with these errors, one each."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._call("push_request_errors_array", ctypes.c_int16(request), ctypes.c_size_t(len(errors)), array)

    def answer_for(self, topic: str, partition: int, error: int, times: int) -> None:
        """Answer for a partition with an error the next times that messages for it come in."""
        kind, count = ctypes.c_int16(PRODUCE), ctypes.c_size_t(1)
        for _ in range(times):
            self._call("partition_push_request_errors", topic.encode(), partition, kind, count, error)

    def relent(self, request: int) -> None:
        """Answer requests of a kind as usual again."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(request))

    def down(self, broker: int) -> None:
        """Cut a broker off."""
        self._call("broker_set_down", broker)

    def up(self, broker: int) -> None:
        """Let a broker be there again."""
        self._call("broker_set_up", broker)

    def delay(self, broker: int, milliseconds: int) -> None:
        """Let a broker take its time for each answer."""
        self._call("broker_set_rtt", broker, milliseconds)

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, f"rd_kafka_mock_{name}")
        function.restype = ctypes.c_int
        assert function(self._cluster, *arguments) in (0, None), name


@contextmanager
def mock_kafka(brokers: int = 1) -> Iterator[MockKafka]:
    """Give a cluster that belongs to nobody else."""
    (path,) = (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    owner = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, settings, None, ctypes.c_size_t(0)))
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(owner, brokers))
    try:
        yield MockKafka(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(owner)
