"""YAML text becomes plain values that know their lines, or is refused with the place and the reason."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from router.errors import RoutesFileError
from router.problems import Problems
from router.yaml_text import MOST_BYTES, read_yaml, scalar


def read(text: str | bytes) -> object:
    """Return what a file holds; fail if anything is wrong with it."""
    problems = Problems("routes.yaml")
    value = read_yaml(text if isinstance(text, bytes) else text.encode(), problems)
    problems.raise_any()
    return value


def refusals(text: str | bytes) -> list[str]:
    """Return what is wrong with a file."""
    with pytest.raises(RoutesFileError) as refusal:
        read(text)
    return [str(problem) for problem in refusal.value.problems]


WORDS = """\
    NO no on off yes Y 1:30 1_000 007 0o17 0x1F 2024-01-01 2024-01-01T00:00:00Z 1.2.3 = BRK.B ^GSPC 1d 1e
    nan inf NULLS + . 1e5m
"""


@pytest.mark.parametrize("word", WORDS.split())
def test_word_that_is_no_number_of_json_stays_text(word):
    assert read(f"a: {word}\nb: [{word}]") == {"a": word, "b": [word]}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *{"1": 1, "-7": -7, "+7": 7, "0": 0, "true": True, "FALSE": False}.items(),
        *{"1.5": 1.5, ".5": 0.5, "5.": 5.0, "1e3": 1e3, "1.5e-3": 0.0015, ".inf": math.inf}.items(),
        *{"-.INF": -math.inf, "~": None, "null": None, "": None}.items(),
    ],
)
def test_word_of_json_has_its_value(word, value):
    (found,) = read(f"a: {word}").values()
    assert (found, type(found)) == (value, type(value))


def test_not_a_number_is_a_number():
    assert math.isnan(read("a: .nan")["a"])


@pytest.mark.parametrize("text", ["'5'", '"5"', "!!str 5", "! 5", "|-\n  5", ">-\n  5"])
def test_what_is_quoted_is_text(text):
    assert read(f"a: {text}") == {"a": "5"}


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=50))
def test_scalar_never_fails_and_tells_text_from_json_numbers(text):
    assert isinstance(scalar(text), str | int | float | None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("aé日 :#'\"{}\n-"),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("ab:# '", max_size=5), inner, max_size=4)
        ),
        max_leaves=15,
    )
)
def test_what_a_yaml_writer_wrote_is_read_back(value):
    written = yaml.safe_dump({"value": value}, allow_unicode=True)
    if not any(word in written for word in ("!!", "&id")):
        assert read(written) == {"value": value}


def test_byte_order_mark_and_line_ends_of_any_system_are_no_part_of_the_text():
    assert read("\ufeffa: 1\r\nb:\r\n  - x\r\n".encode()) == {"a": 1, "b": ["x"]}


def test_aliases_and_merged_keys_are_put_in_and_own_keys_win():
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\none: {<<: *x, b: 5}\ntwo: {<<: [*x, *y]}\nthree: *x"
    assert read(text) | {"x": 0, "y": 0} == {
        "x": 0,
        "y": 0,
        "one": {"a": 1, "b": 5},
        "two": {"a": 1, "b": 2, "c": 4},
        "three": {"a": 1, "b": 2},
    }


def test_every_value_knows_its_line():
    problems = Problems("routes.yaml")
    read_yaml(b"# a comment\na:\n  b: |\n    x\n    y\n  c:\n  - 1\n  - {d: 2,\n     e: 3}\n", problems)
    assert {path: line for path, (line, _) in problems.places.items()} == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 6,
        ("a", "c", 0): 7,
        ("a", "c", 1): 8,
        ("a", "c", 1, "d"): 8,
        ("a", "c", 1, "e"): 9,
    }


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED_LAUGHS = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b} {{<<: [{','.join(['*' + a] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
SECOND = "a second document begins here: write each into a file of its own"
NOT_PLAIN = "has a tag (!): only plain values are read from this file [yaml.tag]"
BAD = [
    ("", "routes.yaml: is empty: a routes file has at least `routes:` [yaml.empty]"),
    ("# nothing\n\n", "routes.yaml: is empty: a routes file has at least `routes:` [yaml.empty]"),
    ("a: !!python/object/apply:os.system [id]", f"routes.yaml:1: a: {NOT_PLAIN}"),
    ("a:\n- !!python/name:os.system", f"routes.yaml:2: a[0]: {NOT_PLAIN}"),
    ("a: !!timestamp 2024-01-01", f"routes.yaml:1: a: {NOT_PLAIN}"),
    ("a: !secret x", f"routes.yaml:1: a: {NOT_PLAIN}"),
    ("a: !!binary aGk=", f"routes.yaml:1: a: {NOT_PLAIN}"),
    ("a: 1\nb: 2\na: 3", "routes.yaml:3:1: a: 'a' was given before, in line 1 [yaml.duplicate_key]"),
    ("a: 1\n'a': 2", "routes.yaml:2:1: a: 'a' was given before, in line 1 [yaml.duplicate_key]"),
    ("a: {b: 1, b: 1}", "routes.yaml:1:11: a.b: 'b' was given before, in line 1 [yaml.duplicate_key]"),
    ("1: x", "routes.yaml:1:1: a key is text, and 1 is not: put it in quotes [yaml.key]"),
    ("? [a]\n: x", "routes.yaml:1:3: a key is text, and a list, a mapping or a tag is not [yaml.key]"),
    ("a: {<<: 3}", "routes.yaml:1:9: a['<<']: merges mappings, and this is none [yaml.merge]"),
    ("a: 1\n---\nb: 2", f"routes.yaml:2:1: {SECOND} [yaml.documents]"),
    (b"a: 1\nb: '\xe9'", "routes.yaml:2:5: is not UTF-8: save it as UTF-8 [file.encoding]"),
    ("a: 1".encode("utf-16"), "routes.yaml:1:1: is not UTF-8: save it as UTF-8 [file.encoding]"),
    ("a: 1\nb: x\x07y", r"routes.yaml:2:5: holds '\x07', which YAML does not allow [yaml.syntax]"),
    (b"#" * (MOST_BYTES + 1), "routes.yaml: 16,777,217 bytes are more than 16,777,216 [file.size]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), BAD, ids=[line[:60] for _, line in BAD])
def test_file_is_refused_with_place_and_reason(text, line):
    assert refusals(text) == [line]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a: 1\nb: [1,\nc: 2", "2:4", "did not find expected"),
        ("a: b: c", "1:5", "put a text that holds ': ' in quotes"),
        ("a:\n\t- x", "2:1", "indent with spaces"),
        ("a: @x", "1:4", "put a text that begins so in quotes"),
        ("a: 'x", "1:4", "unexpected end of stream while scanning a quoted scalar: close the quote"),
        ("a:\n- b: 'x\n  c: d\n\n", "2:6", "close the quote"),
        ("a: 'x' = b", "1:8", "put a text that begins with a quote wholly in others"),
        ("a: > 5", "1:6", "put a text that begins with > or | in quotes"),
        ("a: *b", "1:4", "this alias (*) has no anchor (&) before it"),
        ("- a\nb: 1", "2:1", "did not find expected"),
        ("%YAML 9.9\n---\na: 1", "1:1", "incompatible"),
    ],
)
def test_text_that_is_not_yaml_is_refused_with_line_and_column(text, place, reason):
    (line,) = refusals(text)
    assert line.startswith(f"routes.yaml:{place}: ")
    assert reason in line
    assert line.endswith("[yaml.syntax]")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[" * 100_000, "yaml.depth"),
        ("a: " + "{b: " * 41 + "1" + "}" * 41, "yaml.depth"),
        (LAUGHS, "yaml.aliases"),
        (MERGED_LAUGHS, "yaml.aliases"),
        ("a: &a [*a]", "yaml.aliases"),
        ("a: &a {b: {c: *a}}", "yaml.aliases"),
        ("a: &a {<<: *a}", "yaml.aliases"),
        ("a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(10_000)), "yaml.aliases"),
    ],
    ids=[
        "brackets",
        "mappings",
        "laughs",
        "merged laughs",
        "itself",
        "in itself",
        "merged in itself",
        "chain",
    ],
)
def test_file_that_would_not_end_is_refused(text, code):
    (line,) = refusals(text)
    assert line.endswith(f"[{code}]")


def test_mistake_in_what_aliases_repeat_is_said_once():
    assert len(refusals("a: &a {b: 1, b: 2}\nc: *a\nd: *a\ne: {<<: *a}")) == 1


def test_ten_thousand_routes_are_read():
    text = "routes:\n" + "".join(f"  - {{route_id: r{n}, condition: 'close > {n}'}}\n" for n in range(10_000))
    assert len(read(text)["routes"]) == 10_000
