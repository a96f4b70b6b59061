"""What the tests of this folder share: one crew, started for the first that needs it, and the command."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.acceptance.fleet_fixture import Crew, Said, configured, crew_at_work
from tests.acceptance.one_process import named, naming
from workers import cli
from workers.report import report
from workers.store import Store


@pytest.fixture(scope="package")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Give a crew that serves the routes of `fleet_routes.py`."""
    routes = Path(__file__).with_name("fleet_routes.py")
    with crew_at_work(tmp_path_factory.mktemp("crew"), routes, without=["late"]) as at_work:
        yield at_work


@pytest.fixture
def candlefleet(monkeypatch, capsys) -> Callable[..., Said]:
    """Run the command in this process: ten times as fast as in one of its own."""

    def call(*arguments: str, environment: Mapping[str, str], stdin: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["candlefleet", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with configured(environment), pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture
def account(store: Store) -> Iterator[None]:
    """Check after the test that nothing was counted twice or forgotten."""
    yield
    assert report(store).broken == []
    assert named(store) == naming(store)
