"""A prompt to look at, with its base and rows: a run's, an adapter's, or a bundle's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from export.encoding import EncodedRow, RowEncoder, answer_limit
from export.manifest_file import MANIFEST
from ptune_tui.config import DataConfig, ModelConfig
from ptune_tui.data import check_labels, data_path, encode_rows, load_data, prompt_limit
from ptune_tui.engine.adapter import other_weights
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.peft_adapter import check_shape, read_peft_adapter
from ptune_tui.engine.prompt import LayerPrefix, Prompt
from ptune_tui.engine.vocabulary import Vocabulary
from ptune_tui.errors import DataError, ModelError
from ptune_tui.evaluation.columns import Columns
from ptune_tui.evaluation.run_columns import columns_for_run
from ptune_tui.events import Event, Notice
from ptune_tui.inspection import without_rows
from ptune_tui.prompt_card import PromptCard, read_card
from ptune_tui.rows import Row, closed_set, recognise_rows
from ptune_tui.tasks import CONFIG_FILE, InspectTask
from ptune_tui.worker.bundle_prompt import BundlePrompt
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
        evaluator: Scores them, in the model.
    """

    source: str
    rows: list[Row]
    encoded: list[EncodedRow]
    evaluator: Evaluator


@dataclass(frozen=True)
class Inspected:
    """A prompt with what it is looked at in.

    Attributes:
        name: Of the model.
        tokenizer: The model's.
        vocabulary: The model's.
        prompt: What was trained.
        rows: None where nothing says which.
    """

    name: str
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    prompt: Prompt
    rows: InspectedRows | None

    @classmethod
    def of(cls, frozen: FrozenModel, prompt: Prompt, rows: InspectedRows | None) -> Inspected:
        """In a loaded model."""
        return cls(frozen.name, frozen.text.tokenizer, Vocabulary.of(frozen), prompt, rows)


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
            BundleError: The bundle is damaged, or has no such prompt.
        """
        target = Path(self.task.target)
        if (target / CONFIG_FILE).is_file():
            yield from self._run(target)
        elif (target / MANIFEST).is_file():
            yield from self._bundle(target)
        else:
            yield from self._adapter(target)

    def _run(self, run: Path) -> Iterator[Event]:
        stage = TunedModelStage(run, self.channel, self.task.force)
        yield from stage.events()
        tuned = stage.tuned
        if self.task.data is not None:
            rows, notices = self._read(tuned.config.data)
            yield from notices
        else:
            rows = load_data(tuned.config.data, tuned.config.training.seed).validation
        found = self._rows(tuned.frozen, rows, tuned.card)
        self.loaded = Inspected.of(tuned.frozen, tuned.prompt, found)

    def _bundle(self, folder: Path) -> Iterator[Event]:
        task = self.task
        found = BundlePrompt.of(folder, task.prompt)
        if task.data is None:
            _refuse_without_rows(found.prompt, f"The prompt of {folder}")
            yield _no_rows("A bundle")
            model = found.manifest.model_name
            self.loaded = Inspected(model, found.tokenizer, found.vocabulary(), found.prompt, None)
            return
        base = found.base(task.model)
        yield from self._in_base(base, found.prompt, found.card(base), folder)

    def _adapter(self, folder: Path) -> Iterator[Event]:
        task = self.task
        adapter, card = read_peft_adapter(folder), read_card(folder)
        if task.data is None:
            _refuse_without_rows(adapter.prompt, f"The adapter in {folder}")
        base = task.model or (card.model if card else adapter.base)
        if not base:
            raise ModelError(
                f"The adapter in {folder} does not say which model it was trained on.",
                "Name it with `--model`.",
            )
        model = ModelConfig(source=base) if card is None else ModelConfig(base, card.scheme)  # type: ignore[arg-type]
        yield from self._in_base(model, adapter.prompt, card, folder)

    def _in_base(
        self, model: ModelConfig, prompt: Prompt, card: PromptCard | None, folder: Path
    ) -> Iterator[Event]:
        task = self.task
        stage = ModelStage(model, 0, self.channel)
        yield from stage.events()
        frozen = stage.frozen
        assert frozen is not None
        check_shape(frozen, prompt, str(folder))
        mismatch = other_weights(frozen, card.weights_hash, str(folder)) if card else None
        if mismatch and not task.force:
            raise ModelError(
                mismatch, "Use the model it was trained on, or `--force` to try it on this one."
            )
        if task.data is None:
            yield _no_rows("An adapter by itself")
            self.loaded = Inspected.of(frozen, prompt, None)
            return
        columns = (card.template.column_template if card else "") or None
        rows, notices = self._read(DataConfig(template=columns))
        yield from notices
        self.loaded = Inspected.of(frozen, prompt, self._rows(frozen, rows, card))

    def _read(self, trained: DataConfig) -> tuple[list[Row], list[Notice]]:
        """The rows that were named, and what to say of their columns."""
        task = self.task
        assert task.data is not None
        path = data_path(task.data)
        fitting = columns_for_run(path, trained, Columns(task.prompt_field, task.response_field))
        read = recognise_rows(path, fitting.config)
        said = filter(None, (fitting.note, read.about))
        return read.rows, [Notice("columns", sentence) for sentence in said]

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


def _refuse_without_rows(prompt: Prompt, what: str) -> None:
    if isinstance(prompt, LayerPrefix):
        raise without_rows(what)


def _no_rows(what: str) -> Notice:
    return Notice(
        "no-rows",
        f"{what} names no rows: attention and dropped tokens are left out.",
        "Name some with `--data`.",
    )
