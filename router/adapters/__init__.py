"""What others call bars, as points to be admitted: pure functions, which import none of their libraries."""

from router.adapters.alpaca import from_alpaca
from router.adapters.ccxt import from_ccxt
from router.adapters.databento import from_databento
from router.adapters.frame import from_frame
from router.adapters.yfinance import from_yfinance

__all__ = ["from_alpaca", "from_ccxt", "from_databento", "from_frame", "from_yfinance"]
