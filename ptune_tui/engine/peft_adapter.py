"""A prompt as PEFT keeps it on disk: written for PEFT, and read whoever wrote it.

adapter_model.safetensors   `prompt_embeddings`: float32 [P, H] (PROMPT_TUNING and P_TUNING, which
                            is saved folded), or [P, L * 2 * h * D] (PREFIX_TUNING)
adapter_config.json         which of them, and the sizes

PEFT hands a prefix to the model as its `past_key_values`: keys are rotated already, and the rows'
positions begin at P. That is just what a `LayerPrefix` is.

Legend: P virtual tokens, H hidden, L layers, h key/value heads, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.engine.step import prefix_of, require_shared_prefix
from ptune_tui.errors import DataError
from ptune_tui.run_prompt import ADAPTER_CONFIG_FILE, ADAPTER_FOLDER, TENSORS_FILE
from ptune_tui.tasks import write_atomically

if TYPE_CHECKING:
    from peft import PeftConfig

_TENSOR = "prompt_embeddings"
_TOKEN_TYPES = ("PROMPT_TUNING", "P_TUNING")
_PREFIX_TYPE = "PREFIX_TUNING"
_TRAIN_HINT = "Train one with `ptune train`; a run that failed early has none."
_READABLE_HINT = "PROMPT_TUNING, P_TUNING and PREFIX_TUNING adapters of causal models can be read."


class _Config(msgspec.Struct, frozen=True):
    """What is read of PEFT's own configuration."""

    peft_type: str
    num_virtual_tokens: int | None = None
    num_layers: int | None = None
    num_attention_heads: int | None = None
    num_transformer_submodules: int | None = None
    base_model_name_or_path: str | None = None


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter that was read.

    Attributes:
        prompt: What it holds.
        base: What the model was called that it was trained on; may be empty.
    """

    prompt: Prompt
    base: str


def write_peft_adapter(folder: Path, frozen: FrozenModel, prompt: Prompt, base: str) -> None:
    """Write a prompt as an adapter that PEFT loads; every file is whole or absent.

    Args:
        folder (Path): Where; it is there.
        frozen (FrozenModel): The model it was trained on.
        prompt (Prompt): Virtual tokens, or keys and values.
        base (str): What to call the model.
    """
    with TemporaryDirectory(dir=folder, prefix=".") as part:
        _peft_config(frozen, prompt, base).save_pretrained(part)
        write_atomically(
            folder / ADAPTER_CONFIG_FILE, (Path(part) / ADAPTER_CONFIG_FILE).read_bytes()
        )
    values = prompt.embeddings_PH if isinstance(prompt, VirtualTokens) else _flat(prompt)
    tensors = {_TENSOR: values.detach().float().cpu().contiguous()}
    write_atomically(folder / TENSORS_FILE, save(tensors))


def read_peft_adapter(folder: Path) -> PeftAdapter:
    """Read an adapter.

    Args:
        folder (Path): An adapter's folder, or that of a run.

    Raises:
        DataError: There is none, it is damaged, or of a type that does not fold to a prompt.
    """
    folder = adapter_folder(folder)
    config = _read_config(folder)
    readable = (*_TOKEN_TYPES, _PREFIX_TYPE)
    if config.peft_type not in readable or config.num_transformer_submodules not in (None, 1):
        what = config.peft_type
        if what in readable:
            what = f"{what} for {config.num_transformer_submodules} submodules"
        raise DataError(
            f"{folder} is a PEFT adapter of type {what}, which is no prompt of one causal model.",
            _READABLE_HINT,
        )
    values = _read_values(folder)
    if values.ndim != 2 or values.shape[0] != config.num_virtual_tokens:
        raise DataError(
            f"The adapter in {folder} is damaged: {ADAPTER_CONFIG_FILE} promises "
            f"{config.num_virtual_tokens} virtual tokens, `{_TENSOR}` is {list(values.shape)}.",
            "Fetch or train it again.",
        )
    base = config.base_model_name_or_path or ""
    if config.peft_type == _PREFIX_TYPE:
        return PeftAdapter(_layers(values, config, folder), base)
    return PeftAdapter(VirtualTokens(values), base)


def adapter_folder(folder: Path) -> Path:
    """The adapter's own folder, given that or a run's."""
    inner = folder / ADAPTER_FOLDER
    return inner if (inner / ADAPTER_CONFIG_FILE).is_file() else folder


def check_shape(frozen: FrozenModel, prompt: Prompt, where: str) -> None:
    """Refuse a prompt that a model cannot take, whatever its weights.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt): What was read.
        where (str): Where it is from, for the sentence.

    Raises:
        DataError: Its width, or its layers, heads or head size, are another model's.
        ModelError: It holds keys and values, and the model has layers without them.
    """
    hint = "A prompt only fits the model it was trained on."
    if isinstance(prompt, VirtualTokens):
        width = prompt.embeddings_PH.shape[1]
        expected = frozen.embed(torch.zeros(1, dtype=torch.int64)).shape[1]
        if width != expected:
            raise DataError(
                f"The prompt in {where} is {width} wide, but {frozen.name} is {expected} wide.",
                hint,
            )
        return
    num_layers, _, num_heads, _, head_size = prompt.keys_values.shape
    require_shared_prefix(frozen)
    # Configurations name their heads in many ways, so one token is asked.
    with torch.no_grad():
        layers = prefix_of(frozen, None, [0]).layers
    _, expected_heads, _, expected_size = layers[0][0].shape
    if (num_layers, num_heads, head_size) != (len(layers), expected_heads, expected_size):
        raise DataError(
            f"The prompt in {where} holds keys and values of {num_layers} layers, {num_heads} "
            f"heads of {head_size}, but {frozen.name} has {len(layers)} layers, "
            f"{expected_heads} heads of {expected_size}.",
            hint,
        )


def _peft_config(frozen: FrozenModel, prompt: Prompt, base: str) -> PeftConfig:
    """What PEFT is told: for keys and values `token_dim` is h * D, of h heads."""
    # PEFT takes 40 MB and a second, and is wanted when something is saved.
    from peft import PrefixTuningConfig, PromptTuningConfig, TaskType

    if isinstance(prompt, LayerPrefix):
        num_layers, _, num_heads, _, head_size = prompt.keys_values.shape
        kind, token_dim = PrefixTuningConfig, num_heads * head_size
    else:
        kind, token_dim = PromptTuningConfig, prompt.embeddings_PH.shape[1]
        num_layers = frozen.config.num_hidden_layers
        # PEFT wants a number even of a state-space model, and makes no use of it here.
        num_heads = getattr(frozen.config, "num_attention_heads", 1)
    return kind(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=prompt.num_virtual_tokens,
        token_dim=token_dim,
        num_layers=num_layers,
        num_attention_heads=num_heads,
        num_transformer_submodules=1,
        base_model_name_or_path=base,
        inference_mode=True,
    )


def _flat(prompt: LayerPrefix) -> Tensor:
    """Keys and values in PEFT's layout, float32 [P, L * 2 * h * D]."""
    return prompt.keys_values.permute(3, 0, 1, 2, 4).reshape(prompt.num_virtual_tokens, -1)


def _layers(values: Tensor, config: _Config, folder: Path) -> LayerPrefix:
    """Keys and values from PEFT's layout [P, L * 2 * h * D]."""
    num_layers, num_heads = config.num_layers, config.num_attention_heads
    width = values.shape[1]
    if not num_layers or not num_heads or width % (num_layers * 2 * num_heads):
        raise DataError(
            f"The prefix in {folder} is {width} wide, which is no whole number of keys and values "
            f"of {num_layers} layers and {num_heads} heads.",
            "A prefix with a projection can only be read as PEFT saves it: folded, in inference.",
        )
    per_head = values.reshape(values.shape[0], num_layers, 2, num_heads, -1)
    return LayerPrefix(per_head.permute(1, 2, 3, 0, 4).contiguous())


def _read_config(folder: Path) -> _Config:
    path = folder / ADAPTER_CONFIG_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Config)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{folder} holds no trained prompt: {ADAPTER_CONFIG_FILE} is missing.", _TRAIN_HINT
        ) from None
    except msgspec.MsgspecError as error:
        raise DataError(
            f"The adapter in {folder} is damaged: {ADAPTER_CONFIG_FILE}: {error}",
            "Fetch or train it again.",
        ) from None


def _read_values(folder: Path) -> Tensor:
    """The one tensor, float32 [P, ...]."""
    try:
        tensors = load_file(folder / TENSORS_FILE)
    except FileNotFoundError:
        hint = _TRAIN_HINT
        if (folder / "adapter_model.bin").is_file():
            hint = "It has adapter_model.bin only: save it again with `safe_serialization=True`."
        raise DataError(
            f"{folder} holds no trained prompt: {TENSORS_FILE} is missing.", hint
        ) from None
    except SafetensorError as error:
        raise DataError(
            f"The adapter in {folder} is damaged: {TENSORS_FILE}: {error}",
            "Fetch or train it again.",
        ) from None
    if set(tensors) != {_TENSOR}:
        raise DataError(
            f"The adapter in {folder} holds {', '.join(sorted(tensors)) or 'nothing'}, "
            f"but a prompt is one tensor, `{_TENSOR}`.",
            _READABLE_HINT,
        )
    values: Tensor = tensors[_TENSOR].to(torch.float32)
    if not bool(values.isfinite().all()):
        raise DataError(
            f"The adapter in {folder} is damaged: it holds values that are not finite.",
            "Fetch or train it again.",
        )
    return values
