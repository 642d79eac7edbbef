"""Evaluation through a bundle equals evaluation in torch; every contender answers every row."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import torch
import transformers

from export.runtime import Bundle
from ptune_tui.config import DataConfig, RunConfig
from ptune_tui.data import load_data
from ptune_tui.errors import DataError
from ptune_tui.evaluation.contenders import TorchAnswers
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.evaluation.neutral import passages
from ptune_tui.events import (
    EvaluationDone,
    LineFollower,
    StageFinished,
    StageProgress,
    StageStarted,
    decode_event,
)
from ptune_tui.rows import read_rows
from ptune_tui.tasks import EVENTS_FILE, EvaluateTask
from ptune_tui.worker.bench.prepare import write_float_model
from ptune_tui.worker.bundle_contenders import BundleContenders, Given
from ptune_tui.worker.bundle_forgetting import probe_forgetting
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.evaluate import evaluate
from ptune_tui.worker.tuned_model import TunedModelStage
from tests.export.conftest import Exported

TORCH: tuple[ContenderKey, ...] = ("base", "instruction", "few_shot", "tuned", "lora")
SAME = {"base": "base", "instruction": "instruction", "few_shot": "few_shot", "tuned": "bundle"}


@dataclass(frozen=True)
class Done:
    """What the task of the tiny run said."""

    answers: TorchAnswers
    events: list[object]
    progress: list[StageProgress]


@pytest.fixture(scope="module")
def in_torch(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("evaluate")
    task = EvaluateTask(
        str(exported.run),
        str(exported.rows),
        contenders=TORCH,
        max_rows=12,
        num_examples=3,
        with_forgetting=True,
        lora_seconds=0.5,
    )
    events = list(evaluate(task, folder, Channel(folder)))
    answers = msgspec.json.decode((folder / "result.json").read_bytes(), type=TorchAnswers)
    lines = LineFollower(folder / EVENTS_FILE).new_lines()
    written = [decode_event(line) for line in lines]
    progress = [event for event in written if isinstance(event, StageProgress)]
    return Done(answers, list(events), progress)


def test_one_task_asks_all_contenders_of_torch(in_torch: Done) -> None:
    assert [line.key for line in in_torch.answers.contenders] == list(TORCH)
    for line in in_torch.answers.contenders:
        assert len(line.answers) == len(line.probabilities or []) == 12
        assert all(1 / 3 <= share <= 1 for share in line.probabilities or [])
        assert line.detail
    evaluations = [event for event in in_torch.events if isinstance(event, EvaluationDone)]
    assert [event.contender for event in evaluations] == [
        line.title for line in in_torch.answers.contenders
    ]
    assert [event.tuned for event in evaluations] == [False, False, False, True, False]
    loads = [e for e in in_torch.events if isinstance(e, StageFinished) and e.stage == "load"]
    assert len(loads) == 1
    lora = in_torch.answers.contenders[-1]
    assert lora.computed_by == "torch, float"
    assert "steps of 8 rows in 0.5 s" in lora.detail or "steps of 8 rows in 1 s" in lora.detail


def test_lora_is_prepared_and_trained_aloud(in_torch: Done) -> None:
    stages = [
        (event.stage, "LoRA" in event.detail)
        for event in in_torch.events
        if isinstance(event, StageStarted) and event.stage in ("prepare", "train")
    ]
    assert stages == [("prepare", True), ("train", True)]
    said = [event for event in in_torch.progress if event.stage == "train"]
    assert said
    assert all(0 <= event.done <= event.total == 1 for event in said)
    assert all(re.fullmatch(r"LoRA, step \d+, seconds", event.detail) for event in said)


def test_every_contender_of_the_bundle_answers_as_in_torch(
    exported: Exported, in_torch: Done
) -> None:
    rows = read_rows(exported.rows, DataConfig())[:12]
    given = Given(
        # The run held some rows out, and examples come from the others.
        train=str(exported.rows),
        num_examples=3,
    )
    bundle = Bundle.open(exported.bundle, "exact", num_threads=1)
    contenders = BundleContenders(bundle, given, rows)
    for line in in_torch.answers.contenders[:4]:
        if line.key == "few_shot":
            continue
        found = contenders.ask(SAME[line.key])  # type: ignore[arg-type]
        assert found.answers == line.answers
        assert found.probabilities == pytest.approx(line.probabilities, abs=1e-4)
        assert found.computed_by == "onnxruntime, exact"


def test_examples_shown_to_a_bundle_are_those_shown_in_torch(
    exported: Exported, tmp_path: Path
) -> None:
    task = EvaluateTask(
        str(exported.run),
        str(exported.rows),
        contenders=("few_shot",),
        max_rows=12,
        num_examples=3,
        train=str(exported.rows),
    )
    list(evaluate(task, tmp_path, Channel(tmp_path)))
    (line,) = msgspec.json.decode(
        (tmp_path / "result.json").read_bytes(), type=TorchAnswers
    ).contenders
    given = Given(train=str(exported.rows), num_examples=3)
    bundle = Bundle.open(exported.bundle, "exact", num_threads=1)
    rows = read_rows(exported.rows, DataConfig())[:12]
    found = BundleContenders(bundle, given, rows).ask("few_shot")
    assert (found.title, found.detail) == (line.title, line.detail)
    assert found.answers == line.answers
    assert found.probabilities == pytest.approx(line.probabilities, abs=1e-4)


def test_the_forgetting_probe_is_the_same_in_the_bundle_and_right_for_the_base(
    exported: Exported, in_torch: Done, tmp_path: Path
) -> None:
    ours = in_torch.answers.forgetting
    theirs = probe_forgetting(Bundle.open(exported.bundle, "exact", num_threads=1), None)
    assert [probe.name for probe in ours] == [probe.name for probe in theirs]
    assert float(ours[0].tuned) == pytest.approx(float(theirs[0].tuned), rel=1e-3)
    assert [probe.base for probe in ours[1:]] == [probe.base for probe in theirs[1:]]
    stage = TunedModelStage(exported.run, Channel(tmp_path))
    list(stage.events())
    frozen = stage.tuned.frozen
    write_float_model(frozen.config, frozen.loaded.weights, tmp_path / "float")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "float")
    total, count = 0.0, 0
    with torch.no_grad():
        for passage in passages():
            ids = torch.tensor([frozen.text.tokenizer.encode(passage).ids])
            total += float(plain(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
            count += ids.shape[1] - 1
    assert float(ours[0].base) == pytest.approx(math.exp(total / count), rel=1e-3)


def test_scored_rows_are_no_examples_and_it_is_said_that_they_were_trained_on(
    exported: Exported, in_torch: Done
) -> None:
    config = RunConfig(data=DataConfig(train=str(exported.rows)))
    trained = load_data(config.data, config.training.seed).train
    count = sum(row.line <= 12 for row in trained)
    assert count
    assert f"{count} of the 12 scored rows are also training rows of the run." in (
        in_torch.answers.notes
    )
    few_shot = next(line for line in in_torch.answers.contenders if line.key == "few_shot")
    lines = few_shot.detail.split("lines ")[1].split(" of ")[0].split(", ")
    assert len(lines) == 3
    assert min(map(int, lines)) > 12


def test_a_bundle_says_what_it_knows_of_scored_rows_that_were_trained_on(
    exported: Exported,
) -> None:
    rows = read_rows(exported.rows, DataConfig())[:3]
    bundle = Bundle.open(exported.bundle, "exact", num_threads=1)
    contenders = BundleContenders(bundle, Given(), rows)
    (unknown,) = contenders.overlaps()
    assert "is not known" in unknown
    named = Given(train=str(exported.rows))
    assert BundleContenders(bundle, named, rows).overlaps() == [
        "3 of the 3 scored rows are also training rows of `--train`."
    ]
    detail = contenders.ask("bundle").detail
    assert detail.startswith(f"{exported.bundle.name}, ")


def test_examples_with_an_unknown_label_are_refused_with_their_line(
    exported: Exported, tmp_path: Path
) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text('{"prompt": "x", "response": "no such label"}\n', encoding="utf-8")
    given = Given(train=str(train))
    bundle = Bundle.open(exported.bundle, "exact", num_threads=1)
    rows = read_rows(exported.rows, DataConfig())[:2]
    with pytest.raises(DataError, match=r"train\.jsonl:1: the response 'no such label'"):
        BundleContenders(bundle, given, rows).ask("few_shot")
    task = EvaluateTask(
        str(exported.run),
        str(exported.rows),
        contenders=("lora",),
        max_rows=2,
        train=str(train),
        lora_seconds=0.1,
    )
    with pytest.raises(DataError, match=r"train\.jsonl:1: the response 'no such label'"):
        list(evaluate(task, tmp_path, Channel(tmp_path)))
