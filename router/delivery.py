"""Delivery: how the rows that routes took get to their destinations."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import RLock
from typing import Any, Protocol

from router.batch import PointBatch
from router.conditions import said
from router.errors import TerminalError
from router.matching import Matches
from router.preparing import Stage, prepare
from router.route import Destination, Route
from router.rows import Rows
from router.series import History
from router.table import RouteTable

Refusals = Iterable[tuple[int, str]]


class Delivery(Protocol):
    """What a router hands matched batches to."""

    def deliver(
        self, batch: PointBatch, matches: Matches, table: RouteTable, context: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Deliver every selection, or take it into safe keeping; return what failed (`error_entries`)."""

    def flush(self, table: RouteTable) -> None:
        """Deliver what waits for its batch to fill."""


def error_entries(route_id: str, kind: str, destination: str, refusals: Refusals) -> list[dict[str, Any]]:
    """Return one entry for each message, with the rows it was said of.

    Args:
        route_id: The route whose rows they are.
        kind: ``condition_error``, ``validation_error``, ``transform_error``, ``late_error`` or
            ``destination_error``.
        destination: The name of the route's destination.
        refusals: Row and message of each.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, message in refusals:
        rows[message].append(row)
    return [
        {"route_id": route_id, "type": kind, "error": message, "destination": destination, "rows": found}
        for message, found in rows.items()
    ]


class DirectDelivery:
    """Delivers in the caller's process before it returns, for tests and notebooks.

    Routes are served by priority. Writes hold exactly `batch_size` points, the rest of them at once:
    nothing waits, so neither `batch_timeout` nor `rate_limit` has an effect. Retries follow each other
    without a pause. What cannot be delivered is reported and forgotten: a crash loses what was on
    its way, which is what the fleet is for.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._opened: dict[int, Destination] = {}
        self._windows: dict[tuple[str, Stage], History] = {}

    def deliver(
        self, batch: PointBatch, matches: Matches, table: RouteTable, context: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Transform and write every selection; return what failed, by route."""
        with self._lock:
            errors = []
            for route in table.by_priority():
                rows = matches.selections.get(route.route_id)
                if rows is not None:
                    errors += self._deliver_route(route, batch, rows, table.destination_name(route.route_id))
            return errors

    def flush(self, table: RouteTable) -> None:
        """Do nothing: nothing waits here."""

    def close(self) -> None:
        """Close every destination that was opened; one that is written again is opened again."""
        with self._lock:
            for destination in list(self._opened.values()):
                self._forget(destination)

    def _deliver_route(self, route: Route, batch: PointBatch, rows: Rows, name: str) -> list[dict[str, Any]]:
        selected = batch.filter(Rows.all(len(batch)).within(rows)).for_route(route.route_id)
        prepared = prepare(route, selected, lambda stage, _: self._recalled(route, stage))
        transformed = prepared.transformed
        failed = ((int(rows.positions[row]), message) for row, message in transformed.failed)
        late = ((int(rows.positions[row]), message) for row, message in prepared.late)
        left = rows.positions[transformed.rows.positions]
        refused = ((int(left[row]), message) for row, message in self._write_all(route, transformed.batch))
        entries = [
            *error_entries(route.route_id, "late_error", name, late),
            *error_entries(route.route_id, "transform_error", name, failed),
            *error_entries(route.route_id, "destination_error", name, refused),
        ]
        for window in prepared.windows:
            self._windows[route.route_id, window.stage] = window.placed.after()
        return entries

    def _recalled(self, route: Route, stage: Stage) -> History:
        return self._windows.get((route.route_id, stage), History.empty())

    def _write_all(self, route: Route, batch: PointBatch) -> Iterator[tuple[int, str]]:
        size = route.batch_size or max(len(batch), 1)
        for start in range(0, len(batch), size):
            for row, message in self._write(route, batch[start : start + size]):
                yield start + row, message

    # Gives the rows that were not written.
    def _write(self, route: Route, batch: PointBatch) -> Refusals:
        message = ""
        for _ in range(1 + (route.max_retries if route.retry_on_failure else 0)):
            try:
                self._open(route.destination).write_batch(batch)
            except TerminalError as error:
                return self._refused(route, batch, error)
            except Exception as error:
                message = said(error)
                self._forget(route.destination)
            else:
                return []
        return [(row, message) for row in range(len(batch))]

    def _refused(self, route: Route, batch: PointBatch, error: TerminalError) -> Refusals:
        if error.rows is not None:
            return [(row, said(error)) for row in error.rows]
        if len(batch) == 1:
            return [(0, said(error))]
        half = len(batch) // 2
        low, high = self._write(route, batch[:half]), self._write(route, batch[half:])
        return [*low, *((half + row, message) for row, message in high)]

    def _open(self, destination: Destination) -> Destination:
        if id(destination) not in self._opened:
            destination.open()
            self._opened[id(destination)] = destination
        return destination

    def _forget(self, destination: Destination) -> None:
        if self._opened.pop(id(destination), None) is not None:
            with contextlib.suppress(Exception):  # it failed already, or is not needed any more
                destination.close()


_factory: list[Callable[[], Delivery]] = []


def install(factory: Callable[[], Delivery] | None) -> None:
    """Make routers deliver by what a factory gives; None: in the caller again.

    Routers that delivered before keep what they have.
    """
    _factory[:] = [] if factory is None else [factory]


def current() -> Delivery:
    """Return a delivery of the kind that was installed, or one that delivers in the caller."""
    return _factory[0]() if _factory else DirectDelivery()
