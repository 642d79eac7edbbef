"""The task that makes the table of a lineup: a run in torch, a bundle in each of its precisions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from export.bundle import named_record, read_manifest
from export.runtime import Bundle
from ptune_tui.config import load
from ptune_tui.data import check_labels, data_path
from ptune_tui.errors import DataError
from ptune_tui.evaluation.assembly import Answered, assemble
from ptune_tui.evaluation.bootstrap import Resamples
from ptune_tui.evaluation.columns import RECOGNISED
from ptune_tui.evaluation.contenders import ContenderAnswers, TorchAnswers, references
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.evaluation.run_columns import columns_for_run
from ptune_tui.evaluation.scored_rows import ScoredRows, validation_rows
from ptune_tui.evaluation.text_scores import exact_matches
from ptune_tui.events import (
    EvaluationDone,
    Event,
    Notice,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.lineup import ORDER, Lineup
from ptune_tui.metrics import accuracy, macro_f1
from ptune_tui.results import EVALUATION_FILE, Evaluation, ForgettingProbe, finite, write_result
from ptune_tui.rows import recognise_rows
from ptune_tui.run_table import prompt_hash
from ptune_tui.table_keeping import keep_table
from ptune_tui.tasks import CONFIG_FILE, RESULT_FILE, CompareTask, EvaluateTask
from ptune_tui.worker.bundle_contenders import BundleContenders, Given
from ptune_tui.worker.bundle_forgetting import probe_forgetting
from ptune_tui.worker.channel import Channel

_torch_decoder = msgspec.json.Decoder(TorchAnswers)


@dataclass
class _Lines:
    """What was answered so far."""

    answers: list[ContenderAnswers] = field(default_factory=list)
    labels: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    forgetting: list[ForgettingProbe] = field(default_factory=list)


def compare(task: CompareTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Make a table; it goes to `evaluation.json` in the task's folder, and is kept with the run.

    Args:
        task (CompareTask): Who is compared, on which rows.
        folder (Path): The task's folder.
        channel (Channel): Where progress is said.
    """
    started = time.perf_counter()
    lineup = task.lineup
    # Before the scoring: of a run that trains on meanwhile, the table then counts as an older one.
    scored_prompt = prompt_hash(Path(lineup.run)) if lineup.run else ""
    lines = _Lines()
    if lineup.asks_torch:
        yield from _in_torch(task, folder, channel, lines)
    rows = _rows(task)
    if lineup.bundle and lineup.precisions:
        yield from _in_the_bundle(task, rows, channel, lines)
    lines.answers.sort(key=lambda line: ORDER.index(line.key))
    yield StageStarted("measure", time.time(), "intervals and tests")
    before = time.perf_counter()
    evaluation = _table(task, rows, lines, scored_prompt)
    yield StageFinished("measure", time.perf_counter() - before)
    write_result(folder / EVALUATION_FILE, evaluation)
    if lineup.run:
        run = Path(lineup.run)
        is_quick = task.max_rows is not None or len(lines.answers) == 1
        for sentence in keep_table(run, evaluation, is_quick=is_quick):
            yield Notice("table", sentence)
    yield TaskFinished(time.perf_counter() - started)


def _in_torch(task: CompareTask, folder: Path, channel: Channel, lines: _Lines) -> Iterator[Event]:
    """The lines of a run."""
    from ptune_tui.worker.evaluate import evaluate  # torch; a bundle needs none

    lineup = task.lineup
    assert lineup.run is not None
    asked = EvaluateTask(
        run=lineup.run,
        data=task.data,
        contenders=tuple(key for key in ORDER if key in lineup.keys),
        max_rows=task.max_rows,
        instruction=lineup.instruction,
        num_examples=lineup.num_examples,
        seed=lineup.seed,
        train=lineup.train,
        with_forgetting={"base", "tuned"} <= set(lineup.keys),
        is_named=False,
    )
    for event in evaluate(asked, folder, channel):
        if not isinstance(event, TaskFinished):
            yield event
    found = _torch_decoder.decode((folder / RESULT_FILE).read_bytes())
    lines.answers += found.contenders
    lines.labels, lines.forgetting = found.labels, found.forgetting
    lines.notes += found.notes


def _rows(task: CompareTask) -> ScoredRows:
    """The rows that are scored, read as the run's own are."""
    lineup = task.lineup
    if task.data is None:
        assert lineup.run is not None  # a bundle knows no rows
        found = validation_rows(load(Path(lineup.run) / CONFIG_FILE))
        return replace(found, rows=found.rows[: task.max_rows])
    path = data_path(task.data)
    if lineup.run:
        trained = load(Path(lineup.run) / CONFIG_FILE).data
        columns = columns_for_run(path, trained, RECOGNISED).config
    else:
        assert lineup.bundle is not None
        bundle = Path(lineup.bundle)
        _, record = named_record(bundle, read_manifest(bundle), lineup.prompt)
        columns = RECOGNISED.data_config(record.template.column_template)
    return ScoredRows(task.data, path, None, recognise_rows(path, columns).rows[: task.max_rows])


def _in_the_bundle(
    task: CompareTask, scored: ScoredRows, channel: Channel, lines: _Lines
) -> Iterator[Event]:
    """The lines of a bundle: its prompt in each precision, and all others where there is no run."""
    lineup, rows = task.lineup, scored.rows
    assert lineup.bundle is not None
    given = given_of(lineup)

    def say_rows(_title: str, num_done: int) -> None:
        channel.progress(StageProgress("evaluate", num_done, len(rows), "rows"))

    for number, precision in enumerate(lineup.precisions):
        yield StageStarted("load", time.time(), f"bundle ({precision})")
        before = time.perf_counter()
        bundle = Bundle.open(lineup.bundle, precision)
        yield StageFinished("load", time.perf_counter() - before)
        labels = bundle.record(lineup.prompt).labels
        if number == 0 and not lines.answers:
            lines.labels = labels
            if labels is not None:
                check_labels(rows, labels)
        if labels != lines.labels:
            raise DataError(
                f"The bundle {lineup.bundle} answers with other labels than the run.",
                "Choose the bundle that was exported from this run.",
            )
        contenders = BundleContenders(bundle, given, rows, say_rows)
        if number == 0 and not lineup.run:
            lines.notes += contenders.overlaps()
        beside = lineup.keys if number == 0 and not lineup.run else ()
        keys: list[ContenderKey] = [key for key in ORDER if key in beside and key != "tuned"]
        for key in [*keys, "bundle"]:
            yield from _asked(contenders, key, lines)
        if number == 0 and not lineup.run and "base" in keys:
            yield StageStarted("evaluate", time.time(), "what the prompt does elsewhere")
            before = time.perf_counter()
            lines.forgetting = probe_forgetting(bundle, lineup.prompt)
            yield StageFinished("evaluate", time.perf_counter() - before)


def given_of(lineup: Lineup) -> Given:
    """What the contenders of a bundle are given.

    Args:
        lineup (Lineup): Who is compared.
    """
    return Given(
        lineup.prompt, lineup.instruction, lineup.num_examples, lineup.train, seed=lineup.seed
    )


def _asked(contenders: BundleContenders, key: ContenderKey, lines: _Lines) -> Iterator[Event]:
    asked = contenders.prepared(key)
    yield StageStarted("evaluate", time.time(), asked.title)
    made = contenders.answers(key, asked)
    lines.answers.append(made)
    rows = contenders.rows
    if lines.labels is None:
        right, f1 = float(exact_matches(made.answers, references(rows)).mean()), None
    else:
        expected = [row.response for row in rows]
        right, f1 = accuracy(expected, made.answers), macro_f1(expected, made.answers)
    yield EvaluationDone(
        step=0,
        num_rows=len(rows),
        accuracy=right,
        macro_f1=f1,
        loss=None,
        seconds=made.seconds,
        tuned=key == "bundle",
        contender=made.title,
    )
    yield StageFinished("evaluate", made.seconds)


def _table(task: CompareTask, scored: ScoredRows, lines: _Lines, scored_prompt: str) -> Evaluation:
    by_key = {line.key: line.title for line in reversed(lines.answers)}
    target = by_key.get("tuned") or by_key.get("bundle") or lines.answers[-1].title
    others: Sequence[str] = [line.title for line in lines.answers if line.title != target]
    answered = Answered(
        scored.name,
        scored.source,
        scored.rows,
        lines.labels,
        lines.answers,
        target,
        others[0] if others else "",  # the base comes first, where it is compared
        lines.forgetting,
        lines.notes,
        task.command,
        scored.split_seed,
    )
    made = assemble(answered, Resamples(len(scored.rows)))
    return finite(msgspec.structs.replace(made, prompt_hash=scored_prompt))
