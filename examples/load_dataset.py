"""Load finished training sets as trainers do, with `datasets`: python examples/load_dataset.py DIR…"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # the files are here: nothing is asked of the Hub


def main() -> None:
    """Print what is in every split, and the first example of the first."""
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    for folder in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as cache:
            found = load_dataset(folder, cache_dir=cache)
            print(f"{folder}: {', '.join(f'{rows.num_rows:,} {split}' for split, rows in found.items())}")
            for name, value in next(iter(found.values()))[0].items():
                print(f"  {name}: {shortened(value)}")


def shortened(value: Any, most: int = 100) -> str:
    """Return what a value looks like, on one line."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


if __name__ == "__main__":
    main()
