"""A trained prompt on disk: a PEFT adapter, and beside it what PEFT has no field for.

adapter_model.safetensors   the prompt, and
adapter_config.json         its sizes, as PEFT keeps them
prompt.json                 template, labels, the base's hash, scores
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.peft_adapter import read_peft_adapter, write_peft_adapter
from ptune_tui.engine.prompt import Prompt
from ptune_tui.errors import DataError
from ptune_tui.prompt_card import PromptCard, read_card
from ptune_tui.run_prompt import CARD_FILE
from ptune_tui.tasks import write_atomically


def save_adapter(folder: Path, frozen: FrozenModel, prompt: Prompt, card: PromptCard) -> None:
    """Write a prompt; every file is whole or absent.

    Args:
        folder (Path): Where; made in a run folder that is there.
        frozen (FrozenModel): The model it was trained on.
        prompt (Prompt): Virtual tokens, or keys and values.
        card (PromptCard): What else there is to say.

    Raises:
        FileNotFoundError: The run folder was deleted or moved.
    """
    folder.mkdir(exist_ok=True)
    write_peft_adapter(folder, frozen, prompt, card.model)
    pretty = msgspec.json.format(msgspec.json.encode(card), indent=2)
    write_atomically(folder / CARD_FILE, pretty)


def load_adapter(folder: Path) -> tuple[Prompt, PromptCard]:
    """Read a prompt and its card.

    Raises:
        DataError: There is no prompt, or it is damaged.
    """
    prompt = read_peft_adapter(folder).prompt
    card = read_card(folder)
    if card is None:
        raise DataError(
            f"{folder} holds a prompt without {CARD_FILE}: its template and labels are not known.",
            "Train on from it: `ptune train --init prompt --init-prompt FOLDER`.",
        )
    return prompt, card


def other_weights(frozen: FrozenModel, weights_hash: str, where: str) -> str | None:
    """A sentence where a prompt was trained on other weights than a model has; else None.

    Args:
        frozen (FrozenModel): The model.
        weights_hash (str): The hash of the weights the prompt was trained on.
        where (str): Where the prompt is from.
    """
    found = frozen.loaded.report.weights_hash
    if found == weights_hash:
        return None
    return (
        f"The prompt in {where} was trained on other weights ({weights_hash[:12]}) than "
        f"{frozen.name} has ({found[:12]})."
    )
