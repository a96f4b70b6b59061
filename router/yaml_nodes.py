"""YAML text to nodes, each with its line and column; nothing is made of them yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from router.problems import Problems

MOST_DEPTH: Final = 40

#: libyaml where PyYAML was built with it: ten times as fast. Either only splits text into events.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_EMPTY: Final = "is empty: a routes file has at least `routes:`"
_HINTS: Final = {
    "mapping values": ": put a text that holds ': ' in quotes",
    "cannot start any token": ": put a text that begins so in quotes, and indent with spaces",
    "did not find expected key": ": indent alike, and put a text that begins with a quote wholly in others",
    "scanning a block scalar": ": put a text that begins with > or | in quotes",
    "end of stream while scanning a quoted": ": close the quote",
}


@dataclass(slots=True, eq=False)
class Node:
    """A scalar, a list or a mapping, as it is written.

    Attributes:
        at: Line and column where it begins, both from 1.
        tag: What stood before it as ``!tag``; None: nothing.
        text: What a scalar says; None: it is no scalar.
        plain: Whether it is a scalar without quotes.
        items: What is in a list.
        pairs: The keys and values of a mapping; None: it is no mapping.
    """

    at: tuple[int, int]
    tag: str | None
    text: str | None = None
    plain: bool = False
    items: list[Node] = field(default_factory=list)
    pairs: list[tuple[Node, Node]] | None = None


def read_nodes(text: str, problems: Problems) -> tuple[Node, int]:
    """Return the node at the top of a text, and how many nodes are written in it.

    Raises:
        RoutesFileError: ``yaml.syntax``, ``yaml.empty``, ``yaml.documents`` or ``yaml.depth``.
    """
    reading = _Reading(problems)
    try:
        root = reading.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        problems.stop("yaml.syntax", _said(error), at=_place_of(error, text))
    return root, reading.count


class _Reading:
    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.anchors: dict[str, Node] = {}
        self.count = 0

    def document(self, events: Iterator[Event]) -> Node:
        starts = (event for event in events if isinstance(event, DocumentStartEvent))
        if next(starts, None) is None:
            self.problems.stop("yaml.empty", _EMPTY)
        root = self.node(next(events), events, 0)
        if (second := next(starts, None)) is not None:
            message = "a second document begins here: write each into a file of its own"
            self.problems.stop("yaml.documents", message, at=_place(second.start_mark))
        return root

    def node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        self.count += 1
        if depth > MOST_DEPTH:
            self.problems.stop(
                "yaml.depth", f"is nested deeper than {MOST_DEPTH}", at=_place(event.start_mark)
            )
        if isinstance(event, AliasEvent):
            return self.anchored(event)
        node = _begun(event)
        if (anchor := getattr(event, "anchor", None)) is not None:
            self.anchors[anchor] = node
        if not isinstance(event, ScalarEvent):
            node.items = [self.node(item, events, depth + 1) for item in _until_end(events)]
        if isinstance(event, MappingStartEvent):
            node.pairs = list(zip(node.items[::2], node.items[1::2], strict=True))
        return node

    def anchored(self, event: AliasEvent) -> Node:
        if event.anchor not in self.anchors:
            message = "this alias (*) has no anchor (&) before it: put a text that begins so in quotes"
            self.problems.stop("yaml.syntax", message, at=_place(event.start_mark))
        return self.anchors[event.anchor]


def _begun(event: Any) -> Node:
    node = Node(_place(event.start_mark), event.tag)
    if isinstance(event, ScalarEvent):
        node.text, node.plain = event.value, not event.style and event.tag is None
    return node


def _until_end(events: Iterator[Event]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, SequenceEndEvent | MappingEndEvent):
            return
        yield event


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


# What is not closed is noticed at the end of the text: where it begins says more.
def _place_of(error: yaml.MarkedYAMLError, text: str) -> tuple[int, int] | None:
    begins, noticed = error.context_mark, error.problem_mark
    is_open = begins and noticed and noticed.index >= len(text.rstrip())
    mark = begins if is_open else noticed or begins
    return _place(mark) if mark else None


def _said(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(filter(None, [error.problem, error.context]))
    return said + next((hint for word, hint in _HINTS.items() if word in said), "")
