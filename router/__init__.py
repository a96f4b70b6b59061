"""Decides which points go where: points and batches, conditions, routes, the router."""

from router.adapters import from_alpaca, from_ccxt, from_databento, from_frame, from_yfinance
from router.admission import Admission, Refused, admit
from router.batch import BatchRows, PointBatch
from router.delivery import Delivery, DirectDelivery
from router.enriching import Indicators
from router.errors import (
    CandlefleetError,
    ConditionError,
    ConfigError,
    DecodeError,
    DestinationError,
    ExpiredError,
    FleetBusyError,
    FleetError,
    FleetUnreachableError,
    PointError,
    Reason,
    RoutesFileError,
    TerminalError,
    TransformError,
    TransientError,
    UnavailableError,
)
from router.explaining import Explanation, explain
from router.matching import Failure, Matches, match
from router.points import NormalizedDataPoint
from router.route import Destination, Route, RoutePriority
from router.route_tests import RouteTest
from router.router import DataRouter
from router.rows import Rows
from router.rules import Rules
from router.schema import AssetClass
from router.stats import RouterStats
from router.table import RouteTable
from router.transforms import Transformed, apply_transform

__all__ = [
    "Admission",
    "AssetClass",
    "BatchRows",
    "CandlefleetError",
    "ConditionError",
    "ConfigError",
    "DataRouter",
    "DecodeError",
    "Delivery",
    "Destination",
    "DestinationError",
    "DirectDelivery",
    "ExpiredError",
    "Explanation",
    "Failure",
    "FleetBusyError",
    "FleetError",
    "FleetUnreachableError",
    "Indicators",
    "Matches",
    "NormalizedDataPoint",
    "PointBatch",
    "PointError",
    "Reason",
    "Refused",
    "Route",
    "RoutePriority",
    "RouteTable",
    "RouteTest",
    "RouterStats",
    "RoutesFileError",
    "Rows",
    "Rules",
    "TerminalError",
    "TransformError",
    "Transformed",
    "TransientError",
    "UnavailableError",
    "admit",
    "apply_transform",
    "explain",
    "from_alpaca",
    "from_ccxt",
    "from_databento",
    "from_frame",
    "from_yfinance",
    "match",
]
