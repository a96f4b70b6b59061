"""What trainers read: every style is made of the canonical row alone, so that equal rows give equal bytes.

Nothing that looks at a later bar (the target, the ends and flags of a label, `quality_min`) is in a prompt.

Source: TRL, "Dataset formats and types"; OpenAI, "Fine-tuning: formatting your data"; GluonTS,
`gluonts.dataset.field_names`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import polars as pl
import pyarrow as pa

from destinations.training.encodings import ENCODINGS, LOSSLESS, Encoding, completions, encoding_of
from destinations.training.options import TrainingOptions
from destinations.training.prompts import prompts, system
from destinations.training.series_style import SERIES_SCHEMA, as_series
from destinations.training.windows import Windows
from router.errors import ConfigError
from router.names import nearest
from router.rows import Mask

_TEXT: Final = pa.string()
_MESSAGE: Final = pa.struct([pa.field(name, _TEXT, nullable=False) for name in ("role", "content")])
_PAIR: Final = pa.schema([pa.field(name, _TEXT, nullable=False) for name in ("prompt", "completion")])
_MESSAGES: Final = pa.schema(
    [pa.field("messages", pa.list_(pa.field("item", _MESSAGE, nullable=False)), nullable=False)]
)


@dataclass(frozen=True, slots=True)
class Style:
    """One form of an example.

    Attributes:
        name: What users call it.
        encoded: Whether it tells bars as text, so that somebody has to choose the encoding.
        schema: Returns its columns.
        render: Returns examples in this form, in their order.
    """

    name: str
    encoded: bool
    schema: Callable[[TrainingOptions], pa.Schema]
    render: Callable[[pa.Table, Encoding, TrainingOptions], pa.Table]


def style_of(name: str) -> Style:
    """Return the style of that name.

    Raises:
        ConfigError: `enum`, if there is none.
    """
    if name not in STYLES:
        message = f"{name!r} is not one of {', '.join(STYLES)}{nearest(name, STYLES)}"
        raise ConfigError("enum", "style", message)
    return STYLES[name]


def schema_of(style: str, options: TrainingOptions) -> pa.Schema:
    """Return the columns of examples in a style."""
    return style_of(style).schema(options)


def render(examples: pa.Table, style: str, encoding: str | None, options: TrainingOptions) -> pa.Table:
    """Return examples in a style, one row each, in their order; memory is bounded by that of the examples.

    Args:
        examples: Rows of `options.schema()`.
        style: Its name in `STYLES`.
        encoding: Its name in `ENCODINGS`; None will do for a style that tells no bars as text.
        options: What the examples are.

    Raises:
        ConfigError: `enum` for an unknown name, `required` for none, `dataset.untold` if a target cannot be
            told in that encoding.
    """
    chosen = style_of(style)
    if chosen.encoded and encoding is None:
        message = f"style {style} tells bars as text: choose one of {', '.join(ENCODINGS)}"
        raise ConfigError("required", "encoding", message)
    return chosen.render(examples, encoding_of(encoding or LOSSLESS), options)


def tellable(examples: pa.Table, encoding: str, options: TrainingOptions) -> Mask:
    """Return which examples `render` can tell in an encoding: it refuses the others."""
    told = completions(examples, Windows.of(examples), encoding_of(encoding), options)
    found: Mask = told.is_not_null().to_numpy()
    return found


def encode_lines(table: pa.Table) -> bytes:
    """Return one JSON object a line for each row of any style, with its columns in their order.

    Times are ISO 8601 UTC, numbers the shortest text that reads back equal, null what is absent or NaN.
    """
    out = BytesIO()
    pl.DataFrame(table).write_ndjson(out)
    return out.getvalue()


def _as_is(examples: pa.Table, _encoding: Encoding, _options: TrainingOptions) -> pa.Table:
    return examples


def _as_series(examples: pa.Table, _encoding: Encoding, options: TrainingOptions) -> pa.Table:
    return as_series(examples, options)


def _as_pairs(examples: pa.Table, encoding: Encoding, options: TrainingOptions) -> pa.Table:
    asked, told = _texts(examples, encoding, options)
    return _table([asked + "\n", told], _PAIR)


def _as_messages(examples: pa.Table, encoding: Encoding, options: TrainingOptions) -> pa.Table:
    asked, told = _texts(examples, encoding, options)
    frame = pl.DataFrame({"user": asked, "assistant": told}).with_columns(system=pl.lit(system(options)))
    messages = [
        pl.struct(pl.lit(role).alias("role"), pl.col(role).alias("content"))
        for role in ("system", "user", "assistant")
    ]
    return _table([frame.select(pl.concat_list(messages).alias("messages"))["messages"]], _MESSAGES)


def _table(columns: Sequence[pl.Series], schema: pa.Schema) -> pa.Table:
    named = dict(zip(schema.names, columns, strict=True))
    return pl.DataFrame(named).to_arrow().cast(schema)


def _texts(examples: pa.Table, encoding: Encoding, options: TrainingOptions) -> tuple[pl.Series, pl.Series]:
    windows = Windows.of(examples)
    told = completions(examples, windows, encoding, options)
    for row in told.is_null().arg_true().head(1):
        message = (
            f"example {examples['example_id'][row]} cannot be told in basis points: its current close, or"
            f" the volume of all its bars, is zero; choose an encoding that is lossless: {LOSSLESS}"
        )
        raise ConfigError("dataset.untold", encoding.name, message)
    return prompts(examples, windows, encoding, options), told


def _always(schema: pa.Schema) -> Callable[[TrainingOptions], pa.Schema]:
    return lambda _options: schema


#: Every style by name.
STYLES: Final = {
    style.name: style
    for style in (
        Style("raw", False, TrainingOptions.schema, _as_is),
        Style("prompt_completion", True, _always(_PAIR), _as_pairs),
        Style("messages", True, _always(_MESSAGES), _as_messages),
        Style("series", False, _always(SERIES_SCHEMA), _as_series),
    )
}
