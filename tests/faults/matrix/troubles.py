"""Destinations that answer badly, late or not at all, and points that kill whoever writes them."""

from __future__ import annotations

import signal

import polars as pl

from tests.acceptance.fleet_fixture import until
from tests.faults.fault import Fault
from tests.faults.scene import Scene, Throughput, family, send_signal
from tests.faults.send_batches import make_bars
from tests.make import make_values
from workers.producer import Producer

#: As they are called in `scene_routes.TROUBLES`; of several each write meets the next.
KINDS = (
    *("reset_before", "reset_after", "partly_written", "unforeseen", "away", "away_for_a_while"),
    *("locked_out", "refused", "refused_in_part", "slow"),
    *("reset_after refused_in_part", "partly_written refused", "reset_after away reset_after"),
)


def bad_answer(scene: Scene, turn: int) -> str:
    """Let the next writes fail in one of the ways a destination knows.

    What failed before is delivered first: a part that has met them all is given up, though it may be written.
    """
    until(lambda: not scene.errors(), "nothing waits for another attempt", every=0.005)
    kind = KINDS[turn % len(KINDS)]
    planned = [scene.plan_trouble(trouble) for trouble in kind.split()]
    until(lambda: not any(path.exists() for path in planned), f"writes met {kind}", within=40, every=0.005)
    return kind.replace(" ", ", ")


FROZEN_FOR = 20.0  #: seconds


def frozen(scene: Scene, turn: int) -> str:
    """Freeze one destination for 20 seconds, and count what the others write before and meanwhile."""
    usual = scene.throughput(5.0)
    pids = family(scene.leader("troubled"))
    for pid in pids:
        send_signal(pid, signal.SIGSTOP)
    try:
        scene.rest(0.5)
        meanwhile = scene.throughput(FROZEN_FOR - 0.5)
    finally:
        for pid in pids:
            send_signal(pid, signal.SIGCONT)
    scene.frozen = [Throughput(name, rate, meanwhile[name]) for name, rate in usual.items()]
    return f"troubled for {FROZEN_FOR:g} s"


#: What a poisoned point does to the process that writes it; the slow ones once.
POISONS = ("CRASH", "CRASH", "CRASH", "DEVOUR", "CRASH", "LOOP")


def poison(scene: Scene, turn: int) -> str:
    """Send a point that kills its writer, in one batch with others that must not die with it."""
    symbol = POISONS[turn % len(POISONS)]
    scene.feeder.pause()
    until(lambda: not scene.feeder.unacknowledged(), "what was sent is acknowledged")
    rows = scene.feeder.reserve(10)
    one = make_bars(0, 1, f"{scene.feeder.source}-{turn}").with_columns(symbol=pl.lit(symbol))
    with Producer(scene.redis.url) as producer:
        producer.send_batch(pl.concat([make_bars(rows.start, rows.stop, scene.feeder.source), one]))
    scene.feeder.resume()
    until(lambda: _died(scene, symbol, turn), f"{symbol} is a dead letter", within=120, every=0.1)
    return symbol


def _died(scene: Scene, symbol: str, turn: int) -> bool:
    letters = scene.answered(lambda: list(scene.store.letters(1000))) or []
    source = f"{scene.feeder.source}-{turn}"
    return any(
        letter["original"]["symbol"] == symbol and letter["original"]["source"] == source
        for letter in letters
        if isinstance(letter["original"], dict)
    )


#: Each of these is refused at the door, alone, with its reasons.
BAD = (
    {"open": float("nan")},
    {"high": float("inf")},
    {"low": -1.0},
    {"close": 0.0},
    {"close": "42000 dollars"},
    {"high": 1.0},
    {"volume": -1.0},
    {"volume": "many"},
    {"symbol": ""},
    {"symbol": "x" * 100_000},
    {"symbol": None},
    {"source": ["a", "b"]},
    {"timeframe": "3 weeks"},
    {"asset_class": "tulips"},
    {"timestamp": "yesterday"},
    {"timestamp": "2024-01-01T00:00:00"},
    {"timestamp": 1e300},
    {"data_quality_score": 1.5},
    {"technical_indicators": "rsi"},
    {"is_realtime": "perhaps"},
)


def bad_input(scene: Scene, turn: int) -> str:
    """Send a point that is none, between two that are."""
    bad = make_values(**BAD[turn % len(BAD)])
    good = [make_values(row, source=f"{scene.feeder.source}-{turn}") for row in range(2)]
    with Producer(scene.redis.url) as producer:
        receipt = producer.send_batch([good[0], bad, good[1]])
    assert (receipt.accepted, len(receipt.refused)) == (2, 1), f"{BAD[turn % len(BAD)]}: {receipt}"
    return ", ".join(BAD[turn % len(BAD)])


FAULTS = (
    Fault("destination resets, is away, refuses", bad_answer),
    Fault("destination frozen for 20 s", frozen, injections=1),
    Fault("poison: crash, memory, endless loop", poison, injections=len(POISONS)),
    Fault("malformed input", bad_input),
)
