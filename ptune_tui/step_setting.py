"""How a training step is computed, as far as its memory and time depend on it. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ptune_tui.config import MethodName
from ptune_tui.model_numbers import ModelNumbers

TrainingKernel = Literal["stream", "cached", "int8"]
TrainingDevice = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Setting:
    """How a step is computed.

    Attributes:
        method: What is trained.
        num_virtual_tokens: P.
        num_lead_tokens: Template tokens that all rows begin with, computed once a step.
        batch_size: Rows a step.
        num_row_tokens: Tokens of a row, padding included.
        num_label_tokens: Tokens of a row that the loss is taken on.
        micro_batch_size: Rows computed at a time; 0: all.
        kernel: How products are computed.
        checkpointing: Whether layers are computed again in the backward pass.
        device: Where.
        mlp_size: Hidden width of `residual`, `p-tuning` and a reparametrised `prefix`.
        rank: Of `lowrank`.
        reparametrise: Whether `prefix` is trained through an MLP.
        has_compiled_passes: Whether the machine compiles the passes of the fused step.
    """

    method: MethodName = "prompt"
    num_virtual_tokens: int = 20
    num_lead_tokens: int = 0
    batch_size: int = 32
    num_row_tokens: int = 64
    num_label_tokens: int = 2
    micro_batch_size: int = 0
    kernel: TrainingKernel = "cached"
    checkpointing: bool = False
    device: TrainingDevice = "cpu"
    mlp_size: int = 128
    rank: int = 64
    reparametrise: bool = False
    has_compiled_passes: bool = False

    @property
    def num_rows(self) -> int:
        """B."""
        return min(self.micro_batch_size or self.batch_size, self.batch_size)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens whose keys and values every row sees."""
        return self.num_virtual_tokens + self.num_lead_tokens

    @property
    def num_computed_prefix_tokens(self) -> int:
        """Those of them that are computed; `prefix` trains keys and values themselves."""
        num_virtual_tokens = 0 if self.method == "prefix" else self.num_virtual_tokens
        return num_virtual_tokens + self.num_lead_tokens

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of a step."""
        return -(-self.batch_size // self.num_rows)


def is_fused(numbers: ModelNumbers, setting: Setting) -> bool:
    """Whether a step is computed by the fused decoder (`engine.fused`)."""
    return numbers.is_fusable and setting.has_compiled_passes and setting.device == "cpu"


def num_trained(numbers: ModelNumbers, setting: Setting) -> int:
    """Trained numbers of a method; the files of `engine/methods` say what they are."""
    num_tokens, hidden_size, mlp = setting.num_virtual_tokens, numbers.hidden_size, setting.mlp_size
    tokens = num_tokens * hidden_size
    if setting.method == "residual":
        return tokens + 2 * hidden_size * mlp + mlp + 3 * hidden_size
    if setting.method == "lowrank":
        return num_tokens * setting.rank + 2 * hidden_size
    if setting.method == "p-tuning":
        return tokens + 2 * hidden_size * mlp + mlp * mlp + 2 * mlp + hidden_size
    if setting.method == "prefix":
        size, layers = numbers.key_value_size, 2 * numbers.num_layers
        if setting.reparametrise:
            codes = num_tokens * size
            return codes + (size + 1) * mlp + (mlp + 1) * layers * size
        return num_tokens * layers * size
    return tokens
