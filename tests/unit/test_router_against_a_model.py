"""DataRouter, which works by columns, does what a loop over points and routes would do.

Conditions are drawn from a small grammar and written twice: as SQL, and as a Python predicate that
gives True, False or None. The model asks the predicates point by point.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from router import DataRouter, NormalizedDataPoint, PointBatch, Route, RoutePriority, TerminalError
from router.sql import translate

Verdict = bool | None


@dataclass(frozen=True)
class Written:
    """One condition in both languages."""

    sql: str
    predicate: Callable[[NormalizedDataPoint], Verdict]

    def __repr__(self):
        return self.sql


# -- conditions -----------------------------------------------------------------------------------

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
NUMBERS = [0.0, 0.5, 1.0, 2.0, 3.5]
SYMBOLS = ["A", "B", "C", "raises"]


def number(name, sign, value):
    def decide(point):
        found = getattr(point, name)
        return None if found is None else COMPARE[sign](found, value)

    return Written(f"{name} {sign} {value}", decide)


def indicator(sign, value):
    def decide(point):
        found = (point.technical_indicators or {}).get("rsi")
        return None if found is None else COMPARE[sign](found, value)

    return Written(f"technical_indicators['rsi'] {sign} {value}", decide)


def one_of(name, values):
    listed = ", ".join(f"'{value}'" for value in values)
    return Written(f"{name} in ({listed})", lambda point: getattr(point, name) in values)


def stamped(sign, days):
    stamp = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days)
    return Written(
        f"timestamp {sign} '{stamp:%Y-%m-%d}'", lambda point: COMPARE[sign](point.timestamp, stamp)
    )


def negated(inner):
    def decide(point):
        found = inner.predicate(point)
        return None if found is None else not found

    return Written(f"not ({inner.sql})", decide)


def both(left, right):
    def decide(point):
        found = left.predicate(point), right.predicate(point)
        return False if False in found else None if None in found else True

    return Written(f"({left.sql}) and ({right.sql})", decide)


def either(left, right):
    def decide(point):
        found = left.predicate(point), right.predicate(point)
        return True if True in found else None if None in found else False

    return Written(f"({left.sql}) or ({right.sql})", decide)


def added(name, value, sign, limit):
    def decide(point):
        found = getattr(point, name)
        return None if found is None else COMPARE[sign](found + value, limit)

    return Written(f"{name} + {value} {sign} {limit}", decide)


signs, numbers = st.sampled_from(sorted(COMPARE)), st.sampled_from(NUMBERS)
number_names = st.sampled_from(["open", "close", "volume", "data_quality_score"])
conditions = st.recursive(
    st.one_of(
        st.builds(number, number_names, signs, numbers),
        st.builds(added, number_names, numbers, signs, numbers),
        st.builds(indicator, signs, numbers),
        st.builds(stamped, signs, st.integers(0, 12)),
        st.builds(one_of, st.just("symbol"), st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=2)),
        st.builds(
            one_of, st.just("timeframe"), st.lists(st.sampled_from(["1d", "1h"]), min_size=1, max_size=2)
        ),
        st.sampled_from(
            [
                Written("volume is null", lambda point: point.volume is None),
                Written("volume is not null", lambda point: point.volume is not None),
                Written("is_realtime", lambda point: point.is_realtime),
                Written("symbol like 'r%'", lambda point: point.symbol.startswith("r")),
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.builds(negated, inner), st.builds(both, inner, inner), st.builds(either, inner, inner)
    ),
    max_leaves=5,
)


# -- transforms: each by point, by batch and by frame ------------------------------------------------


def change(point):
    return point.revised(volume=99.0)


def change_frame(frame: pl.DataFrame):
    return frame.with_columns(volume=pl.lit(99.0))


def drop(point):
    return None if point.symbol == "B" else point


def drop_batch(batch: PointBatch):
    return batch.filter(pl.col("symbol") != "B")


def refuse(point):
    if point.symbol == "C":
        raise ValueError("C")
    return point


def refuse_batch(batch: PointBatch):
    if "C" in batch.frame["symbol"]:
        raise ValueError("C")
    return batch


TRANSFORMS = [(None, lambda point: point), (change, change), (change_frame, change)]
TRANSFORMS += [(drop, drop), (drop_batch, drop), (refuse, refuse), (refuse_batch, refuse)]


# -- destinations and routes ------------------------------------------------------------------------


class Memory:
    """Keeps points, each with its row number.

    A picky one refuses open == 1, naming the rows or, if it is vague, none at all.
    """

    name = None

    def __init__(self, picky=False, vague=False):
        self.picky, self.vague = picky, vague
        self.points, self.writes = [], []

    def open(self): ...
    def close(self): ...

    def write_batch(self, batch):
        refused = [row for row, point in enumerate(batch) if self.refuses(point)]
        if refused and self.vague:
            raise TerminalError("one of these")
        names = [int(row) for part in batch.parts for row in part.rows.positions]
        self.points += [named for named in zip(names, batch, strict=True) if not self.refuses(named[1])]
        self.writes.append(len(batch))
        if refused:
            raise TerminalError("these", rows=refused)

    def refuses(self, point):
        return self.picky and point.open == 1.0


@dataclass
class Rule:
    """A route as the model sees it."""

    condition: Written
    form: str
    transform: tuple[Any, Callable[[NormalizedDataPoint], NormalizedDataPoint | None]]
    memory: Memory
    enabled: bool
    batch_size: int | None
    priority: RoutePriority
    expected: list[tuple[int, NormalizedDataPoint]] = field(default_factory=list)

    def predicate(self, point):
        if self.form.startswith("raising") and point.symbol == "raises":
            raise LookupError(point.symbol)
        return self.condition.predicate(point)

    def written(self):
        if self.form == "sql":
            return self.condition.sql
        if self.form == "raising expression":
            known = pl.col("symbol").replace_strict(
                {symbol: True for symbol in SYMBOLS if symbol != "raises"}
            )
            return known & translate(self.condition.sql)
        return self.predicate

    def route(self, route_id):
        return Route(
            route_id=route_id,
            condition=self.written(),
            destination=self.memory,
            transform=self.transform[0],
            enabled=self.enabled,
            batch_size=self.batch_size,
            priority=self.priority,
        )


rules = st.builds(
    Rule,
    condition=conditions,
    form=st.sampled_from(["sql", "sql", "callable", "raising callable", "raising expression"]),
    transform=st.sampled_from(TRANSFORMS),
    memory=st.builds(Memory, picky=st.booleans(), vague=st.booleans()),
    enabled=st.sampled_from([True, True, True, False]),
    batch_size=st.sampled_from([None, 1, 3]),
    priority=st.sampled_from(RoutePriority),
)


@st.composite
def batches(draw):
    count = draw(st.integers(0, 12))
    return [
        NormalizedDataPoint(
            timestamp=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day),
            open=draw(st.sampled_from([0.5, 1.0, 3.5])),
            high=5.0,
            low=0.5,
            close=draw(st.sampled_from([0.5, 1.0, 2.0, 4.0])),
            volume=draw(st.sampled_from([None, 0.0, 1.0, 3.5])),
            symbol=draw(st.sampled_from(SYMBOLS)),
            asset_class="crypto",
            timeframe=draw(st.sampled_from(["1d", "1h"])),
            source="a",
            data_quality_score=draw(st.sampled_from([0.0, 0.5, 1.0])),
            is_realtime=draw(st.booleans()),
            technical_indicators=draw(st.sampled_from([None, {"rsi": 0.5}, {"rsi": 2.0, "macd": 1.0}])),
        )
        for day in range(count)
    ]


# -- the model --------------------------------------------------------------------------------------


def model(rules, points, has_default):
    """Route point by point; fill `expected` of every rule; return the results and the default's points."""
    results = {"routed": 0, "routes_matched": Counter(), "skipped": 0, "errors": []}
    rest = []
    for row, point in enumerate(points):
        outcomes = [decide(rule, row, point) for rule in rules]
        for number_, outcome in enumerate(outcomes):
            if outcome.endswith("error"):
                results["errors"].append((f"r{number_}", outcome, row))
            if outcome not in ("condition_error", "no match"):
                results["routes_matched"][f"r{number_}"] += 1
        results["routed"] += any(outcome not in ("condition_error", "no match") for outcome in outcomes)
        if all(outcome == "no match" for outcome in outcomes):
            results["skipped"] += 1
            rest += [(row, point)] if has_default else []
    return results, rest


def decide(rule, row, point):
    try:
        verdict = rule.enabled and rule.predicate(point)
    except LookupError:
        return "condition_error"
    if not verdict:
        return "no match"
    try:
        made = rule.transform[1](point)
    except ValueError:
        return "transform_error"
    if made is None:
        return "dropped"
    if rule.memory.refuses(made):
        return "destination_error"
    rule.expected.append((row, made))
    return "delivered"


@settings(max_examples=300, deadline=None)
@given(st.lists(rules, max_size=5), batches(), st.booleans())
def test_router_does_what_a_loop_over_points_would_do(rules, points, has_default):
    expected, rest = model(rules, points, has_default)
    default = Memory() if has_default else None
    router = DataRouter([rule.route(f"r{n}") for n, rule in enumerate(rules)], default, enable_parallel=False)

    found = router.route(points)

    assert (found["routed"], found["skipped"]) == (expected["routed"], expected["skipped"])
    assert found["routes_matched"] == dict(expected["routes_matched"])
    for rule in rules:
        assert rule.memory.points == rule.expected
        assert rule.batch_size is None or all(size <= rule.batch_size for size in rule.memory.writes)
    assert default is None or default.points == rest
    errors = [(error["route_id"], error["type"], row) for error in found["errors"] for row in error["rows"]]
    assert sorted(errors) == sorted(expected["errors"])
