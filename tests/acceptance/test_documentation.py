"""What the documentation shows is run, so that it stays true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from destinations import load_routes_file
from router.run_tests import run_test
from tests.acceptance.fleet_fixture import CANDLEFLEET, clean_environment, run
from workers.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page and number, text) of every block of a language that is to be run."""
    return [
        (f"{page.relative_to(ROOT)}:{number}", text)
        for page in PAGES
        for number, (kind, option, text) in enumerate(BLOCK.findall(page.read_text()))
        if kind == language and "no-run" not in option
    ]


def files_of(page: str) -> dict[str, str]:
    """Return the blocks of a page that are files, by the name they say: ```python file=routes.py."""
    found = BLOCK.findall((ROOT / page).read_text())
    return {option.partition("file=")[2]: text for _, option, text in found if "file=" in option}


@pytest.mark.parametrize(("name", "text"), [pytest.param(*block, id=block[0]) for block in blocks("console")])
def test_command_says_what_the_page_shows(name, text, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for file, content in files_of(name.partition(":")[0]).items():
        (tmp_path / file).write_text(content)
    for command, shown in re.findall(r"^\$ candlefleet (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        done = run([*CANDLEFLEET, *shlex.split(command)], clean_environment(COLUMNS="100"), tmp_path)
        assert [line.rstrip() for line in (done.stdout + done.stderr).splitlines()] == shown.splitlines()


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in blocks("python")])
def test_python_example_runs_as_it_stands(text, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in blocks("yaml")])
def test_yaml_example_is_a_routes_file_whose_tests_pass(text, tmp_path):
    (tmp_path / "routes.yaml").write_text(text)
    table, tests, _ = load_routes_file(tmp_path / "routes.yaml")
    assert len(table)
    assert [run_test(test, table) for test in tests.values()] == [[] for _ in tests]


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target for _, text in blocks("bash") for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
    }
    assert named
    assert named <= targets


@pytest.mark.parametrize(
    "command",
    sorted(
        {
            " ".join(found)
            for _, text in blocks("bash")
            for found in re.findall(r"^candlefleet ([a-z-]+)()", text, re.MULTILINE)
        }
    ),
)
def test_every_command_that_is_named_exists(command):
    done = subprocess.run(
        [sys.executable, "-c", "from workers.cli import main; main()", command.strip(), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_settings_page_lists_every_setting_and_its_default():
    rows = dict(
        re.findall(
            r"^\| `(CANDLEFLEET_\w+)` \| `?([^|`]+)`? ", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
        )
    )
    fields = {f"CANDLEFLEET_{name.upper()}": field.default for name, field in Settings.model_fields.items()}
    assert rows.keys() == fields.keys()
    plain = {name: value for name, value in fields.items() if value is not None}
    assert {name: rows[name].strip() for name in plain} == {
        name: str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
        for name, value in plain.items()
    }


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
