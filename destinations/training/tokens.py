"""How many tokens a text is to a model: by its own tokenizer, or an estimate that is not too low."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl

from router.errors import ConfigError

Count = Callable[[pl.Series], pl.Series]


def estimated_tokens(texts: pl.Series) -> pl.Series:
    """Return about how many tokens texts are, rather too many than too few.

    That is one for each byte, but for small letters, of which three make one. It holds for models that read
    numbers digit by digit (Llama 2, Mistral, Qwen), which need most; others join up to three digits.
    """
    # Where three letters are one token two are saved, where two are left at the end of a word one.
    saved = texts.str.count_matches("[a-z]{3}") + texts.str.count_matches("[a-z]{2,3}")
    return texts.str.len_bytes().cast(pl.Int64) - saved.cast(pl.Int64)


def counted_by(tokenizer: Path) -> Count:
    """Return what counts the tokens of texts, those that it puts before or after them included.

    Args:
        tokenizer: The `tokenizer.json` of a model.

    Raises:
        ConfigError: `package.missing` without the library `tokenizers`; `tokenizer.file`, if that is none.
    """
    try:
        library = import_module("tokenizers")
    except ImportError as error:
        message = (
            "is not installed: pip install 'candlefleet[lint]', or leave --tokenizer out for an estimate"
        )
        raise ConfigError("package.missing", "tokenizers", message) from error
    try:
        loaded = library.Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # the library raises nothing narrower
        message = f"is no tokenizer.json of a model: {error}"
        raise ConfigError("tokenizer.file", str(tokenizer), message) from error
    loaded.no_truncation()
    loaded.no_padding()
    return partial(_counted, loaded)


def _counted(tokenizer: Any, texts: pl.Series) -> pl.Series:
    return pl.Series([len(found) for found in tokenizer.encode_batch(texts.to_list())], dtype=pl.Int64)
