"""The frozen base of a bundle, as the exporter is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from export.rowwise import Loudness
from export.template import ModelTexts
from quant.packing import FrozenWeight, QuantTensor


@dataclass(frozen=True)
class ExportedModel:
    """The frozen base of a bundle.

    Attributes:
        name: What to call it.
        network: The transformers model, frozen, on the CPU in float32.
        weights: Frozen weights by their transformers names.
        weights_hash: sha256 over them.
        tokenizer_json: The tokenizer, as training used it.
        texts: What the model brings along for templates.
        listen: Tells how loud the inputs of its layers are, behind the prompt.
    """

    name: str
    network: Any
    weights: Mapping[str, FrozenWeight | Tensor]
    weights_hash: str
    tokenizer_json: str
    texts: ModelTexts
    listen: Callable[[], Loudness]

    @property
    def num_bytes(self) -> int:
        """Of its weights as they are stored."""
        return sum(
            weight.numel() * 4 if isinstance(weight, Tensor) else weight.num_bytes
            for weight in self.weights.values()
        )

    @property
    def num_frozen(self) -> int:
        """Numbers in its frozen weights: their bytes as whole 8-bit integers."""
        return sum(
            weight.shape[0] * weight.shape[1]
            for weight in self.weights.values()
            if not isinstance(weight, Tensor)
        )

    @property
    def grid(self) -> str:
        """The grids of its weights in words."""
        kinds = set()
        for weight in self.weights.values():
            if isinstance(weight, QuantTensor):
                spec = weight.spec
                form = spec.form.replace("_", " ")
                kinds.add(f"{spec.bits}-bit {form}, block {spec.block_size}")
            elif not isinstance(weight, Tensor):
                kinds.add("NF4 as 8-bit zero point, block 32")
        return "; ".join(sorted(kinds))
