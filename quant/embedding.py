"""An embedding over a frozen weight, without parameters.

Legend: M rows that are looked up, V vocabulary, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.packing import QuantTensor
from quant.triton_dequantize import dequantize_to
from quant.weight_store import WeightStore


class QuantEmbedding(torch.nn.Module):
    """A frozen embedding: ids [...] to rows [..., H], dequantised row by row.

    Args:
        weight: Frozen weight [V, H], or a store to share.
        compute_dtype: Dtype of the rows.
        scale: What a scaled embedding (Gemma, BART) multiplies its rows by, as transformers has it:
            a tensor is rounded to the dtype of the rows first, a number is not.

    Attributes:
        num_embeddings: V.
        embedding_dim: H.
    """

    def __init__(
        self,
        weight: QuantTensor | WeightStore,
        compute_dtype: torch.dtype = torch.float32,
        scale: Tensor | float | None = None,
    ) -> None:
        super().__init__()
        self.store = weight if isinstance(weight, WeightStore) else WeightStore(weight)
        self.num_embeddings, self.embedding_dim = self.store.weight.shape
        self.compute_dtype = compute_dtype
        if isinstance(scale, Tensor):
            self.register_buffer("scale", scale.detach().to(compute_dtype), persistent=False)
        else:
            self.scale = scale

    @property
    def weight(self) -> QuantTensor:
        """The frozen weight [V, H]."""
        assert isinstance(self.store.weight, QuantTensor)
        return self.store.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Looks rows up.

        Args:
            ids: Integer tensor [...] of ids below V.

        Returns:
            Float [..., H] of the compute dtype; the values of `weight.dequantize()`, scaled.
        """
        rows_MH = dequantize_to(self.weight.rows(ids.flatten()), self.compute_dtype)
        if self.scale is not None:
            rows_MH = rows_MH * self.scale
        return rows_MH.view(*ids.shape, self.embedding_dim)

    def extra_repr(self) -> str:
        """What `print(model)` shows of the layer."""
        return f"{self.num_embeddings}, {self.embedding_dim}"
