"""`ptune data check` as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ptune_tui.data_check.report import DataReport


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ptune_tui", "data", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Nine copies of a row, a line that is none, and 30 good rows."""
    rows = [{"prompt": "where is it", "response": "a"}] * 10
    rows += [{"prompt": f"a question, number {n}", "response": "ab"[n % 2]} for n in range(30)]
    lines = [json.dumps(row) for row in rows]
    lines.insert(3, "[1, 2]")
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_errors_give_exit_code_3_counts_in_full_and_the_first_places(faulty: Path) -> None:
    done = run(faulty, "--no-tokens", "--places", "2")
    assert done.returncode == 3
    assert f"{faulty}:4: this is a JSON array" in done.stdout
    assert "duplicate: 9" in done.stdout
    assert f"{faulty}:2: the same prompt and response as line 1." in done.stdout
    assert "and 7 more" in done.stdout
    assert "1 error, 9 warnings, " in done.stdout
    assert done.stderr == ""


def test_json_holds_the_same_and_a_copy_has_no_errors_left(faulty: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.jsonl"
    done = run(faulty, "--no-tokens", "--places", "2", "--json", "--fix", out)
    assert done.returncode == 0
    output = json.loads(done.stdout)
    report = msgspec.convert(output["report"], DataReport)
    duplicates = next(found for found in report.findings if found.code == "duplicate")
    assert duplicates.count == 9
    assert [place.line for place in duplicates.places] == [2, 3]
    assert output["cleaned"]["num_written"] == 31
    assert "31 rows written" in done.stderr
    assert len(out.read_text("utf-8").splitlines()) == 31
    assert run(faulty, "--no-tokens", "--fix", out).returncode == 2


def test_tokens_are_counted_by_the_models_own_tokenizer(tiny_model: Path, faulty: Path) -> None:
    done = run(faulty, "--model", tiny_model, "--json")
    report = msgspec.convert(json.loads(done.stdout)["report"], DataReport)
    assert report.tokenizer == "tiny"
    tokens = report.splits[0].tokens
    assert tokens is not None
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    prompts = [f"a question, number {number}\n" for number in range(30)]
    assert tokens.prompt.longest == max(len(tokenizer(text).input_ids) for text in prompts)
    again = run(faulty, "--model", tiny_model)
    assert "Reading the tokenizer" in done.stderr
    assert again.stderr == ""  # it was kept


@pytest.mark.parametrize("name", ["support_inbox", "home_commands"])
def test_the_built_in_sets_have_no_errors(name: str) -> None:
    done = run(name, "--no-tokens")
    assert done.returncode == 0
    assert "0 errors" in done.stdout
