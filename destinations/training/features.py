"""Say the columns of finished rows as the Hub's dataset cards do."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

#: What the Hub calls numbers that Arrow calls something else.
_NUMBERS: Final = {"double": "float64", "float": "float32"}


def features_of(schema: pa.Schema) -> list[dict[str, Any]]:
    """Return `dataset_info.features` of these columns: what `load_dataset` then gives them as.

    Source: huggingface/datasets, `Features._to_yaml_list`.
    """
    return [_named(field) for field in schema]


def _named(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, **_said(field.type)}


def _said(type_: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(type_):
        return {"struct": [_named(field) for field in type_]}
    if pa.types.is_list(type_):
        (said,) = _said(type_.value_type).items()
        return {"list": said[1] if said[0] in ("dtype", "struct") else dict([said])}
    return {"dtype": _NUMBERS.get(str(type_), str(type_))}
