"""Answers stay beside their texts where some of these are empty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome, Ptune, run_ptune
from tests.cli.test_bad_input import one_sentence
from tests.export.conftest import Exported


@pytest.fixture
def ptune(tmp_path: Path) -> Ptune:
    """`ptune` with a home of this test's own."""

    def run(*arguments: object, stdin: str = "") -> Outcome:
        return run_ptune(*arguments, home=tmp_path / "home", stdin=stdin)

    return run


def test_an_empty_line_has_an_empty_answer(
    ptune: Ptune, exported: Exported, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("the cat\n\nthe dog\n", encoding="utf-8")
    filed = ptune("run", exported.bundle, "--input", texts)
    assert [bool(line) for line in filed.out.splitlines()] == [True, False, True]
    assert "1 of 3 lines were empty" in filed.err
    piped = ptune("run", exported.bundle, "--json", stdin="the cat\n\nthe dog\n")
    lines = [json.loads(line) for line in piped.out.splitlines()]
    assert [line["answer"] for line in lines] == filed.out.splitlines()
    written = ptune(
        *("run", exported.bundle, "--generate", "--max-new-tokens", 1, "--json"), stdin="\na\n"
    )
    assert [json.loads(line)["prompt"] for line in written.out.splitlines()] == ["", "a"]


def test_nothing_to_answer_is_said(ptune: Ptune, exported: Exported) -> None:
    silent = ptune("run", exported.bundle)
    assert (silent.code, silent.out) == (0, "")
    assert "no text to answer" in silent.err
    assert "is empty" in one_sentence(ptune("run", exported.bundle, ""), 2)
    refused = ptune("run", exported.bundle, "a", "--max-new-tokens", 0)
    assert "--max-new-tokens 0" in one_sentence(refused, 2)
    assert ptune("run", exported.bundle, "a", "--threads", -3).code == 2


def test_a_bundle_that_is_not_there_is_told_from_a_folder_that_is_none(
    ptune: Ptune, tmp_path: Path
) -> None:
    gone = one_sentence(ptune("run", tmp_path / "nosuch", "a"), 5)
    assert gone == f"error: There is no folder {tmp_path / 'nosuch'}."
    assert "is not a bundle: it has no" in one_sentence(ptune("run", tmp_path, "a"), 5)
