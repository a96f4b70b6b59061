from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from router.column_names import columns_by_field
from router.errors import ConfigError, RoutesFileError
from router.layout import Layout
from router.mapping_file import read_mapping

ALL = {"symbol": "X", "timeframe": "1d", "asset_class": "equity", "source": "s"}
PRICES = ["open", "high", "low", "close"]
DOCS = Path(__file__).parents[2] / "docs" / "sending.md"


def fault(names: list[str], **said: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        columns_by_field(names, Layout(**said), "bars.csv")
    return str(caught.value)


@pytest.mark.parametrize(
    ("said", "where", "words"),
    [
        (
            {"columns": {"tmestamp": "x"}},
            "columns.tmestamp",
            "is no field of a point (did you mean 'timestamp'?)",
        ),
        ({"constants": {"simbol": "x"}}, "constants.simbol", "(did you mean 'symbol'?)"),
        ({"constants": {"close": "1"}}, "constants.close", "cannot be one value for a whole file"),
        ({"constants": {"asset_class": "equty"}}, "asset_class", "'equty' is not one of crypto, equity"),
        ({"constants": {"symbol": "a\\b"}}, "symbol", "contains a backslash"),
        ({"constants": {"data_quality_score": "2"}}, "data_quality_score", "is outside 0 to 1"),
        ({"zone": "Mars/Olympus"}, "tz", "'Mars/Olympus' is not a known time zone"),
        ({"fold": "first"}, "fold", "'first' is not one of earlier, later"),
        ({"unit": "sec"}, "unit", "'sec' is not one of s, ms, us, ns"),
        ({"stamp": "end"}, "stamp", "'end' is not one of open, close"),
    ],
)
def test_what_a_layout_cannot_say_is_named(said: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Layout(**said)
    assert caught.value.where == where
    assert words in caught.value.message


def test_a_layout_has_a_name_of_its_own_that_ids_are_made_of() -> None:
    assert Layout().key() == Layout(stamp="open").key() == ""
    said = [
        Layout(zone="UTC"),
        Layout(zone="UTC", fold="later"),
        Layout(unit="s"),
        Layout(stamp="close"),
        Layout(constants={"symbol": "SPY"}),
        Layout(constants={"symbol": "VOO"}),
        Layout(columns={"open": "a"}),
        Layout(columns={"open": "b"}),
    ]
    assert len({layout.key() for layout in said}) == len(said)
    one, other = {"symbol": "X", "source": "y"}, {"source": "y", "symbol": "X"}
    assert Layout(constants=one).key() == Layout(constants=other).key()


def test_columns_are_recognised_by_a_small_table_in_letters_of_any_size() -> None:
    yahoo = ["Date", "Open", "High", "Low", "Close", "Adj Close", "Volume"]
    assert columns_by_field(yahoo, Layout(constants=ALL), "") == {
        "timestamp": "Date",
        **{name: name.title() for name in PRICES},
        "volume": "Volume",
    }
    short = [" T ", "o", "H", "l", "C", "v", "ticker", "n", "vw"]
    found = columns_by_field(short, Layout(constants=ALL), "")
    assert list(found.items()) == list(zip(["timestamp", *PRICES, "volume", "symbol"], short, strict=False))


def test_two_columns_for_one_field_are_an_error_that_says_how_to_choose() -> None:
    names = ["Date", "Time", *PRICES, "Close"]
    assert fault(names, constants=ALL) == (
        "bars.csv: 'Date' and 'Time' may each be the timestamp: choose with --map timestamp=COLUMN; "
        "'close' and 'Close' may each be the close: choose with --map close=COLUMN [columns]"
    )
    chosen = {"timestamp": "Time", "close": "Close"}
    found = columns_by_field(names, Layout(columns=chosen, constants=ALL), "")
    assert (found["timestamp"], found["close"]) == ("Time", "Close")


def test_all_that_is_missing_is_named_at_once_with_what_gives_it() -> None:
    assert fault(["Date", "Opens", "High", "Low"], columns={"volume": "Vol."}) == (
        "bars.csv: has no column 'Vol.' (it has 'Date', 'Opens', 'High', 'Low'); "
        "has no column for open (did you mean 'Opens'?), close: "
        "name it, as in --map open=COLUMN (it has 'Date', 'Opens', 'High', 'Low'); "
        "does not say symbol, asset_class, timeframe, source: "
        "give --symbol, --asset-class, --timeframe, --source [columns]"
    )


def test_one_column_may_be_several_fields() -> None:
    columns = dict.fromkeys(PRICES, "nav")
    found = columns_by_field(["date", "nav"], Layout(columns=columns, constants=ALL), "")
    assert found == {**columns, "timestamp": "date"}


# -- mapping files -------------------------------------------------------------------------------


def mapping(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "m.yaml"
    path.write_text(text)
    return read_mapping(path)


def test_the_mapping_of_the_documentation_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml no-run\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    layout = Layout(**mapping(tmp_path, text))
    assert layout.columns == {"timestamp": "close_time", "volume": "Volume USDT"}
    assert layout.constants["timeframe"] == "1h"
    assert (layout.unit, layout.stamp) == ("ms", "close")


def test_plain_words_of_a_mapping_are_text(tmp_path: Path) -> None:
    found = mapping(
        tmp_path, "constants: {symbol: NO, timeframe: 1d, is_realtime: true}\ncolumns: {open: on}"
    )
    assert found == {
        "constants": {"symbol": "NO", "timeframe": "1d", "is_realtime": True},
        "columns": {"open": "on"},
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "colums:\n  open: o",
            ["1: colums: is none of columns, constants, tz, fold, unit, stamp (did you mean"],
        ),
        ("tz: UTC\ntz: UTC", ["2:1: tz: 'tz' was given before, in line 1 [yaml.duplicate_key]"]),
        ("columns: [a]", ["1: columns: is no mapping: write lines such as `columns:` and"]),
        ("tz: [a]", ["1: tz: is not text: put it in quotes [type]"]),
        ("columns:\n  open: 5", ["2: columns.open: is not text: put it in quotes [type]"]),
        ("constants: {symbol: 5}", ["1: constants.symbol: 5 is not text [type]"]),
        ("tz: !!python/object/apply:os.system [x]", ["1: tz: has a tag (!)"]),
        (
            "columns:\n  opn: o\nconstants:\n  timeframe: 7m\nstamp: clos\nunit: sec",
            [
                " 4 mistakes",
                "2: columns.opn: is no field of a point (did you mean 'open'?)",
                "4: constants.timeframe: '7m' is not one of",
                "5: stamp: 'clos' is not one of open, close (did you mean 'close'?)",
                "6: unit: 'sec' is not one of s, ms, us, ns",
            ],
        ),
    ],
)
def test_every_mistake_of_a_mapping_is_told_with_its_line(tmp_path: Path, text: str, told: list[str]) -> None:
    with pytest.raises(RoutesFileError) as caught:
        mapping(tmp_path, text)
    for line, words in zip(str(caught.value).splitlines(), told, strict=True):
        assert line.startswith(f"{tmp_path}/m.yaml:{words}")


def test_an_empty_mapping_says_nothing(tmp_path: Path) -> None:
    assert Layout(**mapping(tmp_path, "")) == Layout()


def test_a_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        read_mapping(tmp_path / "none.yaml")


def test_a_column_that_is_taken_is_not_suggested_and_those_that_there_are_are_named() -> None:
    said = fault(["t", "o", "h", "low", "c"], constants=ALL, columns={"high": "low", "volume": ""})
    assert "has no column '' (it has 't', 'o', 'h', 'low', 'c')" in said
    assert "has no column for low: name it, as in --map low=COLUMN" in said
