"""Say on standard error what runs now; standard output is for the tables."""

from __future__ import annotations

import sys
import time

_began = time.monotonic()


def say(what: str) -> None:
    """Print one line with the seconds since the start."""
    print(f"{time.monotonic() - _began:6.1f} s  {what}", file=sys.stderr, flush=True)
