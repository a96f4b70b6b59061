from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from destinations.training.encodings import ENCODINGS
from destinations.training.finalize import finalize, recipe_of
from destinations.training.lengths import Ruler, shortened
from destinations.training.lint import Linted, lint
from destinations.training.options import TrainingOptions
from destinations.training.parts import TrainingParts
from destinations.training.styles import render
from destinations.training.tokens import counted_by, estimated_tokens
from destinations.training.trainers import TRAINERS, trainer_of
from router.errors import ConfigError
from tests.make_training import make_bars, make_examples, write_dataset, write_part
from workers.cli import main


class Said(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def dataset_lint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process."""

    def call(folder: Path, *options: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["candlefleet", "dataset", "lint", str(folder), *options])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return Said(int(end.value.code or 0), out, err)

    return call


def make_options(**changes: Any) -> TrainingOptions:
    return TrainingOptions.of(**({"context_window": 30} | changes))


def make_ruler(options: TrainingOptions, most: int, style: str = "prompt_completion") -> Ruler:
    return Ruler(style, options, most, estimated_tokens)


def linted(
    examples: pa.Table, options: TrainingOptions, most: int, encoding: str, style: str = "prompt_completion"
) -> Linted:
    def batches() -> Iterator[pa.Table]:
        yield from (examples.slice(start, 7) for start in range(0, len(examples), 7))

    trainer = TRAINERS["trl-sft"]
    ruler = make_ruler(options, most, style if style in trainer.reads else trainer.reads[0])
    return lint(batches, ruler, trainer, style, encoding)


def longest_in(examples: pa.Table, options: TrainingOptions, encoding: str) -> int:
    """Return what the longest pair takes, counted one by one; the token that ends it is the last."""
    pairs = render(examples, "prompt_completion", encoding, options).to_pylist()
    texts = [pair["prompt"] + pair["completion"] for pair in pairs]
    return max(estimated_tokens(pl.Series(texts))) + 1


# -- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("2024", 4),
        ("-12.5,7\n", 8),
        ("close", 2),
        ("timestamp", 3),
        ("AAPL", 4),
        ("a b", 3),
        ("é", 2),
        ("东", 3),
        ("😀", 4),
    ],
)
def test_tokens_are_estimated_for_models_that_read_digit_by_digit(text: str, tokens: int):
    assert estimated_tokens(pl.Series([text])).to_list() == [tokens]


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text())
def test_an_estimate_is_between_a_third_of_the_bytes_and_all_of_them(one: str, other: str):
    (tokens,) = estimated_tokens(pl.Series([one + other]))
    assert len((one + other).encode()) / 3 <= tokens <= len((one + other).encode())
    assert tokens <= sum(estimated_tokens(pl.Series([one, other])))


def test_a_tokenizer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"tokenizers: is not installed: pip install 'candlefleet\[lint\]'"):
        counted_by(tmp_path / "tokenizer.json")


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Give the file of a tokenizer that reads letter by letter, and would cut texts off and fill them up."""
    made = Tokenizer(WordLevel({"<s>": 0, "<unk>": 1}, unk_token="<unk>"))
    made.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    made.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made.enable_truncation(8)
    made.enable_padding()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def test_a_tokenizer_counts_whole_texts_and_what_it_adds(letters: Path):
    assert counted_by(letters)(pl.Series(["", "a" * 20, "é"])).to_list() == [1, 21, 2]
    assert counted_by(letters)(pl.Series([], dtype=pl.String)).to_list() == []


def test_a_file_that_is_no_tokenizer_is_named(letters: Path):
    with pytest.raises(ConfigError, match=r"absent.json: is no tokenizer.json of a model: No such file"):
        counted_by(letters.with_name("absent.json"))


# -- what a trainer sees --------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_example_fits_to_the_very_token(encoding: str):
    options = make_options()
    examples = make_examples(make_bars(60), options)
    longest = longest_in(examples, options, encoding)
    fits = linted(examples, options, longest, encoding)
    assert (fits.clean, fits.asked.longest, fits.asked.examples) == (True, longest, len(examples))
    assert list(fits.lengths) == [encoding]
    cut = linted(examples, options, longest - 1, encoding)
    assert not cut.clean
    assert 0 < cut.asked.cut < len(examples)


def test_the_most_telling_encoding_that_fits_is_named():
    options = make_options()
    examples = make_examples(make_bars(60), options)
    for name in ENCODINGS:
        found = linted(examples, options, longest_in(examples, options, name), "json")
        assert found.fits == name
        assert list(found.lengths) == (list(ENCODINGS) if name != "json" else ["json"])
    assert linted(examples, options, 100, "json").fits is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_window_that_is_named_fits_and_one_more_bar_does_not(encoding: str):
    options = make_options()
    bars = make_bars(60)
    bars[40] |= {"open": 1e-9, "volume": 1e15}  # longer than all before
    examples = make_examples(bars, options)
    most = longest_in(examples, options, encoding) // 2
    window = linted(examples, options, most, encoding).windows[encoding]
    assert 2 < window < options.context_window
    assert longest_in(shortened(examples, window), options, encoding) <= most
    assert longest_in(shortened(examples, window + 1), options, encoding) > most


def test_no_window_is_named_where_two_bars_are_too_many():
    options = make_options()
    found = linted(make_examples(make_bars(60), options), options, 10, "csv")
    assert found.windows == dict.fromkeys(ENCODINGS, 0)


def test_shortened_examples_are_those_of_a_smaller_window():
    options = make_options(context_window=9)
    bars = make_bars(20)
    short = make_options(context_window=4)
    wanted = make_examples(bars[5:], short).select(["context", "current", "target"])
    assert shortened(make_examples(bars, options), 4).select(["context", "current", "target"]) == wanted


def test_examples_that_cannot_be_told_are_counted():
    options = make_options(context_window=3)
    examples = make_examples(make_bars(10, closes=[1, 2, 3, 0, 5, 6, 7, 0, 9, 10]), options)
    found = linted(examples, options, 1024, "bps")
    assert (found.clean, found.asked.untold, found.asked.cut, found.windows) == (False, 2, 0, {})
    assert found.fits == "json"


def test_messages_are_longer_by_what_a_template_adds():
    options = make_options()
    examples = make_examples(make_bars(60), options)
    (pairs,) = make_ruler(options, 1).measure([examples], {"csv": 30}).values()
    (messages,) = make_ruler(options, 1, "messages").measure([examples], {"csv": 30}).values()
    assert 40 < messages.longest - pairs.longest < 120


def test_an_unknown_trainer_is_refused_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"trainer: 'trl' is not one of trl-sft, openai \(did you mean 'trl-s"
    ):
        trainer_of("trl")


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a training set of 30 bars an example."""
    return make_set(tmp_path / "set")


def make_set(folder: Path, **changes: Any) -> Path:
    options = make_options(splits={"train": "2024-03-01", "test": None}, **changes)
    return write_dataset(folder, make_examples(make_bars(120), options), options)


def test_a_target_that_is_cut_off_fails_and_what_fits_is_said(folder: Path, dataset_lint: Command):
    said = dataset_lint(folder, "--trainer", "trl-sft", "--max-length", "900")
    assert (said.code, said.err) == (1, "")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[3:7]] == list(ENCODINGS)
    (cut,) = (line for line in lines if line.startswith("✗"))
    assert cut.startswith("✗ cut off 59 of 59 examples have more than 900 tokens in json, the longest 2,")
    assert "TRL's SFTTrainer keeps the start, the target is at the end" in cut
    first, second = (line for line in lines if line.startswith("→"))
    assert first.startswith("→ bps fits, the longest has ")
    assert first.endswith(f" dataset finalize {folder} --style prompt_completion --encoding bps")
    assert second.startswith("→ json fits with context_window=")


def test_a_training_set_that_fits_passes(folder: Path, dataset_lint: Command):
    said = dataset_lint(folder, "--encoding", "bps_close", "--max-length", "1024")
    assert said.code == 0
    assert "✓ fits 59 examples as prompt_completion in bps_close have " in said.out
    assert "TRL's SFTTrainer sees every target\ntokens are estimated, rather too many" in said.out


@pytest.mark.parametrize("style", ["raw", "series"])
def test_a_style_that_no_trainer_reads_fails_with_one_to_choose(
    folder: Path, dataset_lint: Command, style: str
):
    said = dataset_lint(folder, "--style", style, "--max-length", "10000")
    assert said.code == 1
    assert f"✗ not read TRL's SFTTrainer reads prompt_completion and messages, not {style}" in said.out
    assert "--style prompt_completion --encoding json\n" in said.out
    said = dataset_lint(folder, "--style", style, "--encoding", "bps", "--trainer", "openai")
    assert said.code == 1
    assert f"✗ not read OpenAI's fine-tuning reads messages, not {style}" in said.out
    assert "--style messages --encoding bps\n" in said.out


def test_messages_come_with_what_their_user_has_to_know(folder: Path, dataset_lint: Command):
    said = dataset_lint(folder, "--style", "messages", "--encoding", "bps_close")
    assert said.code == 0
    assert "messages with TRL's SFTTrainer: pass assistant_only_loss=True" in said.out


def test_a_program_gets_the_same_as_json(folder: Path, dataset_lint: Command):
    said = dataset_lint(folder, "--max-length", "900", "--json")
    found = json.loads(said.out)
    assert said.code == 1
    assert {name: found[name] for name in ("clean", "readable", "style", "encoding", "tokens", "choose")} == {
        "clean": False,
        "readable": True,
        "style": "prompt_completion",
        "encoding": "json",
        "tokens": "estimated",
        "choose": {"style": "prompt_completion", "encoding": "bps"},
    }
    assert list(found["lengths"]) == list(ENCODINGS)
    assert found["lengths"]["json"]["cut"] == found["lengths"]["json"]["examples"] == 59
    assert 2 <= found["lengths"]["json"]["context_window"] < 30
    assert found["lengths"]["bps"]["context_window"] is None


def test_tokens_are_counted_by_the_tokenizer_that_is_given(
    folder: Path, dataset_lint: Command, letters: Path
):
    options = ("--encoding", "csv", "--tokenizer", str(letters), "--max-length", "9999")
    found = json.loads(dataset_lint(folder, *options, "--json").out)
    assert found["tokens"] == "counted"
    assert found["lengths"]["csv"]["longest"] > 1024
    assert "estimated" not in dataset_lint(folder, *options).out


def test_parquet_and_json_lines_are_measured_alike(folder: Path, tmp_path: Path, dataset_lint: Command):
    parquet = make_set(tmp_path / "parquet", format="parquet")
    assert dataset_lint(parquet, "--json").out == dataset_lint(folder, "--json").out


def test_a_finished_set_is_looked_at_as_it_was_finished(folder: Path, dataset_lint: Command):
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts, style="messages", encoding="csv"))
    found = json.loads(dataset_lint(folder, "--max-length", "9999", "--json").out)
    assert (found["clean"], found["style"], found["encoding"]) == (True, "messages", "csv")
    finalize(parts, recipe_of(parts))
    said = dataset_lint(folder, "--max-length", "9999")
    assert said.code == 1
    assert "✗ not read TRL's SFTTrainer reads prompt_completion and messages, not raw" in said.out


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_finished_set_without_its_parts_is_measured_as_it_is(
    folder: Path, dataset_lint: Command, format: str
):
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts, style="messages", encoding="bps", format=format))
    before = dataset_lint(folder, "--json")
    for name in ("parts", "dataset.json"):
        (folder / name).rename(folder / f".{name}")
    assert dataset_lint(folder, "--json") == before
    said = dataset_lint(folder, "--max-length", "500")
    assert said.code == 1
    assert "✗ cut off 59 of 59 examples have more than 500 tokens in bps" in said.out
    assert "→ finish it in another style or encoding: lint it where its parts are" in said.out
    said = dataset_lint(folder, "--encoding", "csv")
    assert said.code == 2
    assert "messages in bps: its parts are not here" in said.err


def test_raw_shards_without_their_parts_are_examples_as_good(folder: Path, dataset_lint: Command):
    before = dataset_lint(folder, "--style", "messages", "--json")
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts))
    (folder / "parts").rename(folder / ".parts")
    assert dataset_lint(folder, "--style", "messages", "--json") == before


def test_a_finished_style_that_is_not_read_is_told_without_parts(folder: Path, dataset_lint: Command):
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts, style="series"))
    (folder / "parts").rename(folder / ".parts")
    said = dataset_lint(folder)
    assert said.code == 1
    assert (
        "✗ not read TRL's SFTTrainer reads prompt_completion and messages, not series\n→ finish it"
        in said.out
    )


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"[1]\n")])
def test_a_shard_that_is_gone_or_damaged_is_named(
    folder: Path, dataset_lint: Command, damage: Callable[[Path], object]
):
    parts = TrainingParts.of(folder)
    finalize(parts, recipe_of(parts, style="messages"))
    (folder / "parts").rename(folder / ".parts")
    damage(folder / "data" / "train-00000-of-00001.jsonl")
    said = dataset_lint(folder)
    assert said.code == 2
    assert "train-00000-of-00001.jsonl: is gone, was changed or damaged: " in said.err


def test_examples_across_a_boundary_are_not_looked_at(tmp_path: Path, dataset_lint: Command):
    options = make_options(splits={"train": "2024-02-15", "test": None})
    examples = make_examples(make_bars(90), options)
    write_dataset(tmp_path, examples, options)
    said = dataset_lint(tmp_path, "--json")
    (part,) = (tmp_path / "parts" / "split=purged").iterdir()
    purged = len(part.read_text().splitlines())
    assert 0 < json.loads(said.out)["lengths"]["json"]["examples"] == len(examples) - purged


def test_of_an_example_written_twice_the_last_counts(tmp_path: Path, dataset_lint: Command):
    options = make_options()
    bars = make_bars(31)
    write_dataset(tmp_path, make_examples(bars, options), options)
    bars[5] |= {"open": 1e-300}
    write_part(tmp_path, "train", 7, make_examples(bars, options).to_pylist(), options)
    found = json.loads(dataset_lint(tmp_path, "--encoding", "csv", "--json").out)
    assert found["lengths"]["csv"]["examples"] == 1
    assert found["lengths"]["csv"]["longest"] > 1300


def test_untold_targets_fail_with_an_encoding_that_tells_them(tmp_path: Path, dataset_lint: Command):
    options = make_options(context_window=3)
    examples = make_examples(make_bars(8, closes=[1, 2, 3, 0, 5, 6, 7, 8]), options)
    said = dataset_lint(write_dataset(tmp_path, examples, options), "--encoding", "bps")
    assert said.code == 1
    assert "✗ untold 1 of 5 examples end with a close of zero, or have no volume" in said.out
    assert "→ json fits" in said.out


def test_where_nothing_fits_the_length_that_would_is_said(folder: Path, dataset_lint: Command):
    said = dataset_lint(folder, "--max-length", "20")
    assert said.code == 1
    assert "→ nothing fits: take max_length=" in said.out
    assert [line.split()[-1] for line in said.out.splitlines()[3:7]] == ["none"] * 4


def test_a_training_set_without_an_example_is_told_so(tmp_path: Path, dataset_lint: Command):
    options = make_options()
    said = dataset_lint(write_dataset(tmp_path, options.schema().empty_table(), options))
    assert said.code == 2
    assert said.err.endswith("holds no example yet: deliver bars to it first [dataset.empty]\n")


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (("--style", "message"), "style: 'message' is not one of"),
        (("--encoding", "cvs"), "(did you mean 'csv'?)"),
        (("--trainer", "trl"), "(did you mean 'trl-sft'?)"),
        (("--max-length", "0"), "greater than or equal to 1"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    folder: Path, dataset_lint: Command, option: tuple[str, str], why: str
):
    said = dataset_lint(folder, *option)
    assert said.code == 2
    assert why in said.err


def test_a_folder_that_is_no_training_set_is_told_so(tmp_path: Path, dataset_lint: Command):
    said = dataset_lint(tmp_path)
    assert said.code == 2
    assert "is no training set" in said.err
