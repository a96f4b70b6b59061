"""Destinations that answer badly, late or not at all, and points that kill whoever writes them."""

from __future__ import annotations

import signal
import subprocess

import polars as pl

from tests.acceptance.fleet_fixture import CANDLEFLEET, until
from tests.faults.fault import Fault
from tests.faults.scene import Scene, Throughput, family, send_signal
from tests.faults.send_batches import make_bars
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


def replayed(scene: Scene, turn: int) -> str:
    """Let some rows be refused, and replay their dead letters once the destination takes them."""
    scene.plan_trouble("refused_in_part")
    refused = until(lambda: _letters(scene, scene.feeder.source), "some rows are dead letters", within=40)
    command = [*CANDLEFLEET, "dead-letters", "replay", *refused]
    done = subprocess.run(
        command, capture_output=True, text=True, env=scene.worker_environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    left = set(_letters(scene, scene.feeder.source))
    assert not left & set(refused), "a dead letter that was replayed is still there"
    return f"{len(refused)} letters"


def _letters(scene: Scene, source: str) -> list[str]:
    letters = scene.answered(lambda: list(scene.store.letters(100_000))) or []
    return [
        letter["id"]
        for letter in letters
        if isinstance(letter["original"], dict) and letter["original"].get("source") == source
    ]


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


#: What a poisoned point does to the process that writes it.
POISONS = ("CRASH", "CRASH", "CRASH", "DEVOUR", "CRASH", "LOOP")


def poison(scene: Scene, turn: int) -> str:
    """Send a point that kills its writer, in one batch with others that must not die with it.

    At the first turn points flow on behind it: every doubling of its part takes one death more to find it.
    At the others nothing else is sent until it is found: no other message makes anybody look for it.
    """
    symbol, source = POISONS[turn % len(POISONS)], f"{scene.feeder.source}-{turn}"
    found = lambda: _letters(scene, source)  # noqa: E731
    alone = turn > 0
    with scene.apart(10) as rows:
        if alone:
            until(lambda: not scene.in_flight(), "what was sent is delivered")
        one = make_bars(0, 1, source).with_columns(symbol=pl.lit(symbol))
        with Producer(scene.redis.url) as producer:
            producer.send_batch(pl.concat([make_bars(rows.start, rows.stop, scene.feeder.source), one]))
        if alone:
            until(found, f"{symbol} is a dead letter though nothing else was sent", within=120, every=0.1)
    until(found, f"{symbol} is a dead letter", within=120, every=0.1)
    return f"{symbol}{' alone' * alone}"


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
    changes = BAD[turn % len(BAD)]
    with scene.apart(2) as rows, Producer(scene.redis.url) as producer:
        before, after = make_bars(rows.start, rows.stop, scene.feeder.source).to_dicts()
        receipt = producer.send_batch([before, after | changes, after])
    assert (receipt.accepted, len(receipt.refused)) == (2, 1), f"{changes}: {receipt}"
    return ", ".join(changes)


FAULTS = (
    Fault("destination resets, is away, refuses", bad_answer),
    Fault("dead letters replayed", replayed, keeps_order=False),
    Fault("destination frozen for 20 s", frozen, injections=1),
    Fault("poison: crash, memory, endless loop", poison, injections=len(POISONS)),
    Fault("malformed input", bad_input),
)
