"""Files of rows, and what a check finds in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data_check.check import Check, Checked
from ptune_tui.data_check.report import DataReport
from ptune_tui.data_check.source import SplitFile
from ptune_tui.tokenizer_card import TokenizerCard

Pairs = Sequence[tuple[str, str]]
NAMES = ("training", "validation", "test")


def write_rows(path: Path, rows: Pairs) -> Path:
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


class Checker:
    """Checks rows that a test gives, in files of a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        *splits: Pairs,
        config: DataConfig | None = None,
        card: TokenizerCard | None = None,
        num_places: int = 10_000,
    ) -> Checked:
        files = [
            SplitFile(name, write_rows(self.folder / f"{name}.jsonl", rows))
            for name, rows in zip(NAMES, splits, strict=False)
        ]
        named = msgspec.structs.replace(config or DataConfig(), train=str(files[0].path))
        return Check(files, named, card, num_places, lambda *_: None).run()


@pytest.fixture
def check(tmp_path: Path) -> Checker:
    return Checker(tmp_path)


def places(report: DataReport, code: str) -> list[tuple[str, int]]:
    """Split and line of each finding of a kind."""
    return [
        (Path(place.source).stem, place.line)
        for found in report.findings
        if found.code == code
        for place in found.places
    ]


def codes(report: DataReport) -> set[str]:
    return {found.code for found in report.findings}


@pytest.fixture(scope="session")
def card() -> TokenizerCard:
    """A byte-level tokenizer that merges little, and a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat and the dog and the red one"], trainer)
    chat = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
    return TokenizerCard("tiny", tokenizer.to_str(), chat, "", "<end>", 0)
