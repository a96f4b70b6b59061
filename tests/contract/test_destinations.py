"""Every destination is held to one promise: rows written again, in whatever cutting, are there once."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from destinations import (
    AnalyticsEngineDestination,
    ArrowFileDestination,
    CSVDestination,
    DataDestination,
    FeatherDestination,
    InfluxDBDestination,
    JSONLinesDestination,
    KafkaDestination,
    MemoryDestination,
    ParquetDestination,
    QualityReviewQueue,
    RabbitMQDestination,
    RedisStreamDestination,
    SQLDestination,
    WebSocketDestination,
)
from destinations.dataset import DatasetDestination
from destinations.sql_upsert import GenericUpsert
from router.batch import PointBatch
from router.errors import TerminalError
from tests.contract.reading import (
    Row,
    read_csv,
    read_dataset,
    read_delta,
    read_influx,
    read_jsonl,
    read_kafka,
    read_numbered,
    read_queue,
    read_review,
    read_sql,
    read_stream,
    row_of,
    rows_of,
)
from tests.make import make_batch, make_point
from tests.servers.influx import Access
from tests.servers.rabbitmq import make_queue


@dataclass(frozen=True)
class Case:
    """One destination under test.

    Attributes:
        name: Shown by pytest.
        make: Makes the destination, given an empty folder.
        read: Gives every row that is there, given the folder and the destination.
        refusing: Makes one that refuses points of the symbol REFUSED; None: it takes every valid point.
        updates: Whether a point that comes again takes the place of the older one.
        service: The fixture whose server it needs; its URL, or what else leads to
            it as JSON, lies in the folder, in a file of that name.
        recorded: Whether it can tell later which rows were written.
    """

    name: str
    make: Callable[[Path], DataDestination]
    read: Callable[[Path, DataDestination], list[Row]]
    refusing: Callable[[Path], DataDestination] | None = None
    updates: bool = False
    service: str = ""
    recorded: bool = True

    def kept(self, rows: list[Row]) -> list[Row]:
        """Return what is there once some rows were written, sorted."""
        newest = {row[:4]: row for row in rows}.values() if self.updates else rows
        return sorted(newest, key=repr)


def read_memory(_: Path, destination: DataDestination) -> list[Row]:
    assert isinstance(destination, MemoryDestination)
    return [row_of(point) for point in destination.points]


def csv_case(name: str, **options: object) -> Case:
    return Case(name, lambda root: CSVDestination(root, **options), lambda root, _: read_csv(root))  # type: ignore[arg-type]


def jsonl_case(name: str, **options: object) -> Case:
    return Case(name, lambda root: JSONLinesDestination(root, **options), lambda root, _: read_jsonl(root))  # type: ignore[arg-type]


def dataset_case(name: str, kind: type[DatasetDestination], **options: object) -> Case:
    def read(root: Path, _: DataDestination) -> list[Row]:
        return read_dataset(root / "bars")

    return Case(name, lambda root: kind(root / "bars", **options), read)  # type: ignore[call-arg]


def delta_case(name: str, **options: object) -> Case:
    def read(root: Path, _: DataDestination) -> list[Row]:
        return read_delta(root / "table")

    return Case(name, lambda root: AnalyticsEngineDestination(root / "table", **options), read)


def sqlite_url(root: Path) -> str:
    return f"sqlite:///{root / 'bars.db'}"


def own_name(root: Path) -> str:
    return "bars_" + hashlib.blake2b(str(root).encode(), digest_size=8).hexdigest()


def postgres_table(root: Path) -> tuple[str, str]:
    return (root / "postgres_url").read_text(), own_name(root)


def influx_access(root: Path) -> Access:
    return Access(*json.loads((root / "influx_access").read_text()))


def redis_stream(root: Path) -> tuple[str, str]:
    return (root / "streams_url").read_text(), own_name(root)


def make_rabbitmq(root: Path) -> RabbitMQDestination:
    url, name = (root / "rabbitmq_url").read_text(), own_name(root)
    make_queue(url, name)
    return RabbitMQDestination(url, name)


def kafka_topic(root: Path) -> tuple[str, str]:
    return (root / "kafka_address").read_text(), own_name(root)


def make_generic(root: Path) -> SQLDestination:
    return GenericSQLDestination(sqlite_url(root))


class GenericSQLDestination(SQLDestination):
    """Takes the way that any database goes, in one at hand."""

    def open(self) -> None:
        super().open()
        self._upsert = GenericUpsert(self._tables.points)


def refuses(symbol: str) -> MemoryDestination:
    return MemoryDestination(refuse=lambda point: point.symbol == symbol)


CASES = [
    csv_case("csv"),
    csv_case("csv_process", durability="process"),
    csv_case("csv_one_file", filename_pattern="all.csv", durability="process"),
    csv_case("csv_gzip", compression="gzip", durability="process"),
    csv_case("csv_bz2", compression="bz2", durability="process"),
    csv_case("csv_zstd", compression="zstd", durability="process"),
    jsonl_case("jsonl"),
    jsonl_case("jsonl_gzip", compression="gzip", durability="process"),
    dataset_case("parquet", ParquetDestination),
    dataset_case("parquet_process", ParquetDestination, durability="process"),
    dataset_case("parquet_one_folder", ParquetDestination, partition_by=(), durability="process"),
    dataset_case(
        "parquet_symbols", ParquetDestination, partition_by=["symbol", "date"], durability="process"
    ),
    dataset_case("parquet_small", ParquetDestination, target_file_size=4000, durability="process"),
    dataset_case("arrow", ArrowFileDestination),
    dataset_case("feather", FeatherDestination, durability="process"),
    delta_case("delta"),
    delta_case("delta_symbols", partition_by=["symbol", "date"]),
    Case(
        "sqlite",
        lambda root: SQLDestination(sqlite_url(root)),
        lambda root, _: read_sql(sqlite_url(root), "ohlcv"),
        updates=True,
    ),
    Case(
        "sql_of_any_database",
        make_generic,
        lambda root, _: read_sql(sqlite_url(root), "ohlcv"),
        updates=True,
    ),
    Case(
        "postgresql",
        lambda root: SQLDestination(*postgres_table(root)),
        lambda root, _: read_sql(*postgres_table(root)),
        updates=True,
        service="postgres_url",
    ),
    Case(
        "review_queue",
        lambda root: QualityReviewQueue(sqlite_url(root)),
        lambda root, _: read_review(sqlite_url(root), "review"),
    ),
    Case(
        "review_queue_postgresql",
        lambda root: QualityReviewQueue(*postgres_table(root)),
        lambda root, _: read_review(*postgres_table(root)),
        service="postgres_url",
    ),
    Case(
        "influxdb",
        lambda root: InfluxDBDestination(*influx_access(root), measurement=own_name(root)),
        lambda root, _: read_influx(influx_access(root), own_name(root)),
        updates=True,
        service="influx_access",
        recorded=False,
    ),
    Case(
        "rabbitmq",
        make_rabbitmq,
        lambda root, _: read_queue((root / "rabbitmq_url").read_text(), own_name(root)),
        service="rabbitmq_url",
        recorded=False,
    ),
    Case(
        "redis_stream",
        lambda root: RedisStreamDestination(*redis_stream(root)),
        lambda root, _: read_stream(*redis_stream(root)),
        service="streams_url",
    ),
    Case(
        "websocket",
        lambda root: WebSocketDestination(*redis_stream(root)),
        lambda root, _: read_numbered(*redis_stream(root)),
        service="streams_url",
    ),
    Case(
        "kafka",
        lambda root: KafkaDestination(*kafka_topic(root)),
        lambda root, _: read_kafka(*kafka_topic(root)),
        service="kafka_address",
        recorded=False,
    ),
    Case(
        "memory",
        lambda _: MemoryDestination(),
        read_memory,
        lambda _: refuses("REFUSED"),
        recorded=False,
    ),
]

Read = Callable[[], list[Row]]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    found: Case = request.param
    if found.service:
        where = request.getfixturevalue(found.service)
        (tmp_path / found.service).write_text(where if isinstance(where, str) else json.dumps(where))
    return found


@pytest.fixture
def destination(case: Case, tmp_path: Path) -> Iterator[DataDestination]:
    made = case.make(tmp_path)
    made.open()
    yield made
    made.close()


@pytest.fixture
def read(case: Case, tmp_path: Path, destination: DataDestination) -> Read:
    return lambda: sorted(case.read(tmp_path, destination), key=repr)


def test_destination_holds_every_row_of_a_written_batch(destination: DataDestination, read: Read):
    batch = make_batch(20, ["BTC/USDT", "ETH/USDT", "A_B"])
    destination.write_batch(batch)
    assert read() == sorted(rows_of(batch), key=repr)


def test_destination_holds_a_batch_written_twice_once(destination: DataDestination, read: Read):
    batch = make_batch(20, ["BTC/USDT", "ETH/USDT"])
    destination.write_batch(batch)
    destination.write_batch(batch)
    assert read() == sorted(rows_of(batch), key=repr)


@pytest.mark.parametrize("seed", range(3))
def test_destination_holds_rows_of_other_cuttings_once(destination: DataDestination, read: Read, seed: int):
    chance = random.Random(seed)
    batches = [make_batch(40, ["BTC/USDT", "ETH/USDT"], source=f"exchange-{n}") for n in range(3)]
    for _ in range(12):
        destination.write_batch(random_part(chance, batches))
    for batch in batches:
        destination.write_batch(batch)
    assert read() == sorted((row for batch in batches for row in rows_of(batch)), key=repr)


def test_destination_holds_a_row_named_twice_in_one_part_once(destination: DataDestination, read: Read):
    batch = make_batch(10)
    destination.write_batch(PointBatch.concat([batch.slice(0, 7), batch.slice(3, 10)]))
    assert read() == sorted(rows_of(batch), key=repr)


def test_destination_takes_one_batch_for_each_of_two_routes(
    destination: DataDestination, read: Read, case: Case
):
    batch = make_batch(5)
    destination.write_batch(batch.for_route("one"))
    destination.write_batch(batch.for_route("two"))
    assert read() == case.kept(rows_of(batch) * 2)


def test_destination_remembers_after_close_and_open(destination: DataDestination, read: Read):
    batch = make_batch(5)
    destination.write_batch(batch.slice(0, 3))
    destination.close()
    destination.open()
    destination.write_batch(batch)
    assert read() == sorted(rows_of(batch), key=repr)


def test_destination_tells_the_rows_it_has_on_record_and_no_others(destination: DataDestination, case: Case):
    batch = make_batch(6)
    assert destination.holds(batch).tolist() == [False] * 6
    destination.write_batch(batch.slice(1, 4))
    assert destination.holds(batch).tolist() == [1 <= row < 4 and case.recorded for row in range(6)]
    assert not destination.holds(batch.for_route("other")).any()


def test_destination_forgets_old_batches_but_not_their_number_and_nothing_that_is_owed(
    destination: DataDestination, read: Read, case: Case
):
    owed, settled = (make_batch(6, [name], batch_id=name) for name in ("OWED", "SETTLED"))
    destination.write_batch(PointBatch.concat([owed.slice(0, 3), settled]))
    counted = destination.on_record("everything")
    assert destination.prune(timedelta(days=1), lambda *_: []) == 0
    asked: dict[str, list[str]] = {}

    def still_owed(route_id: str, batch_ids: Sequence[str]) -> list[str]:
        asked.setdefault(route_id, []).extend(batch_ids)
        return ["OWED"]

    assert destination.prune(timedelta(seconds=-5), still_owed) == case.recorded
    assert asked == ({"everything": ["OWED", "SETTLED"]} if case.recorded else {})
    assert destination.on_record("everything") == counted
    assert not destination.holds(settled).any()
    destination.write_batch(owed)
    assert read() == sorted(rows_of(owed) + rows_of(settled), key=repr)


def test_destination_may_be_closed_and_opened_twice(destination: DataDestination, read: Read):
    destination.open()
    destination.write_batch(make_batch(2))
    destination.close()
    destination.close()
    assert len(read()) == 2


def test_destination_takes_single_points_as_they_come(destination: DataDestination, read: Read, case: Case):
    point = make_point()
    destination.write(point)
    destination.write(point)
    assert read() == case.kept([row_of(point)] * 2)


def test_destination_takes_an_empty_batch_as_nothing(destination: DataDestination, read: Read):
    destination.write_batch(make_batch(0))
    assert read() == []


def test_destination_keeps_the_order_of_a_series(destination: DataDestination, case: Case, tmp_path: Path):
    batch = make_batch(60, ["BTC/USDT", "ETH/USDT", "A_B"])
    for start in range(0, 60, 7):
        destination.write_batch(batch.slice(start, start + 7))
    rows = case.read(tmp_path, destination)
    assert [row for row in rows if row.symbol == "A_B"] == [
        row for row in rows_of(batch) if row.symbol == "A_B"
    ]


def test_destination_tells_an_absent_volume_from_zero(destination: DataDestination, read: Read):
    for volume, symbol in ((None, "A"), (0.0, "B"), (1.5, "C")):
        destination.write(make_point(volume=volume, symbol=symbol))
    assert {row.volume for row in read()} == {None, 0.0, 1.5}


def test_destination_is_shared_by_threads(destination: DataDestination, read: Read):
    batches = [make_batch(10, source=f"exchange-{n}") for n in range(6)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(destination.write_batch, batches * 2))
    assert read() == sorted((row for batch in batches for row in rows_of(batch)), key=repr)


@pytest.mark.parametrize("case", [case for case in CASES if case.refusing], ids=lambda case: case.name)
def test_destination_does_not_record_what_it_refused(case: Case, tmp_path: Path):
    assert case.refusing is not None
    destination = case.refusing(tmp_path)
    batch = make_batch(4, ["BTC/USDT", "REFUSED"])
    for _ in range(2):
        with pytest.raises(TerminalError) as refusal:
            destination.write_batch(batch)
        assert refusal.value.rows == (1, 3)
    assert case.read(tmp_path, destination) == [row for row in rows_of(batch) if row.symbol != "REFUSED"]


def random_part(chance: random.Random, batches: list[PointBatch]) -> PointBatch:
    slices = []
    for batch in chance.sample(batches, chance.randint(1, len(batches))):
        start = chance.randrange(len(batch))
        slices.append(batch.slice(start, chance.randint(start + 1, len(batch))))
    return PointBatch.concat(slices)
