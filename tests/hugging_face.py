"""Load a finished training set as its users do: with the `datasets` library, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


class HuggingFace:
    """The `datasets` library, with a cache of its own.

    Imported when it is made, since it reads its settings at its import.
    """

    def __init__(self, cache: Path) -> None:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("HF_HOME", str(cache))
            environment.setenv("HF_HUB_OFFLINE", "1")
            environment.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
            import datasets
        self.library = datasets
        self._cache = cache

    def load(self, folder: Path) -> Any:
        """Return all splits of a finished set, checked against its card as `load_dataset` does."""
        return self.library.load_dataset(str(folder), cache_dir=str(self._cache))

    def stream(self, folder: Path) -> Any:
        """Return all splits of a finished set, to be read without a cache."""
        return self.library.load_dataset(str(folder), streaming=True)

    def features(self, card: Any) -> Any:
        """Return what a card says of the columns."""
        return self.library.Features._from_yaml_list(card["dataset_info"]["features"])
