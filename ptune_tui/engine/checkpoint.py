"""A trained prompt on disk: a PEFT adapter, and beside it what PEFT has no field for.

adapter_model.safetensors   `prompt_embeddings`, float32 [P, H]: PEFT's PROMPT_TUNING
adapter_config.json         PEFT's
prompt.json                 template, labels, the base's hash, scores
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from peft import PromptTuningConfig, TaskType
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from export.template import Template
from ptune_tui.engine.model import FrozenModel
from ptune_tui.errors import DataError, ModelError
from ptune_tui.tasks import write_atomically

ADAPTER_FILE = "adapter_model.safetensors"
CARD_FILE = "prompt.json"
_TENSOR = "prompt_embeddings"


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


def save_adapter(
    folder: Path, frozen: FrozenModel, soft_prompt_PH: Tensor, card: PromptCard
) -> None:
    """Write a prompt; every file is whole or absent.

    Args:
        folder (Path): Where; made if it is not there.
        frozen (FrozenModel): The model it was trained on.
        soft_prompt_PH (Tensor): float32 [P, H].
        card (PromptCard): What else there is to say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = frozen.config
    adapter = PromptTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=soft_prompt_PH.shape[0],
        token_dim=soft_prompt_PH.shape[1],
        num_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_transformer_submodules=1,
        base_model_name_or_path=card.model,
        inference_mode=True,
    )
    adapter.save_pretrained(str(folder))
    tensors = {_TENSOR: soft_prompt_PH.detach().float().contiguous()}
    write_atomically(folder / ADAPTER_FILE, save(tensors))
    pretty = msgspec.json.format(msgspec.json.encode(card), indent=2)
    write_atomically(folder / CARD_FILE, pretty)


def load_adapter(folder: Path) -> tuple[Tensor, PromptCard]:
    """Read a prompt, float32 [P, H], and its card.

    Raises:
        DataError: There is no prompt, or it is damaged.
    """
    try:
        card = msgspec.json.decode((folder / CARD_FILE).read_bytes(), type=PromptCard)
        tensors = load_file(folder / ADAPTER_FILE)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no trained prompt: {error.filename or ADAPTER_FILE} is missing.",
            "Train one with `ptune train`; a run that failed early has none.",
        ) from None
    except (msgspec.MsgspecError, SafetensorError) as error:
        raise DataError(f"The prompt in {folder} is damaged: {error}", "Train again.") from None
    return tensors[_TENSOR].to(torch.float32), card


def check_base(frozen: FrozenModel, card: PromptCard, folder: Path) -> None:
    """Refuse a prompt on other weights than it was trained on.

    Raises:
        ModelError: The weights' hashes differ.
    """
    found = frozen.loaded.report.weights_hash
    if found != card.weights_hash:
        raise ModelError(
            f"The prompt in {folder} was trained on other weights ({card.weights_hash[:12]}) than "
            f"{frozen.name} has ({found[:12]}).",
            "Use the model it was trained on; a prompt only fits its own base.",
        )
