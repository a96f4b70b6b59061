"""What trainers read, and what they do with an example that is too long for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from router.errors import ConfigError
from router.names import nearest


@dataclass(frozen=True, slots=True)
class Trainer:
    """One trainer.

    Attributes:
        name: What users call it.
        title: What its makers call it.
        reads: The styles it reads, that to choose first.
        max_length: Tokens of an example, if nobody says another number.
        hints: What else its user has to know of a style.
    """

    name: str
    title: str
    reads: tuple[str, ...]
    max_length: int
    hints: dict[str, str]


def trainer_of(name: str) -> Trainer:
    """Return the trainer of that name.

    Raises:
        ConfigError: `enum`, if there is none.
    """
    if name not in TRAINERS:
        message = f"{name!r} is not one of {', '.join(TRAINERS)}{nearest(name, TRAINERS)}"
        raise ConfigError("enum", "trainer", message)
    return TRAINERS[name]


#: All keep the start of an example that is too long, and the target stands at its end.
#:
#: Source: TRL 1.16, "Dataset formats and types", `SFTConfig.max_length` (1024) and `truncation_mode`
#: ("keep_start"), `SFTTrainer._prepare_dataset` (a pair is one text, and a token that ends it). OpenAI,
#: "Fine-tuning": `messages` of text, up to 65,536 tokens.
TRAINERS: Final = {
    trainer.name: trainer
    for trainer in (
        Trainer(
            "trl-sft",
            "TRL's SFTTrainer",
            ("prompt_completion", "messages"),
            1024,
            {"messages": "pass assistant_only_loss=True, or most of the loss is that of telling the bars"},
        ),
        Trainer("openai", "OpenAI's fine-tuning", ("messages",), 65_536, {}),
    )
}
