"""One crew for all tests of this folder that need workers, started for the first of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet_fixture import Crew, crew_at_work


@pytest.fixture(scope="package")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `fleet_routes.py`."""
    routes = Path(__file__).with_name("fleet_routes.py")
    with crew_at_work(tmp_path_factory.mktemp("crew"), routes, without=["late"]) as at_work:
        yield at_work
