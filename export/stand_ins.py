"""What stands for frozen layers while a model is traced: one operator each, of our own domain.

Legend: K inputs, N outputs, H hidden.

torch's exporter carries such an operator through to the ONNX graph with the name of its weight,
which is all that `export.traced_graph` needs to write the real one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from quant.embedding import QuantEmbedding
from quant.linear import QuantLinear
from quant.packing import FrozenWeight

DOMAIN = "ptune"
PRODUCT, LOOK_UP = "Product", "LookUp"
WEIGHT = "weight"  # the attribute that names the frozen weight


class _Product(nn.Module):
    """Stands for a frozen layer in the trace: [.., K] to [.., N].

    Args:
        layer (QuantLinear): The layer.
        name (str): Its weight's name.
    """

    bias: Tensor | None

    def __init__(self, layer: QuantLinear, name: str) -> None:
        super().__init__()
        self.store, self.name = layer.store, name
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("bias", layer.bias, persistent=False)

    @property
    def weight(self) -> FrozenWeight:
        """The frozen weight, whose dtype and device some models ask for."""
        return self.store.weight

    def forward(self, input_K: Tensor) -> Tensor:
        """An operator of our own domain, and the bias."""
        size = (*input_K.shape[:-1], self.out_features)
        output_N = _operator(PRODUCT, input_K, self.name, size)
        return output_N if self.bias is None else output_N + self.bias


class _LookUp(nn.Module):
    """Stands for a frozen embedding in the trace: ids [..] to [.., H].

    Args:
        embedding (QuantEmbedding): The embedding.
        name (str): Its weight's name.
    """

    def __init__(self, embedding: QuantEmbedding, name: str) -> None:
        super().__init__()
        self.store, self.name, self.scale = embedding.store, name, embedding.scale
        self.num_embeddings = embedding.num_embeddings
        self.embedding_dim = embedding.embedding_dim

    @property
    def weight(self) -> FrozenWeight:
        """The frozen weight, whose dtype and device some models ask for."""
        return self.store.weight

    def forward(self, ids: Tensor) -> Tensor:
        """An operator of our own domain, scaled as the embedding is."""
        rows_H = _operator(LOOK_UP, ids, self.name, (*ids.shape, self.embedding_dim))
        return rows_H if self.scale is None else rows_H * self.scale


def _operator(kind: str, values: Tensor, name: str, size: tuple[int, ...]) -> Tensor:
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{kind}", (values,), {WEIGHT: name}, dtype=torch.float32, shape=size, version=1
    )


@contextmanager
def stand_ins(network: Any, weights: Mapping[str, FrozenWeight | Tensor]) -> Iterator[None]:
    """Put operators of our own in the place of frozen layers, and the layers back.

    Args:
        network (Any): The model.
        weights (Mapping[str, FrozenWeight | Tensor]): Its frozen weights by name.
    """
    names = {id(weight): name for name, weight in weights.items() if not isinstance(weight, Tensor)}
    frozen = {
        path: module
        for path, module in network.named_modules(remove_duplicate=False)
        if isinstance(module, QuantLinear | QuantEmbedding)
    }
    try:
        for path, module in frozen.items():
            network.set_submodule(path, _stand_in(module, names[id(module.store.weight)]))
        yield
    finally:
        for path, module in frozen.items():
            network.set_submodule(path, module)


def _stand_in(module: QuantLinear | QuantEmbedding, name: str) -> nn.Module:
    return _Product(module, name) if isinstance(module, QuantLinear) else _LookUp(module, name)
