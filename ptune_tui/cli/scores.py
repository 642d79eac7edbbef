"""The lines of a table: a run in torch, a bundle in onnxruntime, their baselines."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ptune_tui.bundles import is_bundle
from ptune_tui.cli.evaluation_request import EvaluationRequest
from ptune_tui.cli.talk import ProgressLine, say
from ptune_tui.cli.work import make_display, work
from ptune_tui.config import load
from ptune_tui.errors import DataError
from ptune_tui.evaluation.contenders import ContenderAnswers, TorchAnswers
from ptune_tui.evaluation.instructions import NO_INSTRUCTION
from ptune_tui.evaluation.keys import ContenderKey
from ptune_tui.jobs import new_task_folder
from ptune_tui.lineup import ORDER
from ptune_tui.results import ForgettingProbe
from ptune_tui.runs import find_run
from ptune_tui.tasks import CONFIG_FILE, RESULT_FILE, EvaluateTask, ExportTask
from ptune_tui.worker.bundle_contenders import BundleContenders, Given
from ptune_tui.worker.bundle_forgetting import probe_forgetting

if TYPE_CHECKING:
    from export.runtime import Bundle
    from ptune_tui.evaluation.scored_rows import ScoredRows
    from ptune_tui.rows import Row

_torch_decoder = msgspec.json.Decoder(TorchAnswers)


@dataclass
class Lines:
    """What a target and its baselines answered.

    Attributes:
        name: What a reader calls the rows.
        data: Their file.
        rows: What was asked.
        labels: The closed set, or None for free text.
        contenders: In the order of the table.
        target: Title of the target's own line.
        forgetting: What the prompt costs elsewhere.
        notes: What was left out, and why.
        split_seed: Where the rows were held out of `data`: the seed that chose them.
    """

    name: str
    data: Path
    rows: list[Row]
    labels: list[str] | None
    contenders: list[ContenderAnswers]
    target: str
    forgetting: list[ForgettingProbe] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    split_seed: int | None = None

    @property
    def target_answers(self) -> ContenderAnswers:
        """The target's own line."""
        return next(line for line in self.contenders if line.title == self.target)


def answer_lines(target: str, request: EvaluationRequest) -> Lines:
    """Have a target and its baselines answer.

    Args:
        target (str): A run or a bundle.
        request (EvaluationRequest): What is asked for.
    """
    return _bundle_lines(target, request) if is_bundle(target) else _run_lines(target, request)


def _run_lines(target: str, request: EvaluationRequest) -> Lines:
    """A run and its baselines in torch, in one worker; its bundle behind that."""
    from ptune_tui.data import data_path
    from ptune_tui.reading.source import absolute

    run = find_run(target)
    wanted = {"tuned", *request.baselines} - {"bundle"}
    task = EvaluateTask(
        run=str(run.absolute()),
        data=None if request.data is None else absolute(data_path(request.data).as_posix()),
        contenders=tuple(key for key in ORDER if key in wanted),
        max_rows=request.max_rows,
        prompt_field=request.columns.prompt,
        response_field=request.columns.response,
        force=request.force,
        instruction=request.instruction,
        num_examples=request.num_examples,
        seed=request.seed,
        train=request.train and absolute(request.train),
        with_probabilities=request.with_probabilities,
        with_forgetting=request.probes_forgetting,
        lora_seconds=request.lora_seconds,
        is_named=request.is_named,
    )
    folder = new_task_folder("evaluate")
    work(folder, task, make_display("none" if request.is_quiet else "plain"))
    found = _torch_decoder.decode((folder / RESULT_FILE).read_bytes())
    scored = _scored_rows(run, request, found)
    rows = scored.rows
    contenders = list(found.contenders)
    if "bundle" in request.baselines:
        contenders.append(_exported(run, request, rows, found.labels))
        contenders.sort(key=lambda line: ORDER.index(line.key))
    tuned = next(line.title for line in contenders if line.key == "tuned")
    return Lines(
        scored.name,
        scored.source,
        rows,
        found.labels,
        contenders,
        tuned,
        found.forgetting,
        found.notes,
        scored.split_seed,
    )


def _scored_rows(run: Path, request: EvaluationRequest, found: TorchAnswers) -> ScoredRows:
    """The rows that a worker has scored, as it read them."""
    from ptune_tui.data import data_path
    from ptune_tui.evaluation.scored_rows import ScoredRows, validation_rows
    from ptune_tui.rows import read_rows

    if request.data is not None:
        data = data_path(request.data)
        rows = read_rows(data, found.columns)[: request.max_rows]
        return ScoredRows(request.data, data, None, rows)
    scored = validation_rows(load(run / CONFIG_FILE))
    return replace(scored, rows=scored.rows[: request.max_rows])


def _exported(
    run: Path, request: EvaluationRequest, rows: Sequence[Row], labels: list[str] | None
) -> ContenderAnswers:
    """The run's bundle; one that was made for the occasion is deleted."""
    if request.bundle is not None:
        return _of_bundle(request.bundle, request, rows, labels)
    folder = Path(tempfile.mkdtemp(prefix="ptune-eval-"))
    try:
        bundle = str(folder / "bundle")
        task = ExportTask(
            str(run.absolute()),
            bundle,
            "prompt",
            request.precision or "auto",
            force=request.force,
        )
        display = make_display("none" if request.is_quiet else "plain")
        work(new_task_folder("export"), task, display)
        alone = replace(request, prompt=None)
        return _of_bundle(bundle, alone, rows, labels, "exported for this table")
    finally:
        shutil.rmtree(folder)


def _of_bundle(
    folder: str,
    request: EvaluationRequest,
    rows: Sequence[Row],
    labels: list[str] | None,
    origin: str | None = None,
) -> ContenderAnswers:
    bundle = _open(folder, request)
    record = bundle.record(request.prompt)
    if record.labels != labels:
        raise DataError(
            f"The bundle {folder} answers with other labels than the run.",
            "Name the bundle that was exported from this run, or leave `--bundle` out.",
        )
    return _bundle_contenders(bundle, request, rows, origin).ask("bundle")


def _bundle_lines(target: str, request: EvaluationRequest) -> Lines:
    """A bundle and its baselines in onnxruntime, in this process."""
    from ptune_tui.data import check_labels, data_path
    from ptune_tui.rows import recognise_rows

    bundle = _open(target, request)
    record = bundle.record(request.prompt)
    labels = record.labels
    notes = []
    optional: set[ContenderKey] = set() if request.is_named else set(request.baselines)
    if "instruction" in optional and request.instruction is None and labels is None:
        request = _without(request, "instruction")
        notes.append(NO_INSTRUCTION)
    if "few_shot" in optional and request.train is None:
        request = _without(request, "few_shot")
        notes.append("No few-shot line: a bundle needs `--train FILE` to take examples from.")
    assert request.data is not None  # `check_request` refuses a bundle without rows
    data = data_path(request.data)
    read = recognise_rows(data, request.columns.data_config(record.template.column_template))
    if read.about:
        say(f"note: {read.about}")
    rows = read.rows[: request.max_rows]
    if labels is not None:
        check_labels(rows, labels)
    contenders = _bundle_contenders(bundle, request, rows)
    notes += contenders.overlaps()
    wanted = {"bundle", *request.baselines}
    lines = [contenders.ask(key) for key in ORDER if key in wanted]
    forgetting = probe_forgetting(bundle, request.prompt) if request.probes_forgetting else []
    return Lines(request.data, data, rows, labels, lines, lines[-1].title, forgetting, notes)


def _bundle_contenders(
    bundle: Bundle, request: EvaluationRequest, rows: Sequence[Row], origin: str | None = None
) -> BundleContenders:
    given = Given(
        request.prompt,
        request.instruction,
        request.num_examples,
        request.train,
        request.columns,
        request.seed,
        request.with_probabilities,
    )
    line = ProgressLine()

    def say_rows(title: str, num_done: int) -> None:
        if request.is_quiet:
            return
        line.show(f"{title}, onnxruntime:", num_done, len(rows))
        if num_done == len(rows):
            line.close()

    return BundleContenders(bundle, given, rows, say_rows, origin)


def _open(folder: str, request: EvaluationRequest) -> Bundle:
    from export.runtime import Bundle

    return Bundle.open(folder, request.precision, request.num_threads)


def _without(request: EvaluationRequest, key: ContenderKey) -> EvaluationRequest:
    return replace(request, baselines=tuple(name for name in request.baselines if name != key))
