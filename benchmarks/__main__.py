"""The command line: `python -m benchmarks [--only CASE] [--quick] [--output FILE]`."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.load import TOLERABLE, Others
from benchmarks.machine import describe
from benchmarks.progress import say
from benchmarks.results import Figure, headlines, markdown, save

CASES: Final = (
    "matching",
    "encoders",
    "datasets",
    "delta",
    "training",
    "sql",
    "review_queue",
    "kafka",
    "influxdb",
    "rabbitmq",
    "redis_stream",
    "websocket",
    "memory",
    "producer",
    "flush",
    "limits",
    "policies",
    "latency",
    "end_to_end",
)  # the short ones first
LONGEST: Final = 15 * 60  #: seconds after which the whole run is given up
RESULTS: Final = Path(__file__).parent / "results"


class OutOfTime(Exception):  # noqa: N818  # what is measured by then is kept
    """The run has lasted `LONGEST` seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases, print their tables and keep them as JSON; 1 if a case failed."""
    options = _options(arguments)
    _end_in_time()
    for name in [name for name in os.environ if name.startswith("CANDLEFLEET_")]:
        del os.environ[name]  # a benchmark never touches the fleet its user may have configured
    machine, began = describe(), time.monotonic()
    figures, failed, taken = _run(options.only or CASES, quick=options.quick)
    machine |= {f"cores taken by others, {case}": share for case, share in taken.items()}
    path = options.output or RESULTS / f"{time.strftime('%Y-%m-%dT%H%M%S')}.json"
    save(path, machine, figures)
    print("\n".join(f"- {name}: {value}" for name, value in machine.items()), end="\n\n")
    busy = {case for case, share in taken.items() if "BUSY" in share}
    print(markdown(figures, busy), end="\n\n")
    print(headlines(figures))
    say(f"{time.monotonic() - began:.0f} s; figures kept in {os.path.relpath(path)}")
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _run(cases: Sequence[str], *, quick: bool) -> tuple[list[Figure], list[str], dict[str, str]]:
    figures: list[Figure] = []
    failed, taken = [], {}
    for name in cases:
        with Others() as others:
            try:
                for figure in importlib.import_module(f"benchmarks.{name}").run(quick=quick):
                    say(f"  = {figure}")
                    figures.append(figure)
            except OutOfTime:
                return figures, [*failed, *cases[cases.index(name) :]], taken
            except Exception:  # one case that breaks must not take the figures of the others along
                traceback.print_exc()
                failed.append(name)
        if others.share is not None:
            busy = ": BUSY, its figures are not to be trusted" if others.share > TOLERABLE else ""
            taken[name] = f"{others.share:.0%}{busy}"
            say(f"{name}: others took {taken[name]}")
    return figures, failed, taken


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=CASES, action="append", help="run this case; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer points and rounds, for a first look")
    parser.add_argument("--output", type=Path, help="where the JSON goes; default: benchmarks/results/")
    return parser.parse_args(arguments)


# Both end the run as an exception does, so that what was started is stopped and the folders go.
def _end_in_time() -> None:
    def give_up(_number: int, _frame: object) -> None:
        raise SystemExit("benchmarks: ended by SIGTERM")

    def run_out(_number: int, _frame: object) -> None:
        raise OutOfTime(f"{LONGEST} s have passed")

    signal.signal(signal.SIGTERM, give_up)
    signal.signal(signal.SIGALRM, run_out)
    signal.alarm(LONGEST)


if __name__ == "__main__":
    sys.exit(main())
