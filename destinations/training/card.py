"""Write the dataset card: what the Hub and `load_dataset` read first, and what a person should know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import yaml

from destinations.training.features import features_of
from destinations.training.manifest import DATA, MANIFEST, Manifest
from destinations.training.options import DIRECTION, NEXT, RETURN, TrainingOptions
from destinations.training.spans import SERIES, Spans
from router.errors import ConfigError

#: What the owner writes after this line stays when the set is finished again.
YOURS: Final = (
    "<!-- What is above this line is written anew by candlefleet dataset finalize; below, it is yours. -->"
)
#: Series that are listed by name.
_MOST_SERIES: Final = 100

#: Of a tally, where examples begin and end, and what that is called here.
_EDGES: Final = {"first_context_start": "first bar, UTC", "last_label_end": "last label ends, UTC"}

_FRONT: Final = re.compile(r"\A---\n(.*?\n)??---\n", re.DOTALL)
_MARKUP: Final = re.compile(r"[\\`*{}\[\]<>#~|]|\b_|_\b")

_LICENCE: Final = """
## Licence

Whoever publishes these data says here, and as `license:` at the top of this file, on what terms. The
sources named above may have terms of their own.
"""

_STYLES: Final = {
    "raw": "Every column is here. Those that look later than `as_of` are the target, `label_end`, "
    "`quality_min` and the flags of the label and of revisions: none of them is for a model's eyes.",
    "prompt_completion": "It is two texts, `prompt` and `completion`, as TRL's trainers take them.",
    "messages": "It is a conversation, `messages`, as chat trainers take it.",
    "series": "It is a series, `start`, `target` and `item_id`, as GluonTS and Chronos take it.",
}
_FLAGS: Final = {
    "context_gap": "bars are missing between those of the context",
    "context_jump": "a close in the context is a split's size away from the one before",
    "label_gap": "bars are missing between the current one and that of the target",
    "label_jump": "a close between the current bar and that of the target is a split's size away",
    "revised": "a source corrected a bar, and the example was made again",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card tells.

    Attributes:
        options: What the examples are.
        manifest: The shards, and what they were made from.
        spans: The examples by split and series.
        sizes: Bytes of every split as Arrow's columns.
        schema: The columns of finished rows.
    """

    options: TrainingOptions
    manifest: Manifest
    spans: Spans
    sizes: Mapping[str, int]
    schema: pa.Schema


def card(facts: Facts, before: Path) -> str:
    """Return the whole card.

    Args:
        facts: What it tells.
        before: The card of the set finished before, of which the owner's own words stay.

    Raises:
        ConfigError: `dataset.card`, if that one cannot be read.
    """
    fields, words = _owners(before)
    front = yaml.safe_dump(fields | _front(facts), sort_keys=False, allow_unicode=True, width=1000)
    body = "\n".join([f"# {_text(before.absolute().parent.name)}", "", *_body(facts), YOURS])
    return f"---\n{front}---\n\n{body}\n{words}"


def _front(facts: Facts) -> dict[str, Any]:
    counts = facts.manifest.counts()
    splits = [
        {"name": split, "num_bytes": facts.sizes[split], "num_examples": count}
        for split, count in counts.items()
    ]
    files = [{"split": split, "path": f"{DATA}/{split}-*"} for split in counts]
    return {
        "dataset_info": {
            "features": features_of(facts.schema),
            "splits": splits,
            "download_size": sum(shard.bytes for shard in facts.manifest.shards),
            "dataset_size": sum(facts.sizes.values()),
        },
        "configs": [{"config_name": "default", "data_files": files}],
    }


# Of the card that was there: the fields that only its owner knows, and the words after the line.
def _owners(before: Path) -> tuple[dict[str, Any], str]:
    if not before.is_file():
        return {}, _LICENCE
    text = before.read_text(encoding="utf-8-sig", errors="replace")
    found = _FRONT.match(text)
    _, line, words = text.partition(YOURS + "\n")
    return _fields(found[1] or "", before) if found else {}, words if line else _FRONT.sub("", text, count=1)


def _fields(front: str, path: Path) -> dict[str, Any]:
    try:
        fields = yaml.safe_load(front) or {}
    except yaml.YAMLError as error:
        fields = error
    if not isinstance(fields, dict):
        message = "what is between its first lines of --- is not YAML of names and values: mend or remove it"
        raise ConfigError("dataset.card", str(path), message)
    return fields


def _body(facts: Facts) -> Iterable[str]:
    options, manifest = facts.options, facts.manifest
    yield from (_example(options), "", _STYLES[manifest.recipe.style], "")
    yield from ("## Options", "", *_table(("option", "value"), _options(manifest)), "")
    yield from ("## Splits", "", *_table(("split", "examples", "shards", *_EDGES.values()), _splits(facts)))
    yield from ("", _purged(facts), "")
    yield from ("## Series", "", *_series(facts), "")
    yield from ("## Flags", "", *_flags(facts.spans), "")
    yield from ("## Loading", "", *_loading(manifest), "")


def _example(options: TrainingOptions) -> str:
    window, horizon = options.context_window, options.horizon
    later = "the next bar" if horizon == 1 else f"the bar {horizon} bars later"
    return (
        f"An example is {window} neighbouring bars of one series, the last of which is the current one, and "
        f"a target that comes from {later}: {_target(options.target_column)}. The context, the current bar "
        "and the scale know nothing that happened after the current bar had ended, which is `as_of`."
    )


def _target(column: str) -> str:
    if column == RETURN:
        return f"`{RETURN}`, by how many basis points its close is above the current one"
    if column == DIRECTION:
        return f"`{DIRECTION}`, whether its close is up, down or flat against the current one"
    return f"`{column}`, its {column.removeprefix(NEXT)}"


def _options(manifest: Manifest) -> list[Sequence[str]]:
    recipe = manifest.recipe
    kept = {name: value for name, value in recipe.options.items() if name not in ("format", "splits")}
    ends = {f"{name} until": until or "the end" for name, until in recipe.options["splits"].items()}
    style = {"style": recipe.style} | ({"encoding": recipe.encoding} if recipe.encoding else {})
    return [(name, _shown(value)) for name, value in (style | kept | ends).items()]


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,.15g}" if isinstance(value, float) else str(value)


def _splits(facts: Facts) -> list[Sequence[str]]:
    spans = {row["split"]: row for row in facts.spans.by(["split"]).to_dicts()}
    shards = [shard.split for shard in facts.manifest.shards]
    return [
        (split, f"{count:,}", str(shards.count(split)), *_edges(spans[split]))
        for split, count in facts.manifest.counts().items()
    ]


def _purged(facts: Facts) -> str:
    embargo = facts.options.embargo
    apart = f", or begin less than {embargo:,.15g} seconds after one," if embargo else ""
    return (
        f"Splits are cut by time, over all series at once. {facts.manifest.purged:,} examples whose bars or "
        f"target lie across the end of a split{apart} are in none of them."
    )


def _series(facts: Facts) -> Iterable[str]:
    splits, rows = list(facts.manifest.counts()), facts.spans.by(SERIES)
    by_split = facts.spans.by(["split", *SERIES])
    counts = dict(zip(by_split.select("split", *SERIES).rows(), by_split["examples"], strict=True))
    sources = ", ".join(map(_text, rows["source"].unique().sort()))
    yield f"{len(rows):,} series of {sources}."
    yield ""
    yield from _table((*SERIES, *splits, *_EDGES.values()), _cells(rows, splits, counts))
    if len(rows) > _MOST_SERIES:
        yield f"\nAnd {len(rows) - _MOST_SERIES:,} more."


def _cells(
    rows: pl.DataFrame, splits: Sequence[str], counts: Mapping[tuple[str, ...], int]
) -> Iterable[Sequence[str]]:
    for row in rows.head(_MOST_SERIES).to_dicts():
        series = [row[name] for name in SERIES]
        numbers = [f"{counts.get((split, *series), 0):,}" for split in splits]
        yield (*series, *numbers, *_edges(row))


def _edges(row: Mapping[str, Any]) -> list[str]:
    return [row[name].replace(tzinfo=None).isoformat(" ") for name in _EDGES]


def _flags(spans: Spans) -> Iterable[str]:
    if not spans.flags:
        yield "No example has a flag."
        return
    rows = [(flag, f"{count:,}", _FLAGS.get(flag, "")) for flag, count in sorted(spans.flags.items())]
    yield from _table(("flag", "examples", "meaning"), rows)


def _loading(manifest: Manifest) -> Iterable[str]:
    first = next(iter(manifest.counts()))
    yield "```python"
    yield "from datasets import load_dataset"
    yield ""
    yield 'examples = load_dataset("path/of/this/folder")  # or its name on the Hub'
    yield f'examples["{first}"][0]'
    yield "```"
    yield ""
    yield f"`{MANIFEST}` has the checksum of every file of `{DATA}`."


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [names, ["---"] * len(names), *([_text(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _text(foreign: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", foreign)
