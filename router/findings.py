"""Finding: something about routes that a person should know before a fleet runs them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Severity = Literal["error", "warning", "info"]

#: From what must be mended to what may be left.
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
        severity: ``error``: it does not do what it was written for. ``warning``: it may not. ``info``: it
            does, and this comes with it.
        code: What kind of thing it is, such as ``condition.never``.
        route_id: The route; empty: the file as a whole, or the fleet.
        field: The field of the route; empty: none by itself.
        message: What is so, in one sentence.
        suggestion: What to do about it; empty: nothing.
        where: File and line, where they are known.
    """

    severity: Severity
    code: str
    route_id: str
    field: str
    message: str
    suggestion: str = ""
    where: str = ""

    @property
    def about(self) -> str:
        """The route and its field, as ``csv_daily.condition``."""
        return ".".join(filter(None, (self.route_id, self.field)))


def worst_first(findings: Iterable[Finding], route_ids: Iterable[str]) -> list[Finding]:
    """Return findings from errors to infos; of each kind those of the file, then those of routes in order."""
    order = {route_id: index for index, route_id in enumerate(route_ids)}
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), order.get(one.route_id, -1)))
