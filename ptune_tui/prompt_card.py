"""`prompt.json` beside an adapter: what PEFT has no field for. Torch-free."""

from __future__ import annotations

from pathlib import Path

import msgspec

from export.template import Template
from export.training_record import TrainingRecord
from ptune_tui.errors import DataError
from ptune_tui.run_prompt import CARD_FILE


class PromptCard(msgspec.Struct, frozen=True):
    """What a prompt needs to be used.

    Attributes:
        model: What `--model` was given.
        scheme: The grid asked for.
        weights_hash: sha256 of the frozen weights it was trained on.
        template: How a row becomes text.
        end_token_id: The token that ends a response.
        max_prompt_tokens: A longer prompt is cut from the left.
        labels: The closed set of responses, or None for free text.
        max_response_tokens: Longest response in training, end token included.
        step: The step it is from.
        accuracy: Its validation accuracy then.
        training: How it was made, for the model card; None in runs of older versions.
    """

    model: str
    scheme: str
    weights_hash: str
    template: Template
    end_token_id: int
    max_prompt_tokens: int
    labels: list[str] | None
    max_response_tokens: int
    step: int = 0
    accuracy: float = 0.0
    training: TrainingRecord | None = None


def read_card(folder: Path) -> PromptCard | None:
    """The card beside a prompt; None where another program wrote the adapter.

    Raises:
        DataError: It is damaged.
    """
    try:
        return msgspec.json.decode((folder / CARD_FILE).read_bytes(), type=PromptCard)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"The adapter in {folder} is damaged: {CARD_FILE}: {error}", "Train again."
        ) from None
