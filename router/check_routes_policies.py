"""Find policies of routes that do not do what they seem to say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from router.findings import Finding, Severity
from router.route import Route

#: The share of its max_owed that a route delivers before the door it closed opens again.
_UNTIL_OPEN: Final = 0.2
#: Seconds: a door that stays closed for longer should surprise nobody.
_LONG: Final = 600.0


class Limits(NamedTuple):
    """What a fleet's settings say, in seconds."""

    retry_cap: float
    task_time_limit: float
    visibility_timeout: float
    turn: float  #: for which one task begins further writes


def check_policy(route: Route, limits: Limits | None) -> Iterator[Finding]:
    """Yield what is to be said of how one route is delivered; without limits, what holds in any fleet."""
    yield from _batches(route)
    yield from _owed(route)
    if route.retry_on_failure and route.max_retries == 0:
        message = "retry_on_failure is true and max_retries is 0: the first failure is the last"
        hint = "allow a retry, or say retry_on_failure=False"
        yield _found("warning", "retries.none", route, "max_retries", message, hint)
    if limits is not None:
        yield from _times(route, limits)


def small_writes(route: Route) -> str:
    """Return what is to be said of writes smaller than their destination advises; empty: nothing."""
    wanted, size = getattr(route.destination, "advised_batch_size", None), route.write_size
    if wanted is None or (size is not None and size >= wanted):
        return ""
    holds = "whatever waits" if size is None else f"{size:,} points"
    pays = f"{route.destination} pays for every write, and for reading it back"
    return f"a write holds {holds}, not the {wanted:,} points that it should: {pays}"


def _found(
    severity: Severity, code: str, route: Route, field: str, message: str, suggestion: str = ""
) -> Finding:
    return Finding(severity, code, route.route_id, field, message, suggestion)


def _batches(route: Route) -> Iterator[Finding]:
    size, rate = route.batch_size, route.rate_limit
    if route.write_size == size and (small := small_writes(route)):
        hint = "raise batch_size, and batch_timeout with it"
        yield _found("warning", "batch_size.small", route, "batch_size", small, hint)
    if size is None:
        if route.batch_timeout is not None:
            message = (
                f"batch_timeout {route.batch_timeout:g} has no effect: without a batch_size nothing waits"
            )
            yield _found(
                "info", "batch_timeout.idle", route, "batch_timeout", message, "give a batch_size too"
            )
        return
    if rate is not None and route.write_size != size:
        message = (
            f"a write holds {route.write_size:,} points, not the {size:,} of batch_size: with a rate_limit "
            f"of {rate:,.10g} points/s it holds those of one second"
        )
        hint = f"raise rate_limit to {size:,}, or lower batch_size"
        yield _found("warning", "rate_limit.below_batch_size", route, "rate_limit", message, hint)
    if route.max_owed is not None and route.max_owed < size:
        then = (
            "its oldest points become dead letters"
            if route.at_max_owed == "dead_letter"
            else "the door closes"
        )
        message = (
            f"max_owed {route.max_owed:,} is reached before a write of {size:,} points is full: "
            f"{then}, unless batch_timeout, {route.batch_timeout:g} s, comes first"
        )
        hint = "make max_owed several times the batch_size"
        yield _found("warning", "max_owed.below_batch_size", route, "max_owed", message, hint)


def _owed(route: Route) -> Iterator[Finding]:
    rate, most = route.rate_limit, route.max_owed
    if rate is None or route.at_max_owed == "dead_letter":
        return
    if most is None:
        message = (
            f"when more than {rate:,.10g} points/s come, what it owes grows until the fleet is full, "
            "which closes the door for every route"
        )
        hint = "give it a max_owed, and at_max_owed='dead_letter' if others must not wait for it"
        yield _found("info", "rate_limit.unbounded", route, "rate_limit", message, hint)
    elif (closed := _UNTIL_OPEN * most / rate) > _LONG:
        message = (
            f"when it owes its max_owed of {most:,} the door closes for every route, and at {rate:,.10g} "
            f"points/s it takes {_lasting(closed)} until a fifth is delivered and the door opens again"
        )
        hint = "raise rate_limit, lower max_owed, or let at_max_owed be 'dead_letter'"
        yield _found("warning", "rate_limit.fills", route, "rate_limit", message, hint)


def _times(route: Route, limits: Limits) -> Iterator[Finding]:
    if route.retry_delay > limits.retry_cap:
        message = (
            f"retry_delay {route.retry_delay:g} s is cut to CANDLEFLEET_RETRY_CAP, {limits.retry_cap:g} s"
        )
        hint = "raise the cap, or lower retry_delay"
        yield _found("warning", "retry_delay.above_cap", route, "retry_delay", message, hint)
    if route.batch_size and route.batch_timeout and route.batch_timeout > limits.visibility_timeout:
        message = (
            f"a point may wait {_lasting(route.batch_timeout)} for its write to fill, in Redis and in no "
            f"message: CANDLEFLEET_VISIBILITY_TIMEOUT, {limits.visibility_timeout:g} s, does not end it"
        )
        yield _found(
            "info", "batch_timeout.long", route, "batch_timeout", message, "`candlefleet flush` ends it"
        )
    timeout = getattr(route.destination, "timeout", None)
    if isinstance(timeout, int | float) and limits.turn + timeout > limits.task_time_limit:
        message = (
            f"a write may take {timeout:g} s and begin {limits.turn:g} s into its task, which is killed "
            f"after CANDLEFLEET_TASK_TIME_LIMIT, {limits.task_time_limit:g} s"
        )
        hint = f"lower the destination's timeout, or set the limit above {limits.turn + timeout:g} s"
        yield _found("warning", "timeout.above_task_limit", route, "destination", message, hint)


def _lasting(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s"
