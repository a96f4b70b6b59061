"""Points a second that one core matches against 1 to 1000 routes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from benchmarks.bars import make_bars
from benchmarks.progress import say
from benchmarks.results import Figure, Goal
from benchmarks.script_peer import Point, light_points
from benchmarks.timing import alternate, environment, in_fresh_process
from destinations import MemoryDestination
from router.batch import PointBatch
from router.matching import match
from router.route import Route
from router.table import RouteTable
from workers.records import Debt, Verdict

T = TypeVar("T")

ROWS: Final = 10_000
MANY: Final = 1_000


def run(*, quick: bool) -> Iterator[Figure]:
    """Measure one number of routes after the other, each in a process whose Polars has one thread."""
    for routes in (1, 10, 100, 1000):
        say(f"matching: {ROWS:,} points, {routes:,} routes")
        with environment(POLARS_MAX_THREADS=1):
            ours, peer = in_fresh_process(measure, routes, 0.5 if quick else 2.0)
        yield Figure(
            case="matching", what=f"{routes:,} SQL routes, one core", unit="points/s", runs=ours,
            peer="lambdas, point by point", peer_runs=peer, headline=routes == 100,
        )  # fmt: skip
    goals = {"matched": Goal(450_000, "figure"), "and selections saved": Goal(220_000, "figure")}
    for kind in CONDITIONS:
        say(f"matching: {ROWS:,} points, {MANY:,} {kind}")
        for done, goal in goals.items():
            with environment(POLARS_MAX_THREADS=1):
                ours, peer = in_fresh_process(
                    measure_select, kind, 1.0 if quick else 10.0, saved=done != "matched"
                )
            yield Figure(
                case="matching", what=f"{MANY:,} {kind}, {done}, one core", unit="points/s", runs=ours,
                peer="one Polars select of all", peer_runs=peer, goal=goal,
            )  # fmt: skip


def conditions(count: int) -> list[tuple[str, Callable[[Point], bool]]]:
    """Return conditions of four kinds, each as SQL and as a lambda; after 40 they repeat."""
    kinds: list[Callable[[int], tuple[str, Callable[[Point], bool]]]] = [
        lambda n: (
            f"timeframe in ('1h', '4h', '1d') and close > {90 + n % 20}",
            lambda p: p.timeframe in ("1h", "4h", "1d") and p.close > 90 + n % 20,
        ),
        lambda n: (f"symbol = 'SYM{n % 10}'", lambda p: p.symbol == f"SYM{n % 10}"),
        lambda n: (f"high - low > 0.0{n % 10}", lambda p: p.high - p.low > n % 10 / 100),
        lambda n: (
            f"asset_class = 'crypto' and volume between {n % 50} and {n % 50 + 20}",
            lambda p: p.asset_class == "crypto" and n % 50 <= p.volume <= n % 50 + 20,
        ),
    ]
    return _in_turn(kinds, count)


def differing(count: int) -> list[str]:
    """Return conditions of four kinds as SQL, of which no two are equal."""
    kinds: list[Callable[[int], str]] = [
        lambda n: f"timeframe in ('1h', '4h', '1d') and close > {90 + n / 50}",
        lambda n: f"symbol = 'SYM{n % 10}' and low < {90 + n / 50}",
        lambda n: f"high - low > {n / 10_000}",
        lambda n: f"asset_class = 'crypto' and volume between {n / 20} and {n / 20 + 20}",
    ]
    return _in_turn(kinds, count)


def patterned(count: int) -> list[str]:
    """Return conditions of four kinds as SQL, patterns and terms among them, of which no two are equal."""
    kinds: list[Callable[[int], str]] = [
        lambda n: f"symbol like '%{n}%'",
        lambda n: f"symbol like 'SYM%{n}' and abs(close / open - 1) > {n / 1_000_000}",
        lambda n: f"volume * close > {3.7 * n}",
        lambda n: f"timeframe <> '1m' and (high - low) / close >= {n / 1_000_000}",
    ]
    return _in_turn(kinds, count)


def _in_turn(kinds: Sequence[Callable[[int], T]], count: int) -> list[T]:
    return [kinds[number % len(kinds)](number) for number in range(count)]


#: What is measured beside one select, as SQL.
CONDITIONS: Final[dict[str, Callable[[int], list[str]]]] = {
    "mixed conditions": lambda count: [sql for sql, _ in conditions(count)],
    "conditions that all differ": differing,
    "patterns and terms that all differ": patterned,
}


def measure_select(kind: str, seconds: float, *, saved: bool) -> tuple[list[float], list[float]]:
    """Return the points/s of all conditions of a kind over all points, by `match` and by one Polars select.

    `saved`: with what the store is given, every selection encoded; the select saves nothing.

    Raises:
        RuntimeError: They do not match the same rows.
    """
    batch, table = PointBatch(make_bars(ROWS, mixed=True)), route_table(CONDITIONS[kind](MANY))
    exprs = {route.route_id: route.compiled.expr for route in table}

    def ours() -> int:
        matches = match(table, batch)
        if saved:
            debts = [Debt(route_id, rows, None) for route_id, rows in matches.selections.items()]
            Verdict("batch", debts, matches.routed, len(matches.unmatched), 0).arguments()
        return len(batch)

    def peer() -> int:
        batch.frame.select(**exprs)
        return len(batch)

    found = {name: rows.positions.tolist() for name, rows in match(table, batch).selections.items()}
    selected = {column.name: column.arg_true().to_list() for column in batch.frame.select(**exprs)}
    if found != {name: rows for name, rows in selected.items() if rows}:
        raise RuntimeError("match and select do not find the same rows")
    return alternate(ours, peer, seconds=seconds)


def measure(routes: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the points/s of all conditions over all points, by columns and by lambdas.

    Raises:
        RuntimeError: They do not match the same rows.
    """
    batch = PointBatch(make_bars(ROWS, mixed=True))
    points, pairs = light_points(batch), conditions(routes)
    table = route_table([sql for sql, _ in pairs])
    by_columns = {name: rows.positions.tolist() for name, rows in match(table, batch).selections.items()}
    by_lambdas = {f"r{n}": rows for n, rows in enumerate(_loop(points, pairs)) if rows}
    if by_columns != by_lambdas:
        raise RuntimeError("SQL and lambdas do not match the same rows")

    def ours() -> int:
        match(table, batch)
        return len(batch)

    def peer() -> int:
        _loop(points, pairs)
        return len(points)

    return alternate(ours, peer, seconds=seconds)


def route_table(sql: list[str]) -> RouteTable:
    """Return a table of routes `r0`, `r1`, … with these conditions."""
    nowhere = MemoryDestination(name="nowhere")
    return RouteTable(
        Route(route_id=f"r{number}", condition=text, destination=nowhere) for number, text in enumerate(sql)
    )


def _loop(points: list[Point], pairs: list[tuple[str, Callable[[Point], bool]]]) -> list[list[int]]:
    return [[row for row, point in enumerate(points) if holds(point)] for _, holds in pairs]
