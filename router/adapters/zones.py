"""Give moments without a zone the one they are meant in."""

from __future__ import annotations

import polars as pl

from router.rules import Rules


def in_zone(moments: pl.Series, tz: str | None) -> pl.Series:
    """Return a column of moments that name no zone as moments in UTC; any other column as it is.

    A local time that comes twice or never becomes text that names its zone, for admission to refuse.

    Raises:
        ConfigError: `zone`, if there is no such zone.
    """
    zone = Rules(zone=tz).zone
    if zone is None or not isinstance(moments.dtype, pl.Datetime) or moments.dtype.time_zone:
        return moments
    found = moments.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone(
        "UTC"
    )
    unclear = found.is_null() & moments.is_not_null()
    if not unclear.any():
        return found
    texts = moments.dt.strftime("%Y-%m-%dT%H:%M:%S%.f") + f"[{zone}]"
    return texts.zip_with(unclear, found.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))
