"""Tell from a transform whether it needs the bars before its points, and how many."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any, Final

from router.errors import ConfigError
from router.indicator_windows import history_for
from router.indicators import TOLERANCE, Indicator, indicators
from router.series import SeriesPolicy

#: The method of points and batches that asks for indicators.
_METHOD: Final = "enrich_with_indicators"


def transform_history(transform: object) -> SeriesPolicy | None:
    """Return what a transform needs of the bars before; None: nothing, as far as can be told.

    It says so by an attribute `history`, or its own code names `enrich_with_indicators`. Then it needs what
    those indicators do that are named there too, or else the default ones.
    """
    policy = getattr(transform, "history", None)
    if isinstance(policy, SeriesPolicy):
        return policy
    codes = list(_codes(transform)) if callable(transform) else []
    if not any(_METHOD in (*code.co_names, *_texts(code.co_consts), code.co_name) for code in codes):
        return None
    named = tuple(text for code in codes for text in _texts(code.co_consts) if _is_indicator(text))
    return history_for(indicators(named), TOLERANCE)


# The code of a callable, and of what it was made of or is made in it.
def _codes(transform: Any) -> Iterator[CodeType]:
    if isinstance(transform, functools.partial):
        yield from _codes(transform.func)
        return
    for function in (transform, inspect.unwrap(transform), type(transform).__call__):
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            yield from _nested(code)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _texts(constants: tuple[object, ...]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from _texts(constant)


def _is_indicator(text: str) -> bool:
    try:
        Indicator.of(text)
    except ConfigError:
        return False
    return True
