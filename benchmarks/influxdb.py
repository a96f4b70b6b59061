"""Points/s into InfluxDB, beside its client used as its page says, and of the encoder beside the client's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import polars as pl
from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS

from benchmarks.bars import batches, make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.timing import alternate, in_fresh_process
from destinations import InfluxDBDestination
from destinations.influxdb_lines import TAGS, encode_line_protocol
from router.schema import PRICES
from tests.servers.influx import Access, installed, own_influx

#: What a write holds, as InfluxDB's page on optimizing writes says.
PART: Final = 5_000
BUILDER: Final = "influxdb-client, Point.to_line_protocol"
POINTS: Final = "influxdb-client, write_api SYNCHRONOUS of a list of Point"
DATA_FRAME: Final = "influxdb-client, write_api SYNCHRONOUS of a DataFrame"
_FIELDS: Final = (*PRICES, "volume", "data_quality_score", "is_realtime")


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure the encoder, and whole writes where InfluxDB is installed."""
    rows, seconds = (20_000, 2.0) if quick else (100_000, 20.0)
    say(f"influxdb: {rows:,} bars encoded")
    ours, theirs = in_fresh_process(measure_encoder, rows, seconds)
    yield Figure(
        case="influxdb", what=f"{rows:,} bars as line protocol", unit="points/s", runs=ours,
        peer=BUILDER, peer_runs=theirs, goal=Goal(20, "ratio"),
    )  # fmt: skip
    if installed() is None:
        say("influxdb: InfluxDB is not installed")
        return
    for peer in (POINTS, DATA_FRAME):
        say(f"influxdb: {rows:,} bars written, beside {peer}")
        ours, theirs = in_fresh_process(measure_writes, peer, rows, seconds)
        yield Figure(
            case="influxdb", what=f"{rows:,} bars into InfluxDB 1.6, {PART:,} a write", unit="points/s",
            runs=ours, peer=peer, peer_runs=theirs, goal=Goal(1, "ratio"),
        )  # fmt: skip


def measure_encoder(rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of our encoder, and of the client's."""
    frame = make_bars(rows)
    few = frame.head(rows // 10).to_dicts()

    def ours() -> int:
        encode_line_protocol(frame)
        return rows

    def peer() -> int:
        "\n".join(built("ohlcv", row).to_line_protocol() for row in few)
        return len(few)

    return alternate(ours, peer, seconds=seconds)


def measure_writes(peer: str, rows: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of the destination and of the client, each into measurements of its own."""
    frame = make_bars(rows)
    measurements = (f"bars_{number}" for number in count())
    write_all = write_points if peer == POINTS else write_data_frames
    with own_influx() as server:

        def ours() -> int:
            destination = InfluxDBDestination(*server.access, measurement=next(measurements))
            for part in batches(frame, PART):
                destination.write_batch(part)
            destination.close()
            return rows

        def theirs() -> int:
            write_all(server.access, next(measurements), frame)
            return rows

        return alternate(ours, theirs, seconds=seconds)


def built(measurement: str, row: dict[str, Any]) -> Point:
    """Return a point of the client. Source: influxdb-client documentation, Writing data."""
    point = Point(measurement).time(row["timestamp"], WritePrecision.US)
    for name in TAGS:
        point.tag(name, row[name])
    for name in _FIELDS:
        point.field(name, row[name])
    return point


def write_points(access: Access, measurement: str, frame: pl.DataFrame) -> None:
    """Write points that are built one by one."""
    with InfluxDBClient(access.url, access.token, org=access.org) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        for part in frame.iter_slices(PART):
            points = [built(measurement, row) for row in part.iter_rows(named=True)]
            api.write(access.bucket, record=points, write_precision=WritePrecision.US)


def write_data_frames(access: Access, measurement: str, frame: pl.DataFrame) -> None:
    """Write frames of pandas, whose index is the time."""
    with InfluxDBClient(access.url, access.token, org=access.org) as client:
        api = client.write_api(write_options=SYNCHRONOUS)
        for part in frame.select("timestamp", *TAGS, *_FIELDS).iter_slices(PART):
            api.write(
                access.bucket,
                record=part.to_pandas().set_index("timestamp"),
                data_frame_measurement_name=measurement,
                data_frame_tag_columns=list(TAGS),
                write_precision=WritePrecision.US,
            )
