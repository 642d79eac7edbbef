"""A prompt to look at, with its base and rows: a run's, or an adapter that PEFT or ptune wrote."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.encoding import EncodedRow, RowEncoder, answer_limit
from ptune_tui.config import DataConfig, ModelConfig
from ptune_tui.data import check_labels, data_path, encode_rows, load_data, prompt_limit
from ptune_tui.engine.adapter import other_weights
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.peft_adapter import check_shape, read_peft_adapter
from ptune_tui.engine.prompt import LayerPrefix, Prompt
from ptune_tui.errors import DataError, ModelError
from ptune_tui.events import Event, Notice
from ptune_tui.prompt_card import PromptCard, read_card
from ptune_tui.rows import Row, RowsRead, closed_set, recognise_rows
from ptune_tui.tasks import CONFIG_FILE, InspectTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.task_model import ModelStage
from ptune_tui.worker.tuned_model import TunedModelStage


@dataclass(frozen=True)
class InspectedRows:
    """Rows to look at a prompt on.

    Attributes:
        source: Their file.
        rows: In words.
        encoded: In tokens.
        evaluator: Scores them.
    """

    source: str
    rows: list[Row]
    encoded: list[EncodedRow]
    evaluator: Evaluator


@dataclass(frozen=True)
class Inspected:
    """A prompt with what it is looked at in.

    Attributes:
        frozen: The model.
        prompt: What was trained.
        rows: None where nothing says which.
    """

    frozen: FrozenModel
    prompt: Prompt
    rows: InspectedRows | None


@dataclass
class InspectedStage:
    """Loads all of it; `inspected` is there once `events` is through.

    Attributes:
        task: What was asked for.
        channel: Where progress is said.
    """

    task: InspectTask
    channel: Channel
    loaded: Inspected | None = None

    @property
    def inspected(self) -> Inspected:
        """What was loaded."""
        assert self.loaded is not None
        return self.loaded

    def events(self) -> Iterator[Event]:
        """Load and say how it goes.

        Raises:
            DataError: Prompt or rows cannot be used.
            ModelError: The base is not known, or has other weights.
        """
        target = Path(self.task.target)
        if (target / CONFIG_FILE).is_file():
            yield from self._run(target)
        else:
            yield from self._adapter(target)

    def _run(self, run: Path) -> Iterator[Event]:
        stage = TunedModelStage(run, self.channel, self.task.force)
        yield from stage.events()
        tuned = stage.tuned
        if self.task.data is not None:
            read = self._read(tuned.config.data)
            yield from _notices(read)
            rows = read.rows
        else:
            rows = load_data(tuned.config.data, tuned.config.training.seed).validation
        found = self._rows(tuned.frozen, rows, tuned.card)
        self.loaded = Inspected(tuned.frozen, tuned.prompt, found)

    def _adapter(self, folder: Path) -> Iterator[Event]:
        task = self.task
        adapter, card = read_peft_adapter(folder), read_card(folder)
        if task.data is None and isinstance(adapter.prompt, LayerPrefix):
            raise DataError(
                f"The adapter in {folder} has keys and values: it can only be looked at on rows.",
                "Name some with `--data`.",
            )
        base = task.model or (card.model if card else adapter.base)
        if not base:
            raise ModelError(
                f"The adapter in {folder} does not say which model it was trained on.",
                "Name it with `--model`.",
            )
        model = ModelConfig(source=base) if card is None else ModelConfig(base, card.scheme)  # type: ignore[arg-type]
        stage = ModelStage(model, 0, self.channel)
        yield from stage.events()
        frozen = stage.frozen
        assert frozen is not None
        check_shape(frozen, adapter.prompt, str(folder))
        mismatch = other_weights(frozen, card.weights_hash, str(folder)) if card else None
        if mismatch and not task.force:
            raise ModelError(
                mismatch, "Use the model it was trained on, or `--force` to try it on this one."
            )
        if task.data is None:
            yield Notice(
                "no-rows",
                "An adapter by itself names no rows: attention and dropped tokens are left out.",
                "Name some with `--data`.",
            )
            self.loaded = Inspected(frozen, adapter.prompt, None)
            return
        read = self._read(DataConfig())
        yield from _notices(read)
        self.loaded = Inspected(frozen, adapter.prompt, self._rows(frozen, read.rows, card))

    def _read(self, columns: DataConfig) -> RowsRead:
        task = self.task
        assert task.data is not None
        named = DataConfig(
            prompt_field=task.prompt_field or columns.prompt_field,
            response_field=task.response_field or columns.response_field,
            template=None if task.prompt_field else columns.template,
        )
        return recognise_rows(data_path(task.data), named)

    def _rows(self, frozen: FrozenModel, rows: list[Row], card: PromptCard | None) -> InspectedRows:
        """Some rows, always the same ones, spread over the set."""
        limit = min(self.task.num_rows, len(rows))
        numbers = sorted(random.Random(0).sample(range(len(rows)), limit))
        chosen = [rows[number] for number in numbers]
        text = frozen.text
        if card is not None:
            if self.task.template is not None:
                raise DataError(
                    "`--template` contradicts the one that the prompt was trained with.",
                    "Leave it out.",
                )
            encoder = RowEncoder(text.tokenizer, card.template, card.end_token_id)
            labels, max_prompt = card.labels, card.max_prompt_tokens
            max_response = card.max_response_tokens
            if labels is not None:
                check_labels(chosen, labels)
        else:
            labels = closed_set(rows, "auto")
            template = text.template(self.task.template, labels is None)
            encoder = RowEncoder(text.tokenizer, template, text.end_token_id)
            max_prompt, max_response = prompt_limit(rows, encoder, DataConfig().max_tokens)
        encoded = encode_rows(chosen, encoder, max_prompt)
        evaluator = Evaluator(frozen, encoder, labels, answer_limit(max_response))
        return InspectedRows(rows[0].source, chosen, encoded, evaluator)


def _notices(read: RowsRead) -> Iterator[Event]:
    if read.about:
        yield Notice("columns", read.about)
