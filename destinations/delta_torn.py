"""Tell an entry of a Delta table's log that a power cut tore from a whole one."""

from __future__ import annotations

import json
from typing import Any, Final

#: What our commits say of themselves in their first line; their last lines say it as a transaction.
OURS: Final = "candlefleet"
_PARQUET: Final = b"PAR1"


def is_torn(name: str, content: bytes) -> bool:
    """Return whether a file of the log, JSON or Parquet by its name, is not whole."""
    if name.endswith(".parquet"):
        return not (content.startswith(_PARQUET) and content.endswith(_PARQUET) and len(content) > 12)
    return _is_torn_text(content)


def _is_torn_text(content: bytes) -> bool:
    try:
        actions: list[dict[str, Any]] = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError:
        return True
    about = [action["commitInfo"] for action in actions if "commitInfo" in action]
    ours = any(OURS in info for info in about)
    return not actions or (ours and not any("txn" in action for action in actions))
