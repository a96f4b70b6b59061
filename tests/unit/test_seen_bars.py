from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from router.batch import PointBatch
from router.seen_bars import Facts, SeenBars
from tests.make import MINUTE, START, make_point


def facts(*batches: Iterable[int], **changes: Any) -> Facts:
    """Return the facts of one-minute bars that start so many minutes after `START`."""
    seen = SeenBars()
    for minutes in batches:
        seen.add(PointBatch.of(make_point(timestamp=START + n * MINUTE, **changes) for n in minutes))
    return seen.facts()


def test_nothing_seen_has_no_facts() -> None:
    assert facts() == facts([]) == Facts(None, None, 0, 0, 0, 0)


def test_bars_in_order_without_gaps_have_nothing_to_tell() -> None:
    assert facts(range(5), range(5, 9)) == Facts(START, START + 8 * MINUTE, 1, 0, 0, 0)


def test_gaps_late_bars_and_repeats_are_found_over_the_ends_of_chunks() -> None:
    assert facts([5, 1], [2, 2], [9]) == Facts(START + MINUTE, START + 9 * MINUTE, 1, 2, 3, 1)


def test_series_are_told_apart_and_have_gaps_of_their_own() -> None:
    seen = SeenBars()
    for symbol, step in (("A", 1), ("B", 60)):
        seen.add(
            PointBatch.of(make_point(symbol=symbol, timestamp=START + n * step * MINUTE) for n in range(3))
        )
    assert seen.facts()[2:] == (2, 2, 0, 0)


def test_bars_without_a_fixed_length_have_no_gaps() -> None:
    assert facts([0, 90 * 1440], timeframe="1M").gaps == 0
    assert facts([0, 1440, 3 * 1440], timeframe="1d").gaps == 1
    assert facts([0, 1440], timeframe="1d").last == START + timedelta(days=1)
