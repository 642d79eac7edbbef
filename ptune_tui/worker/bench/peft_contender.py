"""PEFT and transformers at their best: no padding, no cache, no mask that is all ones.

Legend: B rows, T tokens of a row, P virtual tokens, H hidden, L layers, h key/value heads,
D head size.
"""

from __future__ import annotations

from typing import Any

import peft
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn

from export.encoding import EncodedRow
from ptune_tui.training_speed import BenchDevice
from ptune_tui.worker.bench.shared_files import PROMPT, ChildSetting, SharedFolder

_IGNORED = -100  # transformers' label of a token that is not in the loss


class PeftContender:
    """PEFT's training step on the dequantised base.

    Args:
        child (ChildSetting): What is measured.
        precision (str): `fp32`, `bf16`, or NF4 with products in bf16 (`nf4`) or in fp32
            (`nf4-fp32`).
        folder (SharedFolder): Model, rows and first prompt.

    Attributes:
        parameter: PEFT's, in its own layout.
        computed_by: Who computes it.
    """

    computed_by = "transformers' layers"

    def __init__(self, child: ChildSetting, precision: str, folder: SharedFolder) -> None:
        start = load_file(folder.prompt)[PROMPT]
        device = child.setting.device
        base = _load(folder, precision, device)
        _switch_dropout_off(base)
        self._layers_shape = None if child.setting.method == "prompt" else start.shape
        self._model: Any = peft.get_peft_model(base, _config(start))
        # Not `eval`: bitsandbytes would repack its weights and lose the gradient.
        self._model.train()
        self._model.prompt_encoder.to(device)
        self.parameter: nn.Parameter = self._model.prompt_encoder["default"].embedding.weight
        with torch.no_grad():
            self.parameter.copy_(start if self._layers_shape is None else _flat_layers(start))
        input_ids, labels = _collate(folder.read_rows().rows)
        self._input_ids, self._labels = input_ids.to(device), labels.to(device)

    def backward(self) -> float:
        """Add the rows' gradient to the parameter; returns the loss."""
        output = self._model(input_ids=self._input_ids, labels=self._labels, use_cache=False)
        output.loss.backward()
        return float(output.loss.detach())

    def prompt_gradient(self) -> Tensor:
        """The parameter's gradient, float32 [P, H] or [L, 2, h, P, D]."""
        gradient = self.parameter.grad
        assert gradient is not None
        if self._layers_shape is None:
            return gradient
        num_layers, _, num_heads, length, head_size = self._layers_shape
        per_head = gradient.view(length, num_layers, 2, num_heads, head_size)
        return per_head.permute(1, 2, 3, 0, 4)


def _load(folder: SharedFolder, precision: str, device: BenchDevice) -> Any:
    dtype = torch.float32 if precision in ("fp32", "nf4-fp32") else torch.bfloat16
    quantisation = None
    if precision.startswith("nf4"):
        quantisation = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,  # its own default is float32
        )
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder.float_model,
        dtype=dtype,
        attn_implementation="sdpa",
        quantization_config=quantisation,
        device_map={"": device} if quantisation or device != "cpu" else None,
        local_files_only=True,
        trust_remote_code=False,
    )


def _switch_dropout_off(base: Any) -> None:
    """Make the gradient one of the prompt and the rows alone, as ours is."""
    for module in base.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def _config(start: Tensor) -> peft.PeftConfig:
    """PEFT's configuration of the method that a first prompt [P, H] or [L, 2, h, P, D] is of."""
    if start.dim() == 2:
        return peft.PromptTuningConfig(
            task_type=peft.TaskType.CAUSAL_LM, num_virtual_tokens=start.shape[0]
        )
    num_layers, _, num_heads, length, head_size = start.shape
    return peft.PrefixTuningConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        num_virtual_tokens=length,
        token_dim=num_heads * head_size,
        num_layers=num_layers,
        num_attention_heads=num_heads,
    )


def _flat_layers(keys_values: Tensor) -> Tensor:
    """Keys and values [L, 2, h, P, D] in PEFT's layout, [P, L * 2 * h * D]."""
    return keys_values.permute(3, 0, 1, 2, 4).flatten(1)


def _collate(rows: list[EncodedRow]) -> tuple[Tensor, Tensor]:
    """Token ids and labels, int64 [B, T]; the rows are of one length, so nothing is padded."""
    input_ids = torch.tensor([row.prompt_ids + row.response_ids for row in rows])
    labels = torch.tensor(
        [[_IGNORED] * len(row.prompt_ids) + row.response_ids for row in rows], dtype=torch.int64
    )
    return input_ids, labels
