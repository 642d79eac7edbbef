"""What a run tells its model cards, and the card of its adapter. Torch-free."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from export.model_card import CardModel, CardPrompt, adapter_card
from export.readme import README_FILE, may_replace
from export.training_record import CardLine, CardMetric, CardTable, TrainingRecord
from ptune_tui.command_line import train_command
from ptune_tui.config import RunConfig, override
from ptune_tui.errors import DataError
from ptune_tui.events import ProvenanceNoted
from ptune_tui.models import base_reference
from ptune_tui.prompt_card import read_card
from ptune_tui.results import Evaluation, MetricName
from ptune_tui.run_prompt import ADAPTER_CONFIG_FILE, ADAPTER_FOLDER
from ptune_tui.run_table import card_table_of
from ptune_tui.tasks import write_atomically

_PATHS = ("model.source", "data.train", "data.validation", "method.init_prompt")
# As model cards on the hub name metrics, and as a reader does.
_METRICS: dict[MetricName, tuple[str, str]] = {
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro-F1"),
    "calibration_error": ("calibration_error", "Calibration error"),
    "exact_match": ("exact_match", "Exact match"),
    "rouge_l": ("rouge", "ROUGE-L"),
    "bleu": ("bleu", "BLEU"),
    "chrf": ("chrf", "chrF"),
}


class _AdapterConfig(msgspec.Struct, frozen=True):
    """What is read of PEFT's own configuration."""

    peft_type: str
    num_virtual_tokens: int


def training_record(
    config: RunConfig, made_of: ProvenanceNoted, num_train_rows: int
) -> TrainingRecord:
    """How a run trains, before it has scored anything.

    Args:
        config (RunConfig): Of the run.
        made_of (ProvenanceNoted): What it reads and computes on.
        num_train_rows (int): Rows that it learns from.
    """
    base = base_reference(config.model.source)
    return TrainingRecord(
        method=config.method.name,
        base_id=base.hub_id,
        base_licence=base.licence,
        data=Path(config.data.train).name,
        data_hash=made_of.rows_hash,
        num_train_rows=num_train_rows,
        max_steps=config.training.max_steps,
        command=train_command(without_folders(config)),
        made_with=", ".join(f"{name} {version}" for name, version in made_of.versions.items()),
    )


def without_folders(config: RunConfig) -> RunConfig:
    """The same with files called by their names alone: a card is published, folders are private.

    Args:
        config (RunConfig): Of a run.
    """
    raw = msgspec.to_builtins(config)
    values = {name: raw[name.split(".")[0]][name.split(".")[1]] for name in _PATHS}
    return override(
        config,
        {name: Path(value).name for name, value in values.items() if value and _is_absolute(value)},
    )


def with_table(training: TrainingRecord | None, run: Path) -> TrainingRecord | None:
    """The record with the table of `ptune eval`, where the run has one of this prompt.

    `card_table_of` says why one that is there is left out.

    Args:
        training (TrainingRecord | None): Of the run's prompt.
        run (Path): Its folder.
    """
    evaluation = card_table_of(run).evaluation
    if training is None or evaluation is None:
        return training
    return msgspec.structs.replace(training, table=card_table(evaluation))


def card_table(evaluation: Evaluation) -> CardTable:
    """A table as cards show it: contenders with all of its metrics.

    Args:
        evaluation (Evaluation): What `ptune eval` found.
    """
    names = [
        name
        for name in _METRICS
        if all(name in {metric.name for metric in one.metrics} for one in evaluation.contenders)
    ]
    return CardTable(
        data=Path(evaluation.data).name,
        data_hash=evaluation.data_hash,
        num_rows=evaluation.num_rows,
        lines=[
            CardLine(
                one.title,
                one.computed_by,
                one.key in ("tuned", "bundle"),
                [
                    CardMetric(*_METRICS[metric.name], metric.value, metric.low, metric.high)
                    for name in names
                    for metric in one.metrics
                    if metric.name == name
                ],
            )
            for one in evaluation.contenders
        ],
        command=_without_folders(evaluation.command),
    )


def write_adapter_card(run: Path) -> None:
    """Write `README.md` beside a run's adapter, unless a person has edited it.

    Args:
        run (Path): The run's folder; its adapter is there.

    Raises:
        DataError: The adapter is damaged.
    """
    folder = run / ADAPTER_FOLDER
    card, path = read_card(folder), folder / README_FILE
    if card is None or not may_replace(path):
        return
    adapter = _adapter_config(folder)
    prompt = CardPrompt(
        name=run.resolve().name,
        num_virtual_tokens=adapter.num_virtual_tokens,
        is_layer_prefix=adapter.peft_type == "PREFIX_TUNING",
        template=card.template,
        labels=card.labels,
        max_prompt_tokens=card.max_prompt_tokens,
        max_new_tokens=card.max_response_tokens,
        training=with_table(card.training, run),
    )
    model = CardModel(base_reference(card.model).name, card.weights_hash, card.scheme)
    write_atomically(path, adapter_card(ADAPTER_FOLDER, model, prompt).encode())


def _adapter_config(folder: Path) -> _AdapterConfig:
    try:
        content = (folder / ADAPTER_CONFIG_FILE).read_bytes()
        return msgspec.json.decode(content, type=_AdapterConfig)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"The adapter in {folder} is damaged: {ADAPTER_CONFIG_FILE}: {error}", "Train again."
        ) from None


def _without_folders(command: str) -> str:
    words = shlex.split(command)
    return shlex.join(Path(word).name if _is_absolute(word) else word for word in words)


def _is_absolute(text: str) -> bool:
    return Path(text).is_absolute()
