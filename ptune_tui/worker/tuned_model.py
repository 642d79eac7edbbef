"""A run's trained prompt together with its base: what evaluating and exporting begin with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from export.encoding import RowEncoder
from ptune_tui.config import ModelConfig, RunConfig, load
from ptune_tui.engine.adapter import load_adapter, other_weights
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.peft_adapter import check_shape
from ptune_tui.engine.placement import is_there
from ptune_tui.engine.prompt import Prompt
from ptune_tui.errors import ModelError, PTuneError
from ptune_tui.events import Event, Notice
from ptune_tui.prompt_card import PromptCard
from ptune_tui.run_prompt import ADAPTER_FOLDER
from ptune_tui.tasks import CONFIG_FILE
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.task_model import ModelStage


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
    """Loads a run's prompt and its base; `tuned` is there once `events` is through.

    Attributes:
        run: The run's folder.
        channel: Where progress is said.
        force: Whether a prompt is used on other weights than it was trained on.
        is_reference: Whether a graph will be held against the model, which then computes on the CPU
            in float32, whatever it was trained in.
    """

    run: Path
    channel: Channel
    force: bool = False
    is_reference: bool = False
    loaded: TunedModel | None = None

    def events(self) -> Iterator[Event]:
        """Load both and say how it goes.

        Raises:
            DataError: There is no prompt, it is damaged, or of another shape than the model takes.
            ModelError: The prompt was trained on other weights, and `force` is off.
        """
        adapter = self.run / ADAPTER_FOLDER
        prompt, card = load_adapter(adapter)
        config = load(self.run / CONFIG_FILE)
        model = exact_model(config.model, on_cpu=self.is_reference)
        if not is_there(model.device):
            sentence = f"The run was trained on `{model.device}`, which this machine does not have."
            yield Notice("other-device", sentence, "Its prompt is computed on what is here.")
            model = msgspec.structs.replace(model, device="auto", compute_type="auto")
        stage = ModelStage(model, config.training.num_threads, self.channel)
        yield from stage.events()
        assert stage.frozen is not None
        check_shape(stage.frozen, prompt, str(adapter))
        mismatch = other_weights(stage.frozen, card.weights_hash, str(adapter))
        if mismatch and not self.force:
            raise ModelError(
                mismatch, "Use the model it was trained on, or `--force` to try it on this one."
            )
        if mismatch:
            yield Notice("other-weights", mismatch, "Its scores may have nothing to do with those.")
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


def exact_model(config: ModelConfig, *, on_cpu: bool) -> ModelConfig:
    """How a run's model is computed after training: scores and exports are never `int8`'s.

    Args:
        config (ModelConfig): As in training.
        on_cpu (bool): Whether to compute in float32 on the CPU.
    """
    if config.kernel == "int8":
        config = msgspec.structs.replace(config, kernel="auto")
    if on_cpu:
        config = msgspec.structs.replace(config, device="cpu", compute_type="float32")
    return config
