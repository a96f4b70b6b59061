"""RoutesFile: what a routes file holds, whatever it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from router.route_tests import RouteTest
from router.table import RouteTable

#: What is said of a destination that a file describes for nothing.
UNUSED: Final = "no route goes there, and it is not the default: use it or take it out"


class RoutesFile(NamedTuple):
    """What a routes file holds.

    Attributes:
        table: The routes.
        tests: Their tests, by where they stand.
        unused: Where destinations stand to which nothing goes, by name.
    """

    table: RouteTable
    tests: Mapping[str, RouteTest]
    unused: Mapping[str, str] = MappingProxyType({})
