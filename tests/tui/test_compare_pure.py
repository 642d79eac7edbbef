"""What Compare asks for, and what it says of what was found, before anything draws it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len
from sklearn.metrics import precision_recall_fscore_support

from ptune_tui.bundles import read_card
from ptune_tui.evaluation.label_scores import LabelOutcomes
from ptune_tui.events import StageFinished, StageStarted, TaskFailed
from ptune_tui.lineup import Lineup
from ptune_tui.results import ContenderScores, Flip, write_result
from ptune_tui.run_listing import RunListing
from ptune_tui.tui.answer_views import answer_lines
from ptune_tui.tui.compare_check import read_lineup, read_rows
from ptune_tui.tui.compare_choice import (
    FIELDS,
    OWN_FILE,
    VALIDATION,
    RowsChoice,
    bundle_of,
    command,
    data_choices,
    default_ticks,
    keys_of,
    lora_note,
)
from ptune_tui.tui.compare_state import AnswersState, AskedText, TableState
from ptune_tui.tui.compare_subjects import Subject, subject_of, subjects, tables_of
from ptune_tui.tui.table_views import (
    calibration_lines,
    chosen_flips,
    class_lines,
    confused_lines,
    progress_lines,
)
from tests.report.results import evaluation
from tests.tui import fakes

RUN = Subject("run mine", Path("/runs/mine"), None, labels=["a", "b"], training_seconds=75.0)
TEXTS = {field.name: field.default for field in FIELDS}
ALL = {"base", "instruction", "few_shot", "tuned", "fast", "exact"}


def lineup_of(
    texts: dict[str, str], ticked: set[str], subject: Subject
) -> tuple[Lineup | None, dict[str, str]]:
    return read_lineup(texts, ticked, subject, bundle_of(texts, subject))


def of_bundle(folder: Path) -> Subject:
    fakes.write_bundle(folder)
    return Subject("bundle x", None, folder)


def test_runs_stand_before_bundles_and_bring_their_own(home: Path, tmp_path: Path) -> None:
    run = fakes.write_run(home / "runs" / "one", fakes.finished())
    fakes.write_run(home / "runs" / "two", fakes.finished())
    (run / "adapter" / "prompt.json").write_text('{"labels": ["a", "b"], "step": 3}')
    own = fakes.write_bundle(run / "bundle")
    other = fakes.write_bundle(tmp_path / "other")
    found = {subject.word: subject for subject in subjects(RunListing(), None, other)}
    assert sorted(found) == ["bundle one/bundle", "bundle other", "run one", "run two"]
    assert (found["run one"].bundle, found["run one"].labels) == (own, ["a", "b"])
    assert found["run two"].bundle is found["run two"].labels is None
    assert subject_of(tmp_path) is None
    assert subject_of(run) == found["run one"]


def test_form_of_a_run_and_its_bundle_is_a_lineup_and_a_command(tmp_path: Path) -> None:
    bundle = fakes.write_bundle(tmp_path / "bundle")
    texts = {**TEXTS, "bundle": str(bundle), "prompt": "commands", "instruction": "Say a or b."}
    lineup, problems = lineup_of({**texts, "examples": "4"}, ALL, RUN)
    assert problems == {}
    assert lineup == Lineup(
        run="/runs/mine",
        bundle=str(bundle),
        prompt="commands",
        precisions=("fast", "exact"),
        keys=("base", "instruction", "few_shot", "tuned"),
        instruction="Say a or b.",
        num_examples=4,
    )
    assert command(lineup, RowsChoice("trec.jsonl", 30), RUN) == (
        "ptune eval mine --data trec.jsonl --max-rows 30 "
        "--baselines base,instruction,few-shot,bundle --bundle bundle --prompt commands "
        "--precision fast --instruction 'Say a or b.' --examples 4 && "
        "ptune eval mine --data trec.jsonl --max-rows 30 "
        "--baselines bundle --bundle bundle --prompt commands --precision exact"
    )
    alone, _ = lineup_of(TEXTS, {"tuned"}, RUN)
    assert alone is not None
    assert command(alone, RowsChoice(None, None), RUN) == "ptune eval mine --baselines none"


def test_lora_is_a_line_of_a_run_and_reads_its_rows(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,response\na,b\n")
    lineup, problems = lineup_of({**TEXTS, "train": str(rows)}, {"base", "tuned", "lora"}, RUN)
    assert problems == {}
    assert lineup is not None
    assert lineup.keys == ("base", "tuned", "lora")
    assert command(lineup, RowsChoice(None, 30), RUN) == (
        f"ptune eval mine --max-rows 30 --baselines base,lora --train {rows}"
    )
    assert lora_note(RUN) == "+ 1 min 15 s of training"
    assert lineup.of_texts().keys == ("base", "tuned")
    untrained = Subject("run mine", Path("/runs/mine"), None)
    assert "untick it" in lineup_of(TEXTS, {"tuned", "lora"}, untrained)[1]["lines"]
    bundle = of_bundle(tmp_path / "bundle")
    assert keys_of(bundle) == ["base", "instruction", "few_shot"]
    assert lora_note(bundle) == ""


@pytest.mark.parametrize(
    ("changes", "ticked", "field", "words"),
    [
        ({}, {"base"}, "lines", "tick the tuned prompt"),
        ({"bundle": "/nowhere"}, {"tuned"}, "bundle", "there is no bundle"),
        ({"examples": "0"}, {"tuned", "few_shot"}, "examples", "above 0 is needed, not `0`"),
        ({"train": "/no/rows.csv"}, {"tuned", "few_shot"}, "train", "there is no file"),
        (
            {"instruction": "{prompt} or {prompt}"},
            {"tuned", "instruction"},
            "instruction",
            "{prompt} once",
        ),
    ],
)
def test_what_is_wrong_with_a_lineup_is_said_at_its_field(
    changes: dict[str, str], ticked: set[str], field: str, words: str
) -> None:
    lineup, problems = lineup_of({**TEXTS, **changes}, ticked, RUN)
    assert lineup is None
    assert list(problems) == [field]
    assert words in problems[field]


def test_free_text_has_no_instruction_of_its_own() -> None:
    text = Subject("run mine", Path("/runs/mine"), None, labels=None)
    assert default_ticks(text, None, "-") == {"base", "few_shot", "tuned"}
    assert "instruction" in lineup_of(TEXTS, {"tuned", "instruction"}, text)[1]
    assert default_ticks(RUN, None, "-") == {"base", "few_shot", "tuned", "instruction"}


def test_a_bundle_has_neither_rows_nor_examples_of_its_own(tmp_path: Path) -> None:
    subject = of_bundle(tmp_path / "bundle")
    card = read_card(tmp_path / "bundle")
    assert default_ticks(subject, card, "commands") == {"base", "instruction", "fast"}
    assert VALIDATION not in data_choices(subject)
    texts = {**TEXTS, "prompt": "commands"}
    assert list(lineup_of(texts, {"fast", "few_shot"}, subject)[1]) == ["train"]
    assert list(read_rows(TEXTS, subject)[1]) == ["data"]
    lineup, _ = lineup_of(texts, {"fast", "base", "tuned"}, subject)
    assert lineup is not None
    assert (lineup.run, lineup.keys, lineup.precisions) == (None, ("base",), ("fast",))


def test_a_path_may_begin_at_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    bundle = fakes.write_bundle(tmp_path / "bundle")
    lineup, _ = lineup_of(
        {**TEXTS, "bundle": "~/bundle", "prompt": "commands"}, {"tuned", "fast"}, RUN
    )
    assert lineup is not None
    assert lineup.bundle == str(bundle)
    (tmp_path / "rows.csv").write_text("prompt,response\na,b\n")
    rows, _ = read_rows({**TEXTS, "data": OWN_FILE, "file": "~/rows.csv"}, RUN)
    assert rows is not None
    assert rows.data == str(tmp_path / "rows.csv")


def test_rows_are_the_run_s_own_or_a_file_that_is_there(tmp_path: Path) -> None:
    assert read_rows(TEXTS, RUN) == (RowsChoice(None, 200), {})
    own = {**TEXTS, "data": OWN_FILE, "file": str(tmp_path / "rows.csv"), "rows": ""}
    assert "there is no file" in read_rows(own, RUN)[1]["file"]
    (tmp_path / "rows.csv").write_text("prompt,response\na,b\n")
    assert read_rows(own, RUN)[0] == RowsChoice(str(tmp_path / "rows.csv"), None)
    assert "above 0" in read_rows({**TEXTS, "rows": "few"}, RUN)[1]["rows"]


def test_a_prompt_that_cannot_be_read_leaves_the_tables_there(tmp_path: Path) -> None:
    write_result(
        tmp_path / "evaluation.json", msgspec.structs.replace(evaluation(), prompt_hash="0")
    )
    (tmp_path / "adapter" / "adapter_model.safetensors").mkdir(parents=True)
    tables, problems = tables_of(tmp_path, fakes.START)
    assert len(tables) == 1
    assert "adapter_model.safetensors cannot be read: Is a directory" in problems[0]


def test_a_table_that_is_made_shows_each_line_with_its_accuracy() -> None:
    state = TableState()
    for event in fakes.comparing(num_done=2):
        state.add(event)
    lines = [line.plain for line in progress_lines(state, fakes.START + 130)]
    assert lines[0].startswith("✓ load default")
    assert lines[1].split() == ["✓", "base", "(zero-shot)", "6.4", "s", "22.0", "%"]
    assert lines[-1].split()[-2:] == ["s", "79/132"]
    assert lines[-1].startswith("▸ few-shot (8 examples)")
    state.is_cancelled = True
    state.add(TaskFailed("interrupted", "It was interrupted.", "", ""))
    lines = [line.plain for line in progress_lines(state, fakes.START + 130)]
    assert lines[-2].startswith("- few-shot")
    assert lines[-1] == "- stopped; no table was made"


def test_a_table_that_is_made_always_shows_what_goes_on() -> None:
    state = TableState()
    imported = [StageStarted("import", fakes.START, "torch"), StageFinished("import", 9.0)]
    for event in imported:
        state.add(event)
    lines = [line.plain for line in progress_lines(state, fakes.START + 10)]
    assert lines[0].startswith("✓ import torch")
    assert lines[1:] == ["▸ preparing the next step..."]
    state.add(StageStarted("load", fakes.START + 10, "default"))
    lines = [line.plain for line in progress_lines(state, fakes.START + 12)]
    assert lines[1].split() == ["▸", "load", "default", "2.0", "s"]
    assert len(lines) == 2
    state.is_cancelled = True
    state.add(StageFinished("load", 2.0))
    lines = [line.plain for line in progress_lines(state, fakes.START + 12)]
    assert lines[2:] == ["- stopping..."]


def test_answers_stand_below_their_text_with_time_and_rivals() -> None:
    asked, state = AskedText("the lamp\nbroke"), AnswersState()
    state.texts[1] = asked
    waiting = [line.plain for line in answer_lines([asked], state, True)]
    assert waiting[:2] == ["> the lamp↵broke", "  ▸ starting..."]
    for event in fakes.answered():
        state.add(event)
    assert not state.is_waiting
    lines = [line.plain.split() for line in answer_lines([asked], state, True)]
    assert lines[1] == [
        "base",
        "(zero-shot)",
        "210",
        "ms",
        "account",
        "61",
        "%",
        "·",
        "billing",
        "30",
    ]
    assert lines[2][:3] == ["few-shot", "✗", "No"]
    assert lines[4][:5] == ["bundle", "(fast)", "12", "ms", "returns"]
    of_another_worker = AskedText("what?")
    lines = [line.plain for line in answer_lines([of_another_worker], state, True)]
    assert lines[1] == "- not answered"


def test_text_that_nobody_answered_says_whether_it_was_stopped() -> None:
    asked, state = AskedText("what?"), AnswersState()
    state.texts[1] = asked
    state.add(TaskFailed("model", "The weights are others.", "", ""))
    lines = [line.plain for line in answer_lines([asked], state, False)]
    assert lines[1] == "✗ not answered: the worker failed"
    state.is_cancelled = True
    assert "- stopped" in [line.plain for line in answer_lines([asked], state, False)]


@pytest.mark.parametrize(("width", "num_columns"), [(60, 2), (121, 2), (122, 4)])
def test_free_answers_stand_beside_each_other_where_there_is_room(
    width: int, num_columns: int
) -> None:
    asked, state = AskedText("name[Alimentum]"), AnswersState()
    state.texts[1] = asked
    for event in fakes.answered_freely():
        state.add(event)
    lines = [line.plain for line in answer_lines([asked], state, True, width)][1:-1]
    assert all(cell_len(line) <= width for line in lines)
    assert {line.count("│") for line in lines if line} == {num_columns - 1}
    first = lines[: lines.index("") if "" in lines else None]
    columns = [
        " ".join(" ".join(part).split())
        for part in zip(*(line.split("│") for line in first), strict=True)
    ]
    for answer, column in zip(asked.answers, columns, strict=False):
        assert column.startswith(answer.title)
        assert column.endswith(" ".join(answer.answer.split()))


def test_free_answers_stand_below_each_other_where_it_is_narrow() -> None:
    asked, state = AskedText("name[Alimentum]"), AnswersState()
    state.texts[1] = asked
    for event in fakes.answered_freely():
        state.add(event)
    narrow = [line.plain for line in answer_lines([asked], state, True, 50)]
    assert narrow == [line.plain for line in answer_lines([asked], state, True)]
    assert "    It is not for families." in narrow


def test_rows_that_flipped_are_told_apart() -> None:
    table = evaluation()
    before = table.flips_from
    kinds = {kind: chosen_flips(table, before, kind) for kind in ("won", "lost", "other")}  # type: ignore[arg-type]
    flipped = chosen_flips(table, before, "flipped")
    assert sum(map(len, kinds.values())) == len(flipped) == len(table.flips)
    assert all(flip.after == flip.expected for flip in kinds["won"])
    assert all(flip.before == flip.expected for flip in kinds["lost"])
    assert kinds["other"] == [Flip(871, "neither", "negative", "maybe", "perhaps")]


def line_of(expected: list[str], answers: list[str], sure: list[float]) -> ContenderScores:
    labels = ["a", "b", "c"]
    outcomes = LabelOutcomes.of(labels, expected, answers, sure)
    made = evaluation(labels).contenders[0]
    return msgspec.structs.replace(
        made,
        class_scores=outcomes.class_scores(),
        confusion=outcomes.confusion(),
        calibration=outcomes.calibration(),
    )


def test_classes_confusion_and_calibration_are_those_of_the_answers() -> None:
    expected, answers = list("aaaabbbccc"), list("aaabbbaccb")
    sure = [0.9] * 7 + [0.4] * 3
    line = line_of(expected, answers, sure)
    found = [text.plain.split() for text in class_lines(line, None)][1:]
    precision, recall, f1, rows = precision_recall_fscore_support(expected, answers)
    for number, label in enumerate("abc"):
        shares = [f"{100 * each[number]:.1f}" for each in (precision, recall, f1)]
        assert found[number] == [label, *shares, str(rows[number])]
    assert {text.plain for text in confused_lines(line)} == {
        "1 row of a answered b", "1 row of b answered a", "1 row of c answered b",
    }  # fmt: skip
    lines = [text.plain for text in calibration_lines(line)]
    # 0.9 of seven rows and 0.4 of three, where seven of the ten are right
    assert (
        f"on the whole {100 * abs((7 * 0.9 + 3 * 0.4) / 10 - 0.7):.1f} points too sure" in lines[0]
    )
    (low, high) = [text.split() for text in lines if " %  " in text]
    assert low[2:4] == ["3", "40.0"]
    assert high[2:4] == ["7", "90.0"]
