"""What somebody says on the command line of files of bars, and how they were understood."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from router.arrangement import Understood
from router.errors import ConfigError
from router.files import FORMATS
from router.layout import Layout
from router.mapping_file import read_mapping

Format = Annotated[str | None, typer.Option(help=f"{', '.join(FORMATS)}; by content and name otherwise.")]
Symbol = Annotated[str | None, typer.Option(help="The symbol, if the file has no column for it.")]
Timeframe = Annotated[str | None, typer.Option(help="The timeframe, such as 1d, likewise.")]
AssetClass = Annotated[str | None, typer.Option(help="The asset class, such as equity, likewise.")]
Source = Annotated[str | None, typer.Option(help="The source, likewise.")]
Maps = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FIELD=COLUMN", help="Which column holds a field, as in volume=qty."),
]
Mapping = Annotated[Path | None, typer.Option(help="A YAML file that says all this; options come before it.")]
Zone = Annotated[str | None, typer.Option("--tz", help="The time zone of timestamps that name none.")]
Fold = Annotated[
    str | None, typer.Option(help="earlier or later: which one, of a local time that comes twice.")
]
Unit = Annotated[str | None, typer.Option(help="s, ms, us or ns: what timestamps that are numbers count.")]
Stamp = Annotated[str | None, typer.Option(help="open or close: which end of its bar a timestamp is.")]

_SHOWN: Final = 20  # columns that are not used
_OVERRULED: Final = "not used: the file has a column for it, which counts"


def layout_of(
    mapping: Path | None,
    maps: Iterable[str] | None,
    constants: dict[str, str | None],
    words: dict[str, str | None],
) -> Layout:
    """Return what a mapping file and the options say together; the options come first.

    Raises:
        ConfigError: If something in either cannot be used.
    """
    found: dict[str, Any] = {} if mapping is None else read_mapping(mapping)
    found["columns"] = found.get("columns", {}) | _columns(maps or ())
    found["constants"] = found.get("constants", {}) | _given(constants)
    return Layout(**found | _given(words))


def described(understood: Understood) -> dict[str, str]:
    """Return how a file was read, in words: a title and a text for each thing that can be said."""
    renamed = [f"{name} from {column}" for name, column in understood.columns.items() if name != column]
    fixed = [f"{name} {value}" for name, value in understood.constants.items()]
    unused = list(understood.unused)
    said = {
        "format": understood.format,
        "columns": ", ".join(renamed),
        "constants": ", ".join(fixed),
        "timestamps": understood.time,
        "not used": ", ".join(unused[:_SHOWN] + ["…"] * (len(unused) > _SHOWN)),
        **{f"--{name.replace('_', '-')}": _OVERRULED for name in understood.overruled},
    }
    return {title: text for title, text in said.items() if text}


def _columns(maps: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in maps:
        field, equals, column = text.partition("=")
        if not equals:
            raise ConfigError("map.form", "--map", f"{text!r} is not FIELD=COLUMN, as in volume=qty")
        if field in found:
            raise ConfigError("map.twice", "--map", f"{field} is given twice")
        found[field] = column
    return found


def _given(values: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
