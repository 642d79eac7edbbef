"""A run's trained prompt together with its base: what evaluating and exporting begin with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from export.encoding import RowEncoder
from ptune_tui.config import RunConfig, load
from ptune_tui.engine.adapter import PromptCard, check_base, load_adapter
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import Prompt
from ptune_tui.errors import PTuneError
from ptune_tui.events import Event
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.task_model import ModelStage
from ptune_tui.worker.train import ADAPTER_FOLDER, CONFIG_FILE


@dataclass(frozen=True)
class TunedModel:
    """A frozen model and a prompt trained on it."""

    frozen: FrozenModel
    prompt: Prompt
    card: PromptCard
    config: RunConfig

    def encoder(self) -> RowEncoder:
        """Template and tokenizer, as in training."""
        return RowEncoder(self.frozen.text.tokenizer, self.card.template, self.card.end_token_id)


@dataclass
class TunedModelStage:
    """Loads a run's prompt and its base; `tuned` is there once `events` is through."""

    run: Path
    channel: Channel
    loaded: TunedModel | None = None

    def events(self) -> Iterator[Event]:
        """Load both and say how it goes."""
        adapter = self.run / ADAPTER_FOLDER
        prompt, card = load_adapter(adapter)
        config = load(self.run / CONFIG_FILE)
        stage = ModelStage(config.model, config.training.num_threads, self.channel)
        yield from stage.events()
        assert stage.frozen is not None
        check_base(stage.frozen, card, adapter)
        self.loaded = TunedModel(stage.frozen, prompt, card, config)

    @property
    def tuned(self) -> TunedModel:
        """What was loaded.

        Raises:
            PTuneError: `events` was not run to its end.
        """
        if self.loaded is None:
            raise PTuneError("The run's model was asked for before it was loaded.")
        return self.loaded
