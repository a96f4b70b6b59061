"""Where points go: the registry of destinations, and the classes by name.

Nothing is imported before it is used, so that a worker that writes CSV needs no Kafka client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from destinations.base import DataDestination
from router.errors import ConfigError
from router.imports import imported
from router.names import nearest

if TYPE_CHECKING:
    from destinations.arrow_file import ArrowFileDestination, FeatherDestination
    from destinations.csv_file import CSVDestination
    from destinations.delta import AnalyticsEngineDestination
    from destinations.file import FileDestination
    from destinations.influxdb import InfluxDBDestination
    from destinations.jsonl_file import JSONLinesDestination, StandardOutputDestination
    from destinations.kafka import KafkaDestination
    from destinations.memory import MemoryDestination
    from destinations.parquet import ParquetDestination
    from destinations.rabbitmq import RabbitMQDestination
    from destinations.redis_stream import RedisStreamDestination
    from destinations.review_queue import QualityReviewQueue
    from destinations.routes_file import load_routes, load_routes_file
    from destinations.sql import SQLDestination
    from destinations.training.destination import LLMTrainingDatasetDestination

__all__ = [
    "REGISTRY",
    "AnalyticsEngineDestination",
    "ArrowFileDestination",
    "CSVDestination",
    "DataDestination",
    "FeatherDestination",
    "FileDestination",
    "InfluxDBDestination",
    "JSONLinesDestination",
    "KafkaDestination",
    "LLMTrainingDatasetDestination",
    "MemoryDestination",
    "ParquetDestination",
    "QualityReviewQueue",
    "RabbitMQDestination",
    "RedisStreamDestination",
    "SQLDestination",
    "StandardOutputDestination",
    "WebSocketDestination",
    "load",
    "load_routes",
    "load_routes_file",
]

#: Every kind of destination, and where its class is.
REGISTRY: Final[dict[str, str]] = {
    "arrow": "destinations.arrow_file:ArrowFileDestination",
    "csv_file": "destinations.csv_file:CSVDestination",
    "delta": "destinations.delta:AnalyticsEngineDestination",
    "feather": "destinations.arrow_file:FeatherDestination",
    "influxdb": "destinations.influxdb:InfluxDBDestination",
    "jsonl_file": "destinations.jsonl_file:JSONLinesDestination",
    "kafka": "destinations.kafka:KafkaDestination",
    "llm_dataset": "destinations.training.destination:LLMTrainingDatasetDestination",
    "memory": "destinations.memory:MemoryDestination",
    "parquet": "destinations.parquet:ParquetDestination",
    "rabbitmq": "destinations.rabbitmq:RabbitMQDestination",
    "redis_stream": "destinations.redis_stream:RedisStreamDestination",
    "review_queue": "destinations.review_queue:QualityReviewQueue",
    "sql": "destinations.sql:SQLDestination",
    "stdout": "destinations.jsonl_file:StandardOutputDestination",
    "websocket": "destinations.websocket:WebSocketDestination",
}

_PUBLIC: Final = {
    path.partition(":")[2]: path
    for path in (
        *REGISTRY.values(),
        "destinations.file:FileDestination",
        "destinations.routes_file:load_routes",
        "destinations.routes_file:load_routes_file",
    )
}


def load(kind: str) -> type[DataDestination]:
    """Return the class of a kind in `REGISTRY`, or of a user's own named ``"module:Class"``.

    Raises:
        ConfigError: `destination.unknown` for a kind or class that is not there, `destination.import`
            for a module that cannot be imported, `destination.type` for something else than a
            destination.
    """
    path = REGISTRY.get(kind, kind)
    if ":" not in path:
        known = ", ".join(REGISTRY)
        message = f"{kind!r} is none of {known}{nearest(kind, REGISTRY)}, nor a 'module:Class'"
        raise ConfigError("destination.unknown", "destination", message)
    found = imported(path, "destination")
    if not (isinstance(found, type) and issubclass(found, DataDestination)):
        raise ConfigError("destination.type", "destination", f"{path} is not a subclass of DataDestination")
    return found


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return imported(_PUBLIC[name], "destination")
