"""Rows that are conversations: counted, cut and refused as training does."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from ptune_tui.config import DataConfig
from ptune_tui.data import encode_rows, prompt_limit
from ptune_tui.data_check.check import Check, Checked
from ptune_tui.data_check.source import SplitFile
from ptune_tui.errors import DataError
from ptune_tui.rows import Row, read_rows
from ptune_tui.tokenizer_card import TokenizerCard
from tests.data_check.conftest import places

Turns = list[tuple[str, str]]


def write(folder: Path, *conversations: Turns) -> Path:
    path = folder / "training.jsonl"
    lines = [
        json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]})
        for turns in conversations
    ]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def checked(path: Path, card: TokenizerCard, max_tokens: int) -> Checked:
    config = DataConfig(train=str(path), max_tokens=max_tokens)
    return Check([SplitFile("training", path)], config, card, 100, lambda *_: None).run()


SHORT: Turns = [("user", "the cat"), ("assistant", "red")]
OLD_TURNS: Turns = [("user", "the dog " * 20), ("assistant", "one"), *SHORT]
LONG_SYSTEM: Turns = [("system", "and the dog " * 20), ("user", "the cat"), ("assistant", "red")]


def test_conversations_are_counted_with_the_chat_template(
    tmp_path: Path, card: TokenizerCard
) -> None:
    report = checked(write(tmp_path, SHORT, OLD_TURNS), card, 512).report
    assert report.template == "chat"
    tokens = report.splits[0].tokens
    assert tokens is not None
    text = f"<user>{'the dog ' * 20}<assistant>one<user>the cat<assistant>"
    tokenizer = card.encoder("chat", True).tokenizer
    assert tokens.prompt.longest == len(tokenizer.encode(text).ids)


def test_a_conversation_that_cannot_be_cut_is_an_error_as_in_training(
    tmp_path: Path, card: TokenizerCard
) -> None:
    path = write(tmp_path, SHORT, OLD_TURNS, LONG_SYSTEM)
    found = checked(path, card, 64)
    rows = read_rows(path, DataConfig())
    encoder = card.encoder("chat", True)
    limit, _ = prompt_limit(rows, encoder, 64)

    def is_refused(row: Row) -> bool:
        try:
            encode_rows([row], encoder, limit)
        except DataError:
            return True
        return False

    assert [is_refused(row) for row in rows] == [False, False, True]
    assert places(found.report, "no-room") == [("training", 3)]
    assert places(found.report, "truncated") == [("training", 2)]
    assert found.dropped == {2}


def test_a_first_record_with_a_bad_role_is_one_finding(tmp_path: Path) -> None:
    path = write(tmp_path, [("wizard", "the cat"), ("assistant", "red")], SHORT, SHORT)
    report = Check([SplitFile("training", path)], DataConfig(), None, 5, lambda *_: None).run()
    assert places(report.report, "malformed") == [("training", 1)]
    assert report.report.splits[0].num_rows == 2


@pytest.mark.parametrize("has_chat_template", [True, False])
def test_it_is_said_where_the_first_rows_looked_otherwise_and_it_matters(
    tmp_path: Path,
    card: TokenizerCard,
    has_chat_template: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ptune_tui.data_check.check._FIRST_ROWS", 20)
    monkeypatch.setattr("ptune_tui.data_check.check.BATCH_ROWS", 24)
    path = tmp_path / "training.jsonl"
    rows = [{"prompt": f"p {number}", "response": "x"} for number in range(24)]
    rows += [{"prompt": f"q {number}", "response": f"text {number}"} for number in range(99)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chosen = card if has_chat_template else msgspec.structs.replace(card, chat_template=None)
    notices = checked(path, chosen, 64).report.notices
    if not has_chat_template:
        assert notices == []
        return
    assert len(notices) == 1
    assert "The first 24 training rows looked like `labels`" in notices[0]
    assert notices[0].endswith("Count again with `--scoring text`.")
