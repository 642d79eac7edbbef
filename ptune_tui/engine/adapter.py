"""A trained prompt on disk: a PEFT adapter, and beside it what PEFT has no field for.

adapter_model.safetensors   `prompt_embeddings`: float32 [P, H] as PEFT's PROMPT_TUNING, or
                            float32 [P, L * 2 * h * D] as PEFT's PREFIX_TUNING
adapter_config.json         PEFT's
prompt.json                 template, labels, the base's hash, scores

Legend: P virtual tokens, H hidden, L layers, h key/value heads, D head size.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from peft import PeftConfig, PrefixTuningConfig, PromptTuningConfig, TaskType
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from export.template import Template
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.errors import DataError, ModelError
from ptune_tui.tasks import write_atomically

ADAPTER_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
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


class _PeftConfig(msgspec.Struct, frozen=True):
    """What is read of PEFT's own file."""

    peft_type: str
    num_layers: int
    num_attention_heads: int
    token_dim: int


def save_adapter(folder: Path, frozen: FrozenModel, prompt: Prompt, card: PromptCard) -> None:
    """Write a prompt; every file is whole or absent.

    Args:
        folder (Path): Where; made if it is not there.
        frozen (FrozenModel): The model it was trained on.
        prompt (Prompt): Virtual tokens, or keys and values.
        card (PromptCard): What else there is to say.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _peft_config(frozen, prompt, card.model).save_pretrained(str(folder))
    flat = _flat_layers(prompt) if isinstance(prompt, LayerPrefix) else prompt.embeddings_PH
    tensors = {_TENSOR: flat.detach().float().cpu().contiguous()}
    write_atomically(folder / ADAPTER_FILE, save(tensors))
    pretty = msgspec.json.format(msgspec.json.encode(card), indent=2)
    write_atomically(folder / CARD_FILE, pretty)


def _peft_config(frozen: FrozenModel, prompt: Prompt, model: str) -> PeftConfig:
    """What PEFT is told: for keys and values its `token_dim` is h * D, of h heads."""
    if isinstance(prompt, LayerPrefix):
        num_layers, _, num_heads, _, head_size = prompt.keys_values.shape
        kind, token_dim = PrefixTuningConfig, num_heads * head_size
    else:
        kind, token_dim = PromptTuningConfig, prompt.embeddings_PH.shape[1]
        num_layers = frozen.config.num_hidden_layers
        num_heads = frozen.config.num_attention_heads
    return kind(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=prompt.num_virtual_tokens,
        token_dim=token_dim,
        num_layers=num_layers,
        num_attention_heads=num_heads,
        num_transformer_submodules=1,
        base_model_name_or_path=model,
        inference_mode=True,
    )


def _flat_layers(prompt: LayerPrefix) -> Tensor:
    """Keys and values in PEFT's layout, float32 [P, L * 2 * h * D]."""
    return prompt.keys_values.permute(3, 0, 1, 2, 4).reshape(prompt.num_virtual_tokens, -1)


def load_adapter(folder: Path) -> tuple[Prompt, PromptCard]:
    """Read a prompt and its card.

    Raises:
        DataError: There is no prompt, or it is damaged.
    """
    try:
        adapter = msgspec.json.decode((folder / CONFIG_FILE).read_bytes(), type=_PeftConfig)
        card = msgspec.json.decode((folder / CARD_FILE).read_bytes(), type=PromptCard)
        tensors = load_file(folder / ADAPTER_FILE)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no trained prompt: {error.filename or ADAPTER_FILE} is missing.",
            "Train one with `ptune train`; a run that failed early has none.",
        ) from None
    except (msgspec.MsgspecError, SafetensorError) as error:
        raise DataError(f"The prompt in {folder} is damaged: {error}", "Train again.") from None
    values = tensors[_TENSOR].to(torch.float32)
    if adapter.peft_type != "PREFIX_TUNING":
        return VirtualTokens(values), card
    layout = (-1, adapter.num_layers, 2, adapter.num_attention_heads)
    per_head = values.reshape(*layout, adapter.token_dim // adapter.num_attention_heads)
    return LayerPrefix(per_head.permute(1, 2, 3, 0, 4).contiguous()), card


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
