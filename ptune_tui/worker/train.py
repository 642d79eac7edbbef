"""The task that trains a soft prompt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from export.encoding import RowEncoder, answer_limit
from ptune_tui.config import RunConfig, dump
from ptune_tui.data import DataSet, encode_rows, load_data, prompt_limit
from ptune_tui.engine.adapter import PromptCard, save_adapter
from ptune_tui.engine.evaluate import Evaluator, shared_lead
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.peft_adapter import ADAPTER_FOLDER
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.trainer import TaskRows, Trainer
from ptune_tui.errors import UsageError
from ptune_tui.events import (
    DataReady,
    EvaluationDone,
    Event,
    Notice,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.tasks import TrainTask, write_atomically
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.new_method import new_method
from ptune_tui.worker.task_model import ModelStage

CONFIG_FILE = "config.toml"
PROBES_FILE = "probes.json"
NUM_PROBES = 20


def train(task: TrainTask, folder: Path, channel: Channel) -> Iterator[Event]:
    """Train the soft prompt of a run.

    Args:
        task (TrainTask): The configuration.
        folder (Path): The run folder.
        channel (Channel): Where progress is said and commands come from.
    """
    config = task.config
    started = time.perf_counter()
    write_atomically(folder / CONFIG_FILE, dump(config).encode())
    data = load_data(config.data, config.training.seed)
    stage = ModelStage(config.model, config.training.num_threads, channel)
    yield from stage.events()
    frozen = stage.frozen
    assert frozen is not None
    yield StageStarted("tokenise", time.time())
    tokenising = time.perf_counter()
    template = frozen.text.template(data.template, data.labels is None)
    encoder = RowEncoder(frozen.text.tokenizer, template, frozen.text.end_token_id)
    rows, max_prompt_tokens, max_response_tokens = _encode(data, encoder, config, frozen)
    yield _data_ready(data, rows, encoder, template.text)
    yield from _notices(rows)
    _save_probes(folder, data)
    yield StageFinished("tokenise", time.perf_counter() - tokenising)
    card = _card(config, frozen, data, encoder, max_prompt_tokens, max_response_tokens)
    new = new_method(config, frozen, data, rows.train)
    yield from new.notices
    trainer = _trainer(config, frozen, data, rows, new.method, encoder, card, folder, channel)
    base_accuracy = None
    for event in trainer.run(channel.commands):
        if isinstance(event, EvaluationDone) and not event.tuned:
            base_accuracy = event.accuracy
        yield event
    yield TaskFinished(
        time.perf_counter() - started,
        trainer.stopped_early,
        {
            "base_accuracy": base_accuracy,
            "accuracy": trainer.best_accuracy if trainer.best_step else None,
            "best_step": trainer.best_step,
            "adapter": str(folder / ADAPTER_FOLDER) if trainer.best_step else None,
        },
    )


def _save_probes(folder: Path, data: DataSet) -> None:
    """Keep the rows that an export compares on, so that it needs no data file."""
    prompts = [row.prompt for row in (data.validation + data.train)[:NUM_PROBES]]
    write_atomically(folder / PROBES_FILE, msgspec.json.encode(prompts))


def _encode(
    data: DataSet, encoder: RowEncoder, config: RunConfig, frozen: FrozenModel
) -> tuple[TaskRows, int, int]:
    """The rows in tokens, the longest prompt and the longest response."""
    num_virtual_tokens = config.method.num_virtual_tokens
    context = frozen.config.max_position_embeddings
    room = context - num_virtual_tokens
    if room < 8:
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


def _data_ready(data: DataSet, rows: TaskRows, encoder: RowEncoder, template: str) -> DataReady:
    lengths = [row.num_tokens for row in rows.train]
    return DataReady(
        num_train_rows=len(rows.train),
        num_validation_rows=len(rows.validation),
        num_cut_rows=sum(row.was_cut for row in [*rows.train, *rows.validation]),
        max_row_tokens=max(lengths),
        mean_row_tokens=sum(lengths) / len(lengths),
        labels=data.labels,
        template=template,
        num_shared_tokens=len(shared_lead(rows.train, encoder.lead_ids())),
    )


def _notices(rows: TaskRows) -> Iterator[Event]:
    num_cut = sum(row.was_cut for row in [*rows.train, *rows.validation])
    if num_cut:
        yield Notice(
            "rows-cut",
            f"{num_cut} rows were too long; their prompts were cut from the left.",
            "Raise `data.max_tokens` to keep them whole.",
        )


def _card(
    config: RunConfig,
    frozen: FrozenModel,
    data: DataSet,
    encoder: RowEncoder,
    max_prompt_tokens: int,
    max_response_tokens: int,
) -> PromptCard:
    return PromptCard(
        model=config.model.source,
        scheme=config.model.scheme,
        weights_hash=frozen.loaded.report.weights_hash,
        template=encoder.renderer.template,
        end_token_id=encoder.end_token_id,
        max_prompt_tokens=max_prompt_tokens,
        labels=data.labels,
        max_response_tokens=max_response_tokens,
    )


def _trainer(
    config: RunConfig,
    frozen: FrozenModel,
    data: DataSet,
    rows: TaskRows,
    method: Method,
    encoder: RowEncoder,
    card: PromptCard,
    folder: Path,
    channel: Channel,
) -> Trainer:
    save = _Saver(folder / ADAPTER_FOLDER, frozen, card)
    limit = answer_limit(card.max_response_tokens)

    def say_progress(done: int, total: int) -> None:
        channel.progress(StageProgress("evaluate", done, total, "rows"))

    return Trainer(
        evaluator=Evaluator(frozen, encoder, data.labels, limit),
        rows=rows,
        method=method,
        settings=config.training,
        save=save,
        report_progress=say_progress,
    )


class _Saver:
    """Writes the adapter of a step."""

    def __init__(self, folder: Path, frozen: FrozenModel, card: PromptCard) -> None:
        self.folder = folder
        self.frozen = frozen
        self.card = card

    def __call__(self, prompt: Prompt, step: int, accuracy: float) -> str:
        card = msgspec.structs.replace(self.card, step=step, accuracy=accuracy)
        save_adapter(self.folder, self.frozen, prompt, card)
        return str(self.folder)
