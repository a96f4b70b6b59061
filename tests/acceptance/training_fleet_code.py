"""What the routes of `training_fleet.yaml` name."""

from router import Indicators

with_indicators = Indicators("sma_20", "rsi_14", "vwap_5", tolerance=1e-3)
