"""YAML text to plain values whose lines are known, with nothing in it that could mean two things.

Plain words are read as YAML 1.2 reads them: only ``true`` and ``false`` are Booleans; ``NO``, ``on``,
``1:30``, ``007`` and ``2024-01-01`` are text. Nothing but mappings, lists, text, numbers, Booleans and
null is ever made of a file: there is no constructor of anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from yaml.reader import Reader

from router.problems import KeyPath, Problems
from router.yaml_nodes import MOST_DEPTH, Node, read_nodes

MOST_BYTES: Final = 1 << 24
#: How many values a file may hold beyond those it writes out, by aliases.
MOST_BY_ALIAS: Final = 100_000

_WORDS: Final[dict[str, object]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,399})")
_NUMBER: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TEXT_TAGS: Final = ("!", "tag:yaml.org,2002:str")
_TAGS: Final = (*_TEXT_TAGS, "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")
_MERGE: Final = "<<"

_Pairs = list[tuple[Node, Node]]


def read_yaml(content: bytes, problems: Problems) -> Any:
    """Return the value a YAML file holds: mappings with text keys, lists and scalars.

    Mistakes that leave the rest readable are added to `problems`, which also learns every line.

    Raises:
        RoutesFileError: It cannot be read at all: ``file.encoding``, ``file.size``, ``yaml.syntax``,
            ``yaml.empty``, ``yaml.documents``, ``yaml.depth`` or ``yaml.aliases``.
    """
    root, count = read_nodes(_decoded(content, problems), problems)
    problems.lines[()] = root.at[0]
    return _Values(problems, most=count + MOST_BY_ALIAS).value(root, ())


def scalar(text: str) -> Any:
    """Return what a plain word stands for: text, a number, a Boolean or None."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


def _decoded(content: bytes, problems: Problems) -> str:
    if len(content) > MOST_BYTES:
        problems.stop("file.size", f"{len(content):,} bytes are more than {MOST_BYTES:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        problems.stop("file.encoding", "is not UTF-8: save it as UTF-8", at=_place(before.decode("latin-1")))
    if found := Reader.NON_PRINTABLE.search(text):
        message = f"holds {found[0]!r}, which YAML does not allow"
        problems.stop("yaml.syntax", message, at=_place(text[: found.start()]))
    return text


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


class _Values:
    def __init__(self, problems: Problems, most: int) -> None:
        self.problems = problems
        self.left = most
        self.open: set[int] = set()  # the nodes under way: what holds itself has no end

    def value(self, node: Node, path: KeyPath) -> Any:
        if node.tag is not None and node.tag not in _TAGS:
            self.problems.give_up(
                path, "yaml.tag", "has a tag (!): only plain values are read from this file"
            )
            return None
        with self._entered(node, path):
            if node.text is not None:
                return scalar(node.text) if node.plain else node.text
            return self._list(node.items, path) if node.pairs is None else self._mapping(node.pairs, path)

    @contextmanager
    def _entered(self, node: Node, path: KeyPath) -> Iterator[None]:
        self.left -= 1
        if self.left < 0 or id(node) in self.open or len(path) > MOST_DEPTH:
            message = (
                f"aliases (*) make more than {MOST_BY_ALIAS:,} values of it, or a value that holds itself"
            )
            self.problems.stop("yaml.aliases", message, at=node.at)
        self.open.add(id(node))
        try:
            yield
        finally:
            self.open.remove(id(node))

    def _list(self, items: list[Node], path: KeyPath) -> list[Any]:
        values = []
        for index, item in enumerate(items):
            self.problems.lines[*path, index] = item.at[0]
            values.append(self.value(item, (*path, index)))
        return values

    def _mapping(self, pairs: _Pairs, path: KeyPath) -> dict[str, Any]:
        values = {}
        for key, (line, value) in self._entries(pairs, path).items():
            self.problems.lines[*path, key] = line
            values[key] = self.value(value, (*path, key))
        return values

    # Line and value by key: a mapping's own, and of those it merges (<<) the ones it has not itself.
    def _entries(self, pairs: _Pairs, path: KeyPath) -> dict[str, tuple[int, Node]]:
        entries: dict[str, tuple[int, Node]] = {}
        merged: list[Node] = []
        for key_node, value in pairs:
            if key_node.plain and key_node.text == _MERGE:
                merged += [value] if value.pairs is not None or value.text is not None else value.items
            elif (key := self._key(key_node, path)) is not None:
                if key in entries:
                    message = f"{key!r} was given before, in line {entries[key][0]}"
                    self.problems.add((*path, key), "yaml.duplicate_key", message, at=key_node.at)
                entries.setdefault(key, (key_node.at[0], value))
        for other in merged:
            entries |= {k: found for k, found in self._merged(other, path).items() if k not in entries}
        return entries

    def _merged(self, node: Node, path: KeyPath) -> dict[str, tuple[int, Node]]:
        with self._entered(node, path):
            if node.pairs is not None:
                return self._entries(node.pairs, path)
        self.problems.add((*path, _MERGE), "yaml.merge", "merges mappings, and this is none", at=node.at)
        return {}

    def _key(self, node: Node, path: KeyPath) -> str | None:
        key = scalar(node.text) if node.text is not None and node.plain else node.text
        if isinstance(key, str) and (node.tag is None or node.tag in _TEXT_TAGS):
            return key
        if node.text is None or node.tag:
            what = "a list, a mapping or a tag is not"
        else:
            what = f"{node.text or 'nothing'} is not: put it in quotes"
        self.problems.add(path, "yaml.key", f"a key is text, and {what}", at=node.at)
        return None
