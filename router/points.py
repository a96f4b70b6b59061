"""NormalizedDataPoint: one OHLCV bar, checked when it is made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from router.schema import AssetClass


class NormalizedDataPoint(BaseModel):
    """One OHLCV bar; a frozen value."""

    model_config = ConfigDict(frozen=True)

    timestamp: datetime  #: start of the bar, UTC
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    symbol: str
    asset_class: AssetClass
    timeframe: str
    source: str
    data_quality_score: float = 1.0
    is_realtime: bool = False
    technical_indicators: dict[str, float] | None = None

    @classmethod
    def trusted(cls, values: dict[str, Any]) -> NormalizedDataPoint:
        """Return a point of values that were checked before, as they come out of a batch."""
        values["asset_class"] = AssetClass(values["asset_class"])
        return cls.model_construct(None, **values)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the point as JSON types; the timestamp is ISO 8601 UTC."""
        return self.model_dump(mode="json")
