"""What every task that trains begins with: model, rows and template, said as events."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from export.encoding import RowEncoder, answer_limit
from ptune_tui.config import RunConfig
from ptune_tui.data import DataSet, encode_rows, load_data, prompt_limit
from ptune_tui.engine.evaluate import Evaluator, shared_lead
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.optimisation import Optimisation
from ptune_tui.engine.plan import Plan, Planned, planned_again
from ptune_tui.engine.planner import Planner
from ptune_tui.engine.validation import TaskRows
from ptune_tui.errors import UsageError
from ptune_tui.events import DataReady, Event, Notice, StageFinished, StageStarted
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.new_method import new_method
from ptune_tui.worker.task_model import ModelStage

_MIN_ROW_TOKENS = 8


@dataclass(frozen=True)
class TrainingTask:
    """A model and the rows to train on.

    Attributes:
        config: What was asked for.
        frozen: The model.
        data: The rows in words.
        rows: The rows in tokens.
        method: What is trained, at its start.
        encoder: Template and tokenizer.
        max_prompt_tokens: A longer prompt was cut from the left.
        max_response_tokens: Longest response, end token included.
    """

    config: RunConfig
    frozen: FrozenModel
    data: DataSet
    rows: TaskRows
    method: Method
    encoder: RowEncoder
    max_prompt_tokens: int
    max_response_tokens: int

    def evaluator(self) -> Evaluator:
        """Scores rows of the task."""
        limit = answer_limit(self.max_response_tokens)
        return Evaluator(self.frozen, self.encoder, self.data.labels, limit)

    def lead(self) -> list[int]:
        """Template tokens that all training rows begin with."""
        return shared_lead(self.rows.train, self.encoder.lead_ids())

    def planned(self, plan: Plan | None = None) -> Planned:
        """How the steps are computed.

        Args:
            plan (Plan | None): That of a checkpoint; None to choose one.
        """
        if plan is not None:
            return planned_again(self.frozen, plan)
        config = self.config
        return Planner(
            *(self.frozen, self.method, self.rows.train, self.lead()),
            *(config.method, config.model, config.training),
        ).make()

    def optimisation(self, planned: Planned) -> Optimisation:
        """The steps of the task's method, from its start.

        Args:
            planned (Planned): How they are computed.
        """
        return Optimisation(
            frozen=self.frozen,
            method=self.method,
            rows=self.rows.train,
            lead=self.lead(),
            settings=self.config.training,
            step=planned.step,
            micro_batch_size=planned.plan.micro_batch_size,
            bucket_width=planned.plan.bucket_width,
        )

    def rows_hash(self) -> str:
        """sha256 of all rows in tokens."""
        tokens = [
            (row.prompt_ids, row.response_ids) for row in [*self.rows.train, *self.rows.validation]
        ]
        return hashlib.sha256(msgspec.json.encode(tokens)).hexdigest()


@dataclass
class TrainingTaskStage:
    """Loads the model and the rows of a task; `task` is there once `events` is through.

    Attributes:
        config: What was asked for.
        channel: Where progress is said.
        plan: How an earlier worker computed; None to choose.
    """

    config: RunConfig
    channel: Channel
    plan: Plan | None = None
    loaded: TrainingTask | None = None

    @property
    def task(self) -> TrainingTask:
        """What was loaded."""
        assert self.loaded is not None
        return self.loaded

    def events(self) -> Iterator[Event]:
        """Load both and say how it goes."""
        config = self.config
        data = load_data(config.data, config.training.seed)
        for sentence in data.about:
            yield Notice("columns", sentence)
        model = config.model
        if self.plan is not None:
            model = msgspec.structs.replace(
                model,
                kernel=self.plan.kernel,
                device=self.plan.device,
                compute_type=self.plan.compute_type,
            )
        stage = ModelStage(model, config.training.num_threads, self.channel)
        yield from stage.events()
        frozen = stage.frozen
        assert frozen is not None
        yield StageStarted("tokenise", time.time())
        started = time.perf_counter()
        template = frozen.text.template(data.template, data.labels is None, data.columns)
        encoder = RowEncoder(frozen.text.tokenizer, template, frozen.text.end_token_id)
        rows, max_prompt_tokens, max_response_tokens = _encoded(config, frozen, data, encoder)
        new = new_method(config, frozen, data, rows.train)
        self.loaded = TrainingTask(
            config, frozen, data, rows, new.method, encoder, max_prompt_tokens, max_response_tokens
        )
        yield _data_ready(self.loaded, template.text)
        yield from _notices(self.loaded)
        yield from new.notices
        yield StageFinished("tokenise", time.perf_counter() - started)


def _encoded(
    config: RunConfig, frozen: FrozenModel, data: DataSet, encoder: RowEncoder
) -> tuple[TaskRows, int, int]:
    """The rows in tokens, the longest prompt and the longest response."""
    num_virtual_tokens = config.method.num_virtual_tokens
    context = frozen.context_length
    room = context - num_virtual_tokens
    if room < _MIN_ROW_TOKENS:
        raise UsageError(
            f"{num_virtual_tokens} virtual tokens leave no room in the model's context of "
            f"{context}.",
            "Use fewer: 10 to 100 are usual.",
        )
    max_tokens = min(config.data.max_tokens, room)
    limit, max_response_tokens = prompt_limit(data.train + data.validation, encoder, max_tokens)
    rows = TaskRows(
        encode_rows(data.train, encoder, limit),
        data.validation,
        encode_rows(data.validation, encoder, limit),
    )
    return rows, limit, max_response_tokens


def _data_ready(task: TrainingTask, template: str) -> DataReady:
    rows = task.rows
    lengths = [row.num_tokens for row in rows.train]
    return DataReady(
        num_train_rows=len(rows.train),
        num_validation_rows=len(rows.validation),
        num_cut_rows=_num_cut(rows),
        max_row_tokens=max(lengths),
        mean_row_tokens=sum(lengths) / len(lengths),
        labels=task.data.labels,
        template=template,
        num_shared_tokens=len(task.lead()),
    )


def _notices(task: TrainingTask) -> Iterator[Event]:
    num_cut = _num_cut(task.rows)
    if num_cut:
        yield Notice(
            "rows-cut",
            f"{num_cut} rows were too long; their prompts were cut from the left.",
            "Raise `data.max_tokens` to keep them whole.",
        )
    labels = task.data.labels
    if labels is not None and len(labels) == 1:
        yield Notice(
            "one-class",
            f"All rows have the response {labels[0]!r}: any prompt scores 1.000.",
            "Add rows of the other classes.",
        )
    elif len({(tuple(row.prompt_ids), tuple(row.response_ids)) for row in task.rows.train}) == 1:
        yield Notice(
            "identical-rows",
            "All training rows are the same one.",
            "Check the data file.",
        )


def _num_cut(rows: TaskRows) -> int:
    return sum(row.was_cut for row in [*rows.train, *rows.validation])
