"""The engines: what each needs on this host, and how its job is run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from analytics.running import Failed, run

HERE: Final = Path(__file__).parent
_MEMORY: Final = "-Xmx1g"  #: of each engine


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine in a virtual environment of its own.

    Attributes:
        name: As people know it.
        reads: The sources its job is asked about.
    """

    name: str
    reads: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return HERE.parent / f".venv-{self.name.lower()}" / "bin" / "python"

    def missing(self) -> str | None:
        """Return what keeps it from being run here and what to do about it; None: nothing."""
        home = os.environ.get("JAVA_HOME")
        if not shutil.which("java", path=f"{home}/bin" if home else None):
            where = f" in JAVA_HOME, {home}" if home else ""
            return f"no java{where}: install Java 17 (on Debian: apt-get install openjdk-17-jre-headless)"
        if not (self.python.parents[1] / ".ready").exists():
            return f"no {self.python.parents[1].name}: see above why `make analytics-check` could not make it"
        return None

    def answers(self, sources: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Run its job and return what it answered: its version, and answers and seconds of each source.

        Args:
            sources: Where each source lies.
            folder: Where everything lies that the job writes.

        Raises:
            Failed: It cannot be run on this host, or the job did not end well.
        """
        if missing := self.missing():
            raise Failed(f"not run: {missing}")
        asked, answered = folder / "sources.json", folder / f"{self.name}.json"
        asked.write_text(json.dumps(sources))
        (temporary := folder / "tmp").mkdir(exist_ok=True)
        environment = {
            name: text for name, text in os.environ.items() if text and not name.startswith("PYTHON")
        } | {
            "JAVA_TOOL_OPTIONS": f"{_MEMORY} -Djava.io.tmpdir={temporary}",
            "TMPDIR": str(temporary),
            "SPARK_LOCAL_DIRS": str(temporary),
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        job = HERE / f"{self.name.lower()}_job.py"
        run([self.python, job, asked, answered], environment, folder / f"{self.name}.log")
        found: dict[str, Any] = json.loads(answered.read_text())
        return found


ENGINES: Final = (Engine("Spark", ("parquet", "delta")), Engine("Flink", ("jsonl", "csv")))
