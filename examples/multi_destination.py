"""One stream of bars to four places: a database, files, a live topic, a training set.

`CANDLEFLEET_ROUTES=examples/multi_destination.py candlefleet up`. The environment says where the servers
are, and the token: INFLUXDB_URL, INFLUXDB_TOKEN, INFLUXDB_ORG, INFLUXDB_BUCKET, KAFKA_BROKERS.
"""

import os
from pathlib import Path

from destinations import (
    CSVDestination,
    InfluxDBDestination,
    KafkaDestination,
    LLMTrainingDatasetDestination,
)
from router import Route, RouteTest

EXPORTS = Path(os.environ.get("CANDLEFLEET_EXPORTS", "exports"))

routes = [
    Route(
        route_id="influxdb_all",
        name="InfluxDB Storage",
        condition="true",
        destination=InfluxDBDestination(
            url=os.environ.get("INFLUXDB_URL", "http://localhost:8086"),
            token=os.environ.get("INFLUXDB_TOKEN", "not-set"),  # then the server refuses, and points wait
            org=os.environ.get("INFLUXDB_ORG", "trading"),
            bucket=os.environ.get("INFLUXDB_BUCKET", "ohlcv"),
        ),
        batch_size=100,
    ),
    Route(
        route_id="csv_daily",
        name="Daily CSV Export",
        condition="timeframe = '1d'",
        destination=CSVDestination(EXPORTS / "daily", filename_pattern="{symbol}_daily_{date}.csv"),
    ),
    Route(
        route_id="kafka_crypto_realtime",
        name="Crypto Real-time Stream",
        condition="asset_class = 'crypto' and is_realtime",
        destination=KafkaDestination(
            brokers=os.environ.get("KAFKA_BROKERS", "localhost:9092").split(","),
            topic="crypto_ohlcv_realtime",
        ),
        batch_size=10,
        batch_timeout=1.0,  # seconds that the first of ten waits at most
    ),
    Route(
        route_id="llm_training",
        name="LLM Training Dataset",
        condition="timeframe in ('1h', '4h', '1d')",
        destination=LLMTrainingDatasetDestination(
            EXPORTS / "llm_training",
            context_window=100,
            include_features=["ohlcv", "technical_indicators"],
            max_gap=4,  # daily bars of an exchange miss two every weekend, and up to four over holidays
        ),
    ),
]

tests = [
    RouteTest(
        name="a daily bar of a share is stored, exported and learned from",
        points={"timeframe": "1d", "symbol": "AAPL"},
        routes=["influxdb_all", "csv_daily", "llm_training"],
    ),
    RouteTest(
        name="a live minute of crypto is streamed too",
        points={"timeframe": "1m", "symbol": "BTC/USD", "asset_class": "crypto", "is_realtime": True},
        routes=["influxdb_all", "kafka_crypto_realtime"],
    ),
    RouteTest(
        name="an old minute of crypto is stored alone",
        points={"timeframe": "1m", "symbol": "BTC/USD", "asset_class": "crypto"},
        routes=["influxdb_all"],
    ),
]
