"""A checkpoint into a frozen model, one tensor at a time.

Legend: N output rows, K input columns.

The model's skeleton has no memory behind its weights; every matrix is read in chunks of rows and
quantised as it comes, so that the peak is the quantised model and a chunk (and the float copies of
the kernel `cached`, which are built last). The embedding and the head are on 8 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from quant.checkpoint import WeightSource, open_source
from quant.embedding import QuantEmbedding
from quant.errors import QuantError
from quant.linear import Kernel, QuantLinear
from quant.packing import FrozenWeight, weights_hash
from quant.report import LayerReport, QuantReport
from quant.skeleton import Skeleton, build_skeleton
from quant.weight_store import WeightStore
from quant.weights import INT4, INT8, Grid, Scheme, StoredAs, read_floats, read_matrix

# State-space mixers multiply by this weight themselves, so it stays a float layer. It is small.
_READ_DIRECTLY = ("dt_proj",)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LoadedModel:
    """A frozen model with what it was made of.

    Attributes:
        model: transformers causal language model in evaluation mode; nothing in it takes gradients.
        report: Bytes and errors, layer by layer, and the weights' hash.
        weights: The frozen weights by the model's parameter name: what an export writes. Matrices
            are codes [N, K], whatever the order in the file; the rest is float32. A tied head is
            not there.
        config: transformers' configuration.
    """

    model: Any
    report: QuantReport
    weights: dict[str, FrozenWeight | Tensor]
    config: Any


def load(
    path: Path,
    *,
    scheme: Scheme = "int4",
    kernel: Kernel = "cached",
    compute_dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    on_progress: Progress | None = None,
) -> LoadedModel:
    """Loads a model onto the grid.

    Args:
        path: Hugging Face folder with safetensors, or a GGUF file. Matrices that a GGUF file has on
            a grid of ours are taken as they are; floats are quantised.
        scheme: What float matrices are put on. The embedding and the head go on 8 bits either way.
        kernel: `stream` or `cached`, see `quant.linear`.
        compute_dtype: Dtype of activations, norms and float copies.
        device: Where the model computes; it is quantised on the CPU.
        on_progress: Called with (tensors done, tensors in all, `layer 3 of 30` or the name of one
            that belongs to no layer) after every tensor.

    Raises:
        QuantError: If the model cannot be read, is of a kind that is not supported, or its weights
            do not fit its configuration.
    """
    if scheme not in get_args(Scheme):
        raise QuantError(f"no scheme is called {scheme!r}", f"use one of {get_args(Scheme)}")
    source = open_source(path)
    skeleton = build_skeleton(source, compute_dtype)
    model = skeleton.model
    filler = _Filler(source, skeleton, scheme, compute_dtype, on_progress)
    filler.fill()
    model.requires_grad_(False).eval().to(device)
    for module in model.modules():
        if isinstance(module, QuantLinear):
            module.set_kernel(kernel)
    report = QuantReport(
        tuple(filler.layers),
        weights_hash(filler.weights),
        model.config.model_type,
        source.kind,
        scheme,
    )
    return LoadedModel(model, report, filler.weights, model.config)


class _Filler:
    """Puts frozen modules and real floats in the place of a skeleton's weights."""

    def __init__(
        self,
        source: WeightSource,
        skeleton: Skeleton,
        scheme: Scheme,
        compute_dtype: torch.dtype,
        on_progress: Progress | None,
    ) -> None:
        self.source = source
        self.skeleton = skeleton
        self.inner_grid: Grid = "nf4" if scheme == "nf4" else INT4
        self.compute_dtype = compute_dtype
        self.on_progress = on_progress
        self.weights: dict[str, FrozenWeight | Tensor] = {}
        self.layers: list[LayerReport] = []
        self.stores: dict[str, WeightStore] = {}

    def fill(self) -> None:
        """Replaces the modules of the model in the order in which it has them."""
        model = self.skeleton.model
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        for name, module in list(model.named_modules()):
            if module is embedding:
                model.set_submodule(name, self._embedding(name, module))
            elif _is_linear(name, module):
                model.set_submodule(name, self._linear(name, module, is_head=module is head))
            else:
                self._fill_floats(name, module)

    def _embedding(self, name: str, module: torch.nn.Embedding) -> QuantEmbedding:
        scale = getattr(module, "embed_scale", None)
        if scale is None and type(module).forward is not torch.nn.Embedding.forward:
            raise QuantError(
                f"{self.source.path}: the embedding {name} is a {type(module).__name__}, which "
                "does more than to look rows up",
                "take a model with a plain or a scaled embedding",
            )
        shape = (module.num_embeddings, module.embedding_dim)
        store = self._store(f"{name}.weight", shape, INT8)
        return QuantEmbedding(store, self.compute_dtype, scale)

    def _linear(self, name: str, module: Any, *, is_head: bool) -> QuantLinear:
        is_transposed = isinstance(module, Conv1D)
        shape = (
            (module.nf, module.nx) if is_transposed else (module.out_features, module.in_features)
        )
        grid = INT8 if is_head else self.inner_grid
        store = self._store(f"{name}.weight", shape, grid, is_transposed)
        bias = None
        if module.bias is not None:
            bias = self._floats(f"{name}.bias", module.bias)
        return QuantLinear(store, bias, "stream", self.compute_dtype)

    def _fill_floats(self, name: str, module: torch.nn.Module) -> None:
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for key, tensor in own:
            full_name = f"{name}.{key}" if name else key
            if full_name not in self.skeleton.stored and full_name not in self.skeleton.tied:
                continue
            floats = self._floats(full_name, tensor)
            if isinstance(tensor, torch.nn.Parameter):
                floats = torch.nn.Parameter(floats, requires_grad=False)
            setattr(module, key, floats)

    def _store(
        self, name: str, shape: tuple[int, int], grid: Grid, is_transposed: bool = False
    ) -> WeightStore:
        origin = self.skeleton.tied.get(name, name)
        if origin not in self.stores:
            stored = StoredAs(self.skeleton.stored[origin], is_transposed)
            weight, report = read_matrix(self.source, origin, stored, shape, grid)
            self._done(origin, weight, report)
            self.stores[origin] = WeightStore(weight)
        return self.stores[origin]

    def _floats(self, name: str, tensor: Tensor) -> Tensor:
        """The values of a parameter or buffer in the dtype in which the model computes with it."""
        origin = self.skeleton.tied.get(name, name)
        if origin not in self.weights:
            stored = StoredAs(self.skeleton.stored[origin])
            floats, report = read_floats(self.source, origin, stored, tuple(tensor.shape))
            self._done(origin, floats, report)
        values = self.weights[origin]
        assert isinstance(values, Tensor)
        return values.to(self.skeleton.dtype_of(name, self.compute_dtype))

    def _done(self, name: str, weight: FrozenWeight | Tensor, report: LayerReport) -> None:
        self.weights[name] = weight
        self.layers.append(report)
        if self.on_progress is not None:
            self.on_progress(len(self.layers), len(self.skeleton.stored), self._place(name))

    def _place(self, name: str) -> str:
        """The layer that a tensor belongs to, or its own name where it belongs to none."""
        number = re.search(r"\.(\d+)\.", name)
        num_layers = self.skeleton.model.config.get_text_config().num_hidden_layers
        return name if number is None else f"layer {int(number[1]) + 1} of {num_layers}"


def _is_linear(name: str, module: torch.nn.Module) -> bool:
    """Whether a module is a matrix product and nothing else, and no other module reads its weight.

    A subclass with a forward of its own computes something else and keeps its floats.
    """
    if name.rpartition(".")[2] in _READ_DIRECTLY:
        return False
    forward = type(module).forward
    return forward is torch.nn.Linear.forward or isinstance(module, Conv1D)
