"""Ask Flink about the JSON lines and the CSV files: flink_job.py SOURCES ANSWERS.

Runs in an environment of its own, which holds apache-flink and nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyflink.table import EnvironmentSettings, TableEnvironment

NUMBERS = ("open", "high", "low", "close", "volume")

# A time is text, such as 2024-01-02T00:00:00+00:00: what Flink calls ISO-8601 ends with Z, or has no zone.
TABLES = {
    "jsonl": """
        CREATE TABLE jsonl (
            `timestamp` STRING, `open` DOUBLE, `high` DOUBLE, `low` DOUBLE, `close` DOUBLE, `volume` DOUBLE,
            `symbol` STRING, `timeframe` STRING, `source` STRING, `technical_indicators` MAP<STRING, DOUBLE>
        ) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')""",
    # The header is a row like others, so every column is text until it is gone.
    "csv": """
        CREATE TABLE csv (
            `timestamp` STRING, `open` STRING, `high` STRING, `low` STRING, `close` STRING, `volume` STRING,
            `symbol` STRING, `asset_class` STRING, `timeframe` STRING, `source` STRING,
            `data_quality_score` STRING
        ) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv', 'csv.null-literal' = '')""",
}
BARS = """
    CREATE TEMPORARY VIEW {name}_bars AS
    SELECT `source`, `symbol`, `timeframe`, {numbers},
        CAST(REPLACE(REPLACE(`timestamp`, 'T', ' '), '+00:00', '') AS TIMESTAMP(6)) AS `start`
    FROM {name} WHERE `timestamp` <> 'timestamp'"""
YEARS = """
    SELECT `symbol`, `timeframe`, `year`, COUNT(*) AS `rows`, MIN(`low`) AS `low`, MAX(`high`) AS `high`,
        MIN(`first_open`) AS `open`, MIN(`last_close`) AS `close`
    FROM (
        SELECT *, FIRST_VALUE(`open`) OVER forward AS `first_open`,
            FIRST_VALUE(`close`) OVER back AS `last_close`
        FROM (SELECT *, EXTRACT(YEAR FROM `start`) AS `year` FROM {name}_bars)
        WINDOW forward AS (PARTITION BY `symbol`, `timeframe`, `year` ORDER BY `start`),
            back AS (PARTITION BY `symbol`, `timeframe`, `year` ORDER BY `start` DESC)
    ) GROUP BY `symbol`, `timeframe`, `year`"""
WITH_AVERAGE = """
    SELECT `source`, `symbol`, `timeframe`, CAST(`start` AS STRING) AS `timestamp`,
        `open`, `high`, `low`, `close`, `volume`,
        AVG(`close`) OVER (PARTITION BY `source`, `symbol`, `timeframe` ORDER BY `start`
            ROWS BETWEEN 19 PRECEDING AND CURRENT ROW) AS `average`
    FROM {name}_bars"""


def main(sources: Path, answers: Path) -> None:
    """Answer for every source that Flink reads, and write the answers as JSON."""
    where = json.loads(sources.read_text())
    flink = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    flink.get_config().set("parallelism.default", "1")
    reads = {name: answered(flink, name, where[name]) for name in TABLES}
    answers.write_text(json.dumps({"version": version("apache-flink"), "reads": reads}))


def answered(flink: TableEnvironment, name: str, path: str) -> dict[str, Any]:
    """Return both answers for one source, and the seconds they took."""
    began = time.monotonic()
    numbers = ", ".join(f"CAST(`{column}` AS DOUBLE) AS `{column}`" for column in NUMBERS)
    flink.execute_sql(TABLES[name].format(path=path))
    flink.execute_sql(BARS.format(name=name, numbers=numbers))
    answers = {
        "years": collected(flink, YEARS.format(name=name)),
        "bars": collected(flink, WITH_AVERAGE.format(name=name)),
    }
    return {"answers": answers, "seconds": time.monotonic() - began}


def collected(flink: TableEnvironment, query: str) -> list[dict[str, Any]]:
    """Return the rows that a query gives."""
    result = flink.execute_sql(query)
    names = result.get_table_schema().get_field_names()
    with result.collect() as rows:
        return [dict(zip(names, row, strict=True)) for row in rows]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
