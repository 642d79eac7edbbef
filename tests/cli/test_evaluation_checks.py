"""`ptune eval` refuses before any work what would fail or be ignored behind it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from export.template import Template
from ptune_tui.cli.evaluation_checks import check_places, check_request
from ptune_tui.cli.evaluation_request import EvaluationRequest
from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError, UsageError
from ptune_tui.evaluation.columns import RECOGNISED, Columns
from ptune_tui.evaluation.run_columns import columns_for_run
from ptune_tui.prompt_card import PromptCard
from ptune_tui.rows import read_rows, recognise_rows
from ptune_tui.run_prompt import ADAPTER_FOLDER, CARD_FILE
from ptune_tui.tasks import CONFIG_FILE, TASK_FILE

DATA = "support_inbox"


INBOX = ["account", "billing", "returns", "sales", "shipping", "technical"]


def run_of(folder: Path, labels: list[str] | None, data: str = "") -> str:
    """What the checks read of a run."""
    (folder / ADAPTER_FOLDER).mkdir(parents=True)
    (folder / TASK_FILE).write_text("{}")
    (folder / CONFIG_FILE).write_text(f"[data]\n{data}")
    card = PromptCard("m", "int4", "", Template(), 0, 9, labels, 9)
    (folder / ADAPTER_FOLDER / CARD_FILE).write_bytes(msgspec.json.encode(card))
    return str(folder)


@pytest.fixture
def run(tmp_path: Path) -> str:
    return run_of(tmp_path / "run", INBOX)


def test_a_second_run_must_answer_with_the_same_labels(run: str, tmp_path: Path) -> None:
    two = run_of(tmp_path / "two", ["a", "b"])
    other = run_of(tmp_path / "other", ["a", "c"])
    free = run_of(tmp_path / "free", None)
    with pytest.raises(DataError, match=r"2 labels \(a, c\), and .* 2 labels \(a, b\)"):
        check_request(two, other, EvaluationRequest(DATA))
    with pytest.raises(DataError, match="free text"):
        check_request(run, free, EvaluationRequest(DATA))
    check_request(run, run_of(tmp_path / "same", INBOX), EvaluationRequest(DATA))


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
    free = run_of(tmp_path / "free", None)
    with pytest.raises(UsageError, match="`--calibration` was given"):
        check_request(free, None, EvaluationRequest(DATA, with_probabilities=True))
    check_request(free, None, EvaluationRequest(DATA, with_probabilities=False))


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
    other = run_of(tmp_path / "other", INBOX)
    with pytest.raises(UsageError, match="`--data` is missing"):
        check_request(run, other, EvaluationRequest(None))
    with pytest.raises(UsageError, match="`--prompt-field` or `--response-field` was given"):
        check_request(run, None, EvaluationRequest(None, columns=Columns("question")))


def write_rows(path: Path, *rows: dict[str, object]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def test_rows_that_cannot_be_scored_are_refused_before_a_model_is_loaded(
    run: str, tmp_path: Path
) -> None:
    wrong = write_rows(tmp_path / "wrong.jsonl", {"prompt": "x", "response": "complaint"})
    with pytest.raises(DataError, match=r"wrong\.jsonl:1: the response 'complaint' is not one"):
        check_request(run, None, EvaluationRequest(wrong))
    empty = write_rows(tmp_path / "empty.jsonl", {"prompt": "", "response": "sales"})
    with pytest.raises(DataError, match=r"empty\.jsonl:1: `prompt` is empty"):
        check_request(run, None, EvaluationRequest(empty))


def test_columns_of_training_that_a_file_does_not_have_are_recognised(tmp_path: Path) -> None:
    named = 'prompt_field = "prompt"\nresponse_field = "response"\n'
    free = run_of(tmp_path / "free", None, named)
    refs = write_rows(tmp_path / "refs.jsonl", {"prompt": "x", "references": ["a", "b"]})
    check_request(free, None, EvaluationRequest(refs))
    trained = DataConfig(prompt_field="prompt", response_field="response")
    found = columns_for_run(Path(refs), trained, RECOGNISED)
    assert (found.config.prompt_field, found.config.response_field) == ("prompt", None)
    assert found.note == "refs.jsonl has no `response`, as training had: it is recognised."
    assert read_rows(Path(refs), found.config)[0].right_answers == ("a", "b")
    # What the user names for this very file has to be there.
    with pytest.raises(DataError, match="has no `answer`"):
        check_request(free, None, EvaluationRequest(refs, columns=Columns(None, "answer")))
    # A column that only the first row lacks is a column of the file, and that row a mistake.
    gap = write_rows(tmp_path / "gap.jsonl", {"prompt": "x", "label": "y"}, {"response": "z"})
    assert columns_for_run(Path(gap), trained, RECOGNISED).note is None
    with pytest.raises(DataError, match=r"gap\.jsonl:1: this row has no `response`"):
        check_request(free, None, EvaluationRequest(gap))


def test_references_beside_a_named_answer_are_right_too(tmp_path: Path) -> None:
    row = {"prompt": "x", "answer": "a", "references": ["b", "a", "c"]}
    path = Path(write_rows(tmp_path / "rows.jsonl", row))
    read = recognise_rows(path, DataConfig(prompt_field="prompt", response_field="answer"))
    assert read.rows[0].response == "a"
    assert read.rows[0].right_answers == ("a", "b", "c")
    assert read.about == "rows.jsonl: input: `prompt`; answer: `answer`, `references`"
    itself = read_rows(path, DataConfig(prompt_field="prompt", response_field="references"))
    assert itself[0].right_answers == ("b", "a", "c")
