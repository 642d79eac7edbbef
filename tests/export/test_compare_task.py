"""The two tasks of Compare, on the tiny run and its bundle: one table, and answers to texts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace
from sklearn.metrics import accuracy_score, confusion_matrix

from export.runtime import Bundle
from ptune_tui.config import DataConfig, RunConfig
from ptune_tui.data import load_data
from ptune_tui.events import (
    AskText,
    EvaluationDone,
    Event,
    Stop,
    TaskFinished,
    TextAnswered,
    encode_line,
)
from ptune_tui.kept_tables import TABLES_FOLDER, kept_tables
from ptune_tui.lineup import Lineup
from ptune_tui.results import EVALUATION_FILE, Evaluation, read_evaluation, write_result
from ptune_tui.rows import read_rows
from ptune_tui.run_table import prompt_hash
from ptune_tui.table_keeping import keep_table
from ptune_tui.tasks import COMMANDS_FILE, EVENTS_FILE, AnswerTask, CompareTask, Lock
from ptune_tui.worker.answer import answer
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.compare import compare
from tests.export.conftest import Exported
from tests.tui.fakes import step

ME = Lock(os.getpid(), psutil.Process().create_time())


@dataclass(frozen=True)
class Compared:
    """A table of everything, of the validation rows of a copied run."""

    run: Path
    table: Evaluation
    events: list[Event]


@pytest.fixture(scope="module")
def compared(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("compare")
    run = Path(shutil.copytree(exported.run, folder / "run"))
    with (run / EVENTS_FILE).open("ab") as events:  # LoRA gets the time of its last step
        events.write(encode_line(step(1)))
    lineup = Lineup(
        run=str(run),
        bundle=str(exported.bundle),
        precisions=("fast", "exact"),
        keys=("base", "instruction", "few_shot", "tuned", "lora"),
        num_examples=3,
    )
    (folder / "task").mkdir()
    task = CompareTask(lineup, None, "ptune eval run")
    said = list(compare(task, folder / "task", Channel(folder / "task")))
    table = read_evaluation(run)
    assert table is not None
    return Compared(run, table, said)


def test_a_table_has_torch_and_each_precision_of_the_bundle_beside_each_other(
    compared: Compared,
) -> None:
    table = compared.table
    assert [line.key for line in table.contenders] == [
        "base", "instruction", "few_shot", "tuned", "bundle", "bundle", "lora",
    ]  # fmt: skip
    titles = [line.title for line in table.contenders[-3:]]
    assert titles == ["bundle (fast)", "bundle (exact)", "LoRA r=8 (same time)"]
    assert (table.flips_from, table.flips_to) == ("base (zero-shot)", "tuned prompt")
    tuned, exact = table.contenders[3], table.contenders[5]
    # What is shipped answers as what was trained.
    assert exact.confusion == tuned.confusion
    said = [event.contender for event in compared.events if isinstance(event, EvaluationDone)]
    assert sorted(said) == sorted(line.title for line in table.contenders)  # torch comes first
    assert table.prompt_hash == prompt_hash(compared.run)
    assert table.forgetting


def test_the_rows_are_those_that_the_run_held_out(compared: Compared, exported: Exported) -> None:
    config = RunConfig(data=DataConfig(train=str(exported.rows)))
    rows = load_data(config.data, config.training.seed).validation
    assert compared.table.num_rows == len(rows) < 48
    assert compared.table.data == f"rows held out of {exported.rows}"
    bundle = Bundle.open(exported.bundle, "exact", num_threads=1)
    answers = [row.label for row in bundle.tuned().classify_rows([row.prompt for row in rows])]
    expected = [row.response for row in rows]
    line = compared.table.contenders[5]
    assert line.score("accuracy") == pytest.approx(accuracy_score(expected, answers))
    labels = compared.table.labels
    assert line.confusion == confusion_matrix(expected, answers, labels=labels).tolist()


def test_a_bundle_alone_is_compared_without_torch(exported: Exported, tmp_path: Path) -> None:
    lineup = Lineup(
        bundle=str(exported.bundle), precisions=("exact",), keys=("base", "instruction")
    )
    script = (
        "import sys; from pathlib import Path\n"
        "from ptune_tui.lineup import Lineup; from ptune_tui.tasks import CompareTask\n"
        "from ptune_tui.worker.channel import Channel\n"
        "from ptune_tui.worker.compare import compare\n"
        f"task = CompareTask({lineup!r}, {str(exported.rows)!r}, 'again', 9)\n"
        "folder = Path(sys.argv[1])\n"
        "list(compare(task, folder, Channel(folder)))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
    table = read_evaluation(tmp_path)
    assert table is not None
    assert [line.key for line in table.contenders] == ["base", "instruction", "bundle"]
    assert (table.num_rows, table.flips_to, table.command) == (9, "bundle (exact)", "again")


def ask(folder: Path, *commands: AskText | Stop) -> Channel:
    """A channel whose commands are there already."""
    channel = Channel(folder)
    (folder / COMMANDS_FILE).write_bytes(b"".join(map(encode_line, commands)))
    return channel


def test_texts_are_answered_by_all_of_the_lineup(exported: Exported, tmp_path: Path) -> None:
    lineup = Lineup(
        run=str(exported.run),
        bundle=str(exported.bundle),
        precisions=("exact",),
        keys=("base", "few_shot", "tuned"),
        num_examples=3,
    )
    texts = [row.prompt for row in read_rows(exported.rows, DataConfig())[:2]]
    channel = ask(tmp_path, AskText(1, texts[0]), AskText(2, texts[1]), Stop(False))
    events = list(answer(AnswerTask(lineup, ME), channel))
    found = [event for event in events if isinstance(event, TextAnswered)]
    assert [event.number for event in found] == [1] * 4 + [2] * 4
    assert [event.is_last for event in found] == [False, False, False, True] * 2
    bundle = Bundle.open(exported.bundle, "exact", num_threads=1)
    for number, text in enumerate(texts):
        base, few_shot, tuned, shipped = found[4 * number : 4 * number + 4]
        assert few_shot.title == "few-shot (3 examples)"
        assert tuned.answer == shipped.answer == bundle.tuned().classify(text).label
        assert base.answer == bundle.base().classify(text).label
        assert shipped.computed_by == "onnxruntime, exact"
        for event in (base, few_shot, tuned, shipped):
            assert sum(event.probabilities.values()) == pytest.approx(1.0)
            assert max(event.probabilities, key=event.probabilities.__getitem__) == event.answer
            assert event.seconds > 0
        assert tuned.probabilities == pytest.approx(shipped.probabilities, abs=1e-3)
    assert isinstance(events[-1], TaskFinished)


def test_free_text_is_answered_and_one_that_cannot_leaves_the_others(
    exported_text: Exported, tmp_path: Path
) -> None:
    lineup = Lineup(
        run=str(exported_text.run),
        bundle=str(exported_text.bundle),
        precisions=("exact",),
        keys=("instruction", "tuned"),  # there are no labels to propose an instruction from
    )
    channel = ask(tmp_path, AskText(1, "say 3"), Stop(False))
    events = list(answer(AnswerTask(lineup, ME), channel))
    refused, tuned, shipped = [event for event in events if isinstance(event, TextAnswered)]
    assert "no instruction can be proposed" in refused.error
    assert (refused.answer, refused.probabilities) == ("", {})
    assert tuned.answer == shipped.answer
    assert (tuned.error, shipped.error, tuned.probabilities) == ("", "", {})


def test_answering_ends_when_nobody_is_left_who_asks(exported: Exported, tmp_path: Path) -> None:
    gone = Lock(2**22 + 1, 0.0)
    lineup = Lineup(bundle=str(exported.bundle), precisions=("exact",))
    events = list(answer(AnswerTask(lineup, gone), ask(tmp_path)))
    assert isinstance(events[-1], TaskFinished)
    assert events[-1].stopped_early


def test_earlier_tables_stay_with_the_run_and_a_fuller_one_stands_for_it(
    compared: Compared, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(compared.run, tmp_path / "run"))
    shutil.rmtree(run / TABLES_FOLDER)
    full = compared.table
    quick = replace(full, num_rows=2, made_at=full.made_at + 5)
    (sentence,) = keep_table(run, quick, is_quick=True)
    assert sentence.startswith("not written")
    other = replace(full, num_rows=7, data_hash="ab", made_at=full.made_at + 9)
    keep_table(run, other, is_quick=False)
    (run / EVALUATION_FILE).unlink()  # what stood before is in the folder all the same
    write_result(run / EVALUATION_FILE, replace(other, prompt_hash="earlier", made_at=1.0))
    keep_table(run, other, is_quick=False)  # of another prompt, too
    (run / TABLES_FOLDER / "broken.json").write_text("{")
    tables, problems = kept_tables(run)
    assert [kept.evaluation.num_rows for kept in tables] == [7, 2, full.num_rows, 7]
    assert len(problems) == 1
    assert "broken.json is damaged" in problems[0]
