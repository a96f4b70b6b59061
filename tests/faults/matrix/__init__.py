"""Every fault of the matrix, in the order of the table."""

from __future__ import annotations

from tests.faults.fault import Fault
from tests.faults.matrix import brokers, clocks, doors, files, kills, nudges, rabbits, troubles

FAULTS: tuple[Fault, ...] = (
    *kills.FAULTS,
    *files.FAULTS,
    *troubles.FAULTS,
    *doors.FAULTS,
    *nudges.FAULTS,
    *brokers.FAULTS,
    *rabbits.FAULTS,
    *clocks.FAULTS,
)
