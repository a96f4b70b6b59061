"""Destinations are found by kind, or by the name of a class of the user's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

import destinations
from destinations import REGISTRY, DataDestination, load
from router.batch import PointBatch
from router.errors import ConfigError


class OwnDestination(DataDestination):
    """A user's own destination."""

    def write_batch(self, batch: PointBatch) -> None:
        """Take nothing."""


@pytest.mark.parametrize("kind", REGISTRY)
def test_registry_names_a_destination_for_every_kind(kind: str):
    found = load(kind)
    assert issubclass(found, DataDestination)
    assert found.__name__ in destinations.__all__


@pytest.mark.parametrize("name", destinations.__all__)
def test_package_has_everything_it_exports(name: str):
    assert getattr(destinations, name) is not None


def test_package_has_nothing_else():
    with pytest.raises(AttributeError, match="no attribute 'KafkaesqueDestination'"):
        _ = destinations.KafkaesqueDestination


def test_load_takes_the_path_of_a_class():
    assert load(f"{__name__}:OwnDestination") is OwnDestination


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("csv_fil", "destination.unknown", "did you mean 'csv_file'"),
        ("", "destination.unknown", "memory"),
        ("no.such.module:Class", "destination.import", "No module named 'no'"),
        (":Class", "destination.import", "Empty module name"),
        ("destinations.memory:MemoryDestinatio", "destination.unknown", "did you mean 'MemoryDestination'"),
        ("pathlib:Path", "destination.type", "not a subclass of DataDestination"),
        ("pathlib:os", "destination.type", "not a subclass of DataDestination"),
    ],
)
def test_load_says_what_is_wrong_with_a_kind(kind: str, code: str, message: str):
    with pytest.raises(ConfigError, match=message) as refusal:
        load(kind)
    assert refusal.value.code == code


def test_package_imports_no_destination_before_it_is_used():
    script = "import sys, destinations; sys.exit('destinations.csv_file' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
