"""Ask Spark about the Parquet dataset and the files of the Delta table: spark_job.py SOURCES ANSWERS.

Runs in an environment of its own, which holds pyspark and nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f


def main(sources: Path, answers: Path) -> None:
    """Answer for every source that Spark reads, and write the answers as JSON."""
    where = json.loads(sources.read_text())
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")  # 000700 is a name
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    reads = {
        "parquet": lambda: spark.read.parquet(where["parquet"]),
        "delta": lambda: spark.read.option("basePath", where["delta"]).parquet(*where["delta_files"]),
    }
    found = {"version": spark.version, "reads": {name: answered(read) for name, read in reads.items()}}
    answers.write_text(json.dumps(found))
    spark.stop()


def answered(read: Any) -> dict[str, Any]:
    """Return both answers for one source, and the seconds they took."""
    began = time.monotonic()
    bars = read()
    answers = {"years": collected(years(bars)), "bars": collected(with_average(bars))}
    return {"answers": answers, "seconds": time.monotonic() - began}


def years(bars: DataFrame) -> DataFrame:
    """Return rows, extremes, first open and last close of every symbol, timeframe and UTC year."""
    return bars.groupBy("symbol", "timeframe", f.year("timestamp").alias("year")).agg(
        f.count("*").alias("rows"),
        f.min("low").alias("low"),
        f.max("high").alias("high"),
        f.min_by("open", "timestamp").alias("open"),
        f.max_by("close", "timestamp").alias("close"),
    )


def with_average(bars: DataFrame) -> DataFrame:
    """Return every bar with the average of the last twenty closes of its series."""
    last_twenty = Window.partitionBy("source", "symbol", "timeframe").orderBy("timestamp").rowsBetween(-19, 0)
    return bars.select(
        *("source", "symbol", "timeframe", f.unix_micros("timestamp").alias("timestamp")),
        *("open", "high", "low", "close", "volume"),
        f.avg("close").over(last_twenty).alias("average"),
    )


def collected(frame: DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame."""
    return [row.asDict() for row in frame.collect()]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
