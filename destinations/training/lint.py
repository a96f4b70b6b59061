"""Look at a training set as a trainer will: whether it reads the style, and whether it sees every target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from destinations.training.encodings import ENCODINGS
from destinations.training.lengths import Lengths, Ruler
from destinations.training.lint_source import Tables
from destinations.training.trainers import Trainer


def lint(examples: Tables, ruler: Ruler, trainer: Trainer, style: str, encoding: str) -> Linted:
    """Measure examples in the encoding that was chosen; if they do not fit, look for what would.

    Args:
        examples: All of them, as often as they are asked for.
        ruler: Measures them, in `style`, or in the one to choose instead.
        trainer: Who is to read them.
        style: The style that was chosen.
        encoding: The encoding that was chosen.
    """
    whole = ruler.options.context_window
    readable = style in trainer.reads
    lengths = ruler.measure(examples(), {encoding: whole})
    windows: dict[str, int] = {}
    if not readable or not lengths[encoding].fits:
        others = {name: whole for name in ENCODINGS if name != encoding}
        found = lengths | ruler.measure(examples(), others)
        lengths = {name: found[name] for name in ENCODINGS}
        windows = _windows(examples, ruler, lengths)
    return Linted(trainer, style, encoding, ruler.most, readable, lengths, windows)


def lint_rendered(rows: Tables, ruler: Ruler, trainer: Trainer, style: str, encoding: str) -> Linted:
    """Measure rows that are in the style and the encoding already: nobody can make others of them."""
    readable = style in trainer.reads
    found = ruler.measure_rendered(rows()) if readable else Lengths(ruler.most)
    return Linted(trainer, style, encoding, ruler.most, readable, {encoding: found}, {})


# What fits the longest examples is tried on all; those that are too long then are looked at again.
def _windows(examples: Tables, ruler: Ruler, lengths: dict[str, Lengths]) -> dict[str, int]:
    found = {name: ruler.options.context_window for name, one in lengths.items() if one.cut}
    cut = dict(lengths)
    while cut := {name: one for name, one in cut.items() if one.cut}:
        for name, one in cut.items():
            worst = pa.concat_tables(table for _, table in one.worst)
            found[name] = ruler.window_for(worst, name, found[name])
        cut = ruler.measure(examples(), {name: found[name] for name in cut if found[name]})
    return found


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found.

    Attributes:
        trainer: The trainer.
        style: The style that was looked at.
        encoding: The encoding that was looked at.
        max_length: Tokens the trainer takes of an example.
        readable: Whether it reads that style; if not, the lengths are those of the style to choose.
        lengths: By encoding; of that looked at alone, if there is nothing to mend.
        windows: By encoding in which examples are too long the `context_window` with which they would not
            be; 0: none.
    """

    trainer: Trainer
    style: str
    encoding: str
    max_length: int
    readable: bool
    lengths: dict[str, Lengths]
    windows: dict[str, int]

    @property
    def asked(self) -> Lengths:
        """The lengths in the encoding that was looked at."""
        return self.lengths[self.encoding]

    @property
    def clean(self) -> bool:
        """Whether there is nothing to mend."""
        return self.readable and self.asked.fits

    @property
    def fits(self) -> str | None:
        """The encoding that was looked at if everything fits in it, or the most telling that does."""
        names = (self.encoding, *self.lengths) if self.asked.examples else ()
        return next((name for name in names if self.lengths[name].fits), None)

    @property
    def best_style(self) -> str:
        """The style that was looked at, or that to choose instead."""
        return self.style if self.readable else self.trainer.reads[0]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "clean": self.clean,
            "trainer": self.trainer.name,
            "style": self.style,
            "encoding": self.encoding,
            "max_length": self.max_length,
            "readable": self.readable,
            "choose": {"style": self.best_style, "encoding": self.fits},
            "lengths": {
                name: {
                    "examples": found.examples,
                    "longest": found.longest,
                    "cut": found.cut,
                    "untold": found.untold,
                    "context_window": self.windows.get(name),
                }
                for name, found in self.lengths.items()
            },
        }
