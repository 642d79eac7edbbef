"""The engine as the bench uses it: the only file of the bench that knows its interface.

Legend: P virtual tokens, H hidden, L layers, h key/value heads, D head size.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ptune_tui.config import FloatType, ModelConfig
from ptune_tui.engine.batches import collate
from ptune_tui.engine.card_products import dequantisation_notice
from ptune_tui.engine.gradient import make_step, unfused_reason
from ptune_tui.engine.methods.factory import layers_of
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.placement import choose_placement
from ptune_tui.engine.product_speed import faster_type
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.training_speed import BenchDevice, BenchSetting
from ptune_tui.worker.bench.shared_files import PROMPT, ChildSetting, SharedFolder


def load(child: ChildSetting, device: BenchDevice) -> FrozenModel:
    """The frozen base, without float copies, in the precision that a run would choose.

    Raises:
        UsageError: The device is not there.
    """
    placement = choose_placement(device, "auto", "int4", "auto")
    return load_frozen(
        Path(child.model_path),
        child.model_name,
        "int4",
        "stream",
        device=placement.device,
        compute_dtype=placement.compute_dtype,
    )


def first_prompt(frozen: FrozenModel, setting: BenchSetting, text: str) -> Tensor:
    """The prompt that every contender starts from: a text, repeated to length P.

    Returns:
        Its embeddings, float32 [P, H], or for `prefix` its keys and values, [L, 2, h, P, D].
    """
    ids = frozen.text.tokenizer.encode(text, add_special_tokens=False).ids
    length = setting.num_virtual_tokens
    repeated = (ids * -(-length // len(ids)))[:length]
    embeddings_PH = frozen.embed(torch.tensor(repeated)).float().clone()
    if setting.method == "prompt":
        return embeddings_PH
    return layers_of(frozen, VirtualTokens(embeddings_PH)).keys_values


class OurContender:
    """Our training step, all rows at once.

    Args:
        child (ChildSetting): The model.
        kernel (str): Of its linear layers.
        folder (SharedFolder): Rows and first prompt.

    Attributes:
        parameter: The prompt.
        computed_by: Whether in compiled passes, and if not, why.
    """

    def __init__(self, child: ChildSetting, kernel: str, folder: SharedFolder) -> None:
        shared = folder.read_rows()
        self._lead_ids = shared.lead_ids
        self._batch = collate(shared.rows, len(shared.lead_ids))
        self.parameter = nn.Parameter(load_file(folder.prompt)[PROMPT])
        self._prompt: Prompt = (
            VirtualTokens(self.parameter)
            if child.setting.method == "prompt"
            else LayerPrefix(self.parameter)
        )
        frozen = load(child, child.setting.device)
        unfused = unfused_reason(frozen)
        self.computed_by = (
            "compiled passes" if unfused is None else f"transformers' layers: {unfused}"
        )
        dequantisation = dequantisation_notice(frozen)
        if dequantisation is not None:
            self.computed_by += f"; {dequantisation.message}"
        outliers: dict[str, list[int]] = {}
        prefix_type: FloatType = "float32"
        if kernel == "int8":
            # As the planner has it: keys and values are computed from nothing.
            if unfused is None and (self._lead_ids or child.setting.method == "prompt"):
                prefix_type = faster_type()
                self.computed_by += f", tokens before the rows in {prefix_type}"
            number = ModelConfig().num_outlier_channels
            outliers = outlier_channels(frozen, self._prompt, self._lead_ids, self._batch, number)
        self._step = make_step(
            frozen,
            kernel,
            outliers,
            checkpointing=False,
            fused=unfused is None,
            prefix_dtype=getattr(torch, prefix_type),
        )

    def backward(self) -> float:
        """Add the rows' gradient to the parameter; returns the loss."""
        return self._step(self._prompt, self._lead_ids, [self._batch])

    def prompt_gradient(self) -> Tensor:
        """The parameter's gradient, float32 [P, H] or [L, 2, h, P, D]."""
        assert self.parameter.grad is not None
        return self.parameter.grad
