"""Fail points: named places at which a test makes the very process that reaches them die, stop or fail.

They do nothing unless `CANDLEFLEET_FAILPOINTS` names them, as in ``settle.before=kill:3,write.after=stop``:
what to do, and after how many times that this process has been there. A fleet's processes are started again,
so `CANDLEFLEET_FAILPOINTS_FIRED` may name a folder in which each point leaves a file when it fires; it does
not fire while that file is there.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from router.errors import ConfigError

VARIABLE: Final = "CANDLEFLEET_FAILPOINTS"
FIRED: Final = "CANDLEFLEET_FAILPOINTS_FIRED"


class FailPointError(RuntimeError):
    """What a fail point raises when it is told to raise; no code of ours expects it."""


def _signal(number: signal.Signals) -> Callable[[str], None]:
    def act(name: str) -> None:
        os.kill(os.getpid(), number)

    return act


def _raise(name: str) -> NoReturn:
    raise FailPointError(name)


def _hang(name: str) -> None:
    threading.Event().wait()


_ACTIONS: Final[dict[str, Callable[[str], None]]] = {
    "kill": _signal(signal.SIGKILL),
    "stop": _signal(signal.SIGSTOP),
    "segv": _signal(signal.SIGSEGV),
    "raise": _raise,
    "hang": _hang,
}


@dataclass(slots=True)
class FailPoint:
    """One named place: what to do there, and how many more times to pass it before."""

    act: Callable[[str], None]
    passes: int

    def reach(self, name: str, fired: Path | None) -> None:
        """Act, if it was passed often enough and no process of the fleet acted here before."""
        if self.passes > 0:
            self.passes -= 1
        elif fired is None or _first(fired / name):
            self.act(name)


def parse(text: str) -> dict[str, FailPoint]:
    """Return the fail points that a text names, such as ``settle.before=kill:3,write.after=stop``.

    Raises:
        ConfigError: ``failpoint``, for an action that is none, or a number of times that is none.
    """
    points = {}
    for entry in filter(None, text.split(",")):
        name, _, what = entry.partition("=")
        action, _, times = what.partition(":")
        if action not in _ACTIONS or not (times or "1").isdecimal():
            allowed = ", ".join(_ACTIONS)
            raise ConfigError("failpoint", VARIABLE, f"{entry!r} is not name=action:times, of {allowed}")
        points[name] = FailPoint(_ACTIONS[action], int(times or "1") - 1)
    return points


def reach(name: str) -> None:
    """Say that this process is at a named place; nearly always nothing happens."""
    if _POINTS and name in _POINTS:
        _POINTS[name].reach(name, _FOLDER)


def _first(marker: Path) -> bool:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True


_POINTS: Final = parse(os.environ.get(VARIABLE, ""))
_FOLDER: Final = Path(os.environ[FIRED]) if os.environ.get(FIRED) else None
