"""`ptune eval` refuses before any work what would fail or be ignored behind it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from export.template import Template
from ptune_tui.cli.evaluation_checks import check_places, check_request
from ptune_tui.cli.evaluation_request import EvaluationRequest
from ptune_tui.errors import DataError, UsageError
from ptune_tui.evaluation.columns import Columns
from ptune_tui.prompt_card import PromptCard
from ptune_tui.run_prompt import ADAPTER_FOLDER, CARD_FILE
from ptune_tui.tasks import TASK_FILE

DATA = "support_inbox"


def run_of(folder: Path, labels: list[str] | None) -> str:
    """What the checks read of a run."""
    (folder / ADAPTER_FOLDER).mkdir(parents=True)
    (folder / TASK_FILE).write_text("{}")
    card = PromptCard("m", "int4", "", Template(), 0, 9, labels, 9)
    (folder / ADAPTER_FOLDER / CARD_FILE).write_bytes(msgspec.json.encode(card))
    return str(folder)


@pytest.fixture
def run(tmp_path: Path) -> str:
    return run_of(tmp_path / "run", ["a", "b"])


def test_a_second_run_must_answer_with_the_same_labels(run: str, tmp_path: Path) -> None:
    other = run_of(tmp_path / "other", ["a", "c"])
    free = run_of(tmp_path / "free", None)
    with pytest.raises(DataError, match=r"2 labels \(a, c\), and .* 2 labels \(a, b\)"):
        check_request(run, other, EvaluationRequest(DATA))
    with pytest.raises(DataError, match="free text"):
        check_request(run, free, EvaluationRequest(DATA))
    check_request(run, run_of(tmp_path / "same", ["a", "b"]), EvaluationRequest(DATA))


@pytest.mark.parametrize(
    ("option", "request_"),
    [
        ("--precision", EvaluationRequest(DATA, precision="exact")),
        ("--threads", EvaluationRequest(DATA, num_threads=3)),
        ("--prompt", EvaluationRequest(DATA, ("bundle",), prompt="mine")),
        ("--bundle", EvaluationRequest(DATA, bundle="x")),
    ],
)
def test_options_of_a_bundle_need_one(run: str, option: str, request_: EvaluationRequest) -> None:
    with pytest.raises(UsageError, match=f"`{option}` was given"):
        check_request(run, None, request_)


def test_options_that_have_a_reader_pass(run: str) -> None:
    check_request(run, None, EvaluationRequest(DATA, ("bundle",), precision="exact", num_threads=3))
    check_request(run, None, EvaluationRequest(DATA, with_probabilities=True, force=True))


def test_free_text_has_no_calibration(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`--calibration` was given"):
        check_request(
            run_of(tmp_path / "free", None), None, EvaluationRequest(DATA, with_probabilities=True)
        )


def test_an_instruction_has_one_place_for_the_row(run: str) -> None:
    twice = EvaluationRequest(DATA, ("instruction",), instruction="{prompt} {prompt}")
    with pytest.raises(UsageError, match="2 times"):
        check_request(run, None, twice)
    check_request(run, None, EvaluationRequest(DATA, ("instruction",), instruction="Say."))


def test_missing_rows_are_refused(run: str) -> None:
    with pytest.raises(DataError, match=r"no data file nowhere\.jsonl"):
        check_request(run, None, EvaluationRequest("nowhere.jsonl"))
    with pytest.raises(DataError, match=r"no data file nowhere\.jsonl"):
        check_request(run, None, EvaluationRequest(DATA, ("few_shot",), train="nowhere.jsonl"))
    check_request(run, None, EvaluationRequest(DATA, ("few_shot",), train=DATA))


def test_a_missing_folder_to_write_into_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        check_places(None, tmp_path / "missing" / "table.json")
    check_places(None, tmp_path / "table.json", Path("here.json"))


def test_only_a_run_by_itself_has_rows_of_its_own(run: str, tmp_path: Path) -> None:
    check_request(run, None, EvaluationRequest(None))
    other = run_of(tmp_path / "other", ["a", "b"])
    with pytest.raises(UsageError, match="`--data` is missing"):
        check_request(run, other, EvaluationRequest(None))
    with pytest.raises(UsageError, match="`--prompt-field` or `--response-field` was given"):
        check_request(run, None, EvaluationRequest(None, columns=Columns("question")))
