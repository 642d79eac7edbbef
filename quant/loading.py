"""A checkpoint into a frozen model, one tensor at a time.

Legend: N output rows, K input columns.

The model's skeleton has no memory behind its weights; every matrix is read in chunks of rows and
quantised as it comes, so that the peak is the quantised model and a chunk (and the float copies of
the kernel `cached`, which are built last). The embedding and the head are on 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import transformers
from accelerate import init_empty_weights
from torch import Tensor

from quant.checkpoint import WeightSource, open_source, read_json
from quant.errors import QuantError
from quant.gguf import GGUFSource
from quant.linear import Kernel, QuantEmbedding, QuantLinear, WeightStore
from quant.packing import FrozenWeight, QuantTensor, weights_hash
from quant.report import LayerReport, QuantReport
from quant.weights import INT4, INT8, Grid, Scheme, read_matrix, read_vector

# Model types in which linear layers, the embedding and norms are all that has weights.
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class LoadedModel:
    """A frozen model with what it was made of.

    Attributes:
        model: transformers causal language model in evaluation mode; nothing in it takes gradients.
        report: Bytes and errors, layer by layer, and the weights' hash.
        weights: The frozen weights by Hugging Face parameter name: what an export writes. Matrices
            are codes, vectors float32. `lm_head.weight` is there only where it is untied.
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
    on_progress: Progress | None = None,
) -> LoadedModel:
    """Loads a model onto the grid.

    Args:
        path: Hugging Face folder with safetensors, or a GGUF file. Matrices that a GGUF file has on
            a grid of ours are taken as they are; floats are quantised.
        scheme: What float matrices are put on. The embedding and the head go on 8 bits either way.
        kernel: `stream` or `cached`, see `quant.linear`.
        compute_dtype: Dtype of activations, norms and float copies.
        on_progress: Called with (tensors done, tensors in all, name) after every tensor.

    Raises:
        QuantError: If the model cannot be read, is of a family that is not supported, or its
            weights do not fit its configuration.
    """
    if scheme not in get_args(Scheme):
        raise QuantError(f"no scheme is called {scheme!r}", f"use one of {get_args(Scheme)}")
    source = open_source(path)
    config = _read_config(source)
    with init_empty_weights(include_buffers=False):
        model = transformers.AutoModelForCausalLM.from_config(
            config, attn_implementation="sdpa", dtype=compute_dtype
        )
    filler = _Filler(source, scheme, compute_dtype, on_progress, _expected_names(model, source))
    filler.fill(model)
    model.requires_grad_(False).eval()
    for module in model.modules():
        if isinstance(module, QuantLinear):
            module.set_kernel(kernel)
    report = QuantReport(
        tuple(filler.layers),
        weights_hash(filler.weights),
        config.model_type,
        source.kind,
        scheme,
    )
    return LoadedModel(model, report, filler.weights, model.config)


def _read_config(source: WeightSource) -> Any:
    if isinstance(source, GGUFSource):
        return transformers.LlamaConfig(**source.config)
    raw = read_json(source.path / "config.json")
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise QuantError(
            f"{source.path}: the model type {family!r} is not supported",
            f"model types that work: {', '.join(FAMILIES)}",
        )
    if "quantization_config" in raw:
        raise QuantError(
            f"{source.path}: the model is quantised already, with "
            f"{raw['quantization_config'].get('quant_method', 'an unknown method')!r}",
            "take the model's float checkpoint, or a GGUF file of type Q4_0, Q4_1 or Q8_0",
        )
    return transformers.AutoConfig.from_pretrained(
        source.path, trust_remote_code=False, local_files_only=True
    )


def _expected_names(model: Any, source: WeightSource) -> list[str]:
    """Names of the model's parameters, a tied head left out, once they match the checkpoint's."""
    tied = model.config.tie_word_embeddings
    expected = [
        name
        for name, _ in model.named_parameters(remove_duplicate=False)
        if not (tied and name == "lm_head.weight")
    ]
    missing = sorted(set(expected) - source.names)
    if missing:
        raise QuantError(
            f"{source.path}: {len(missing)} tensors are missing, the first is {missing[0]}",
            "a shard may be missing, or the configuration is of another model",
        )
    # Old checkpoints store the rotary frequencies, and tied ones the head, a second time.
    unexpected = sorted(
        name
        for name in source.names - set(expected)
        if not (name.endswith("rotary_emb.inv_freq") or (tied and name == "lm_head.weight"))
    )
    if unexpected:
        raise QuantError(
            f"{source.path}: {len(unexpected)} tensors have no place in the model, the first is "
            f"{unexpected[0]}",
            "the configuration is of another model, or the model is of a variant that is not "
            "supported",
        )
    return expected


class _Filler:
    """Puts frozen modules and real vectors in the place of a skeleton's weights."""

    def __init__(
        self,
        source: WeightSource,
        scheme: Scheme,
        compute_dtype: torch.dtype,
        on_progress: Progress | None,
        names: list[str],
    ) -> None:
        self.source = source
        self.scheme = scheme
        self.compute_dtype = compute_dtype
        self.on_progress = on_progress
        self.num_tensors = len(names)
        self.weights: dict[str, FrozenWeight | Tensor] = {}
        self.layers: list[LayerReport] = []

    def fill(self, model: Any) -> None:
        """Replaces the modules of the model in the order in which it has them."""
        embedding: WeightStore | None = None
        for name, module in list(model.named_modules()):
            if isinstance(module, torch.nn.Embedding):
                filled = self._embedding(name, module)
                embedding = filled.store
                model.set_submodule(name, filled)
            elif isinstance(module, torch.nn.Linear):
                tied = name == "lm_head" and model.config.tie_word_embeddings
                model.set_submodule(name, self._linear(name, module, embedding if tied else None))
            else:
                self._fill_vectors(name, module)

    def _embedding(self, name: str, module: torch.nn.Embedding) -> QuantEmbedding:
        shape = (module.num_embeddings, module.embedding_dim)
        weight = self._matrix(f"{name}.weight", shape, is_vocabulary=True)
        assert isinstance(weight, QuantTensor)
        return QuantEmbedding(weight, self.compute_dtype)

    def _linear(
        self, name: str, module: torch.nn.Linear, tied_to: WeightStore | None
    ) -> QuantLinear:
        shape = (module.out_features, module.in_features)
        weight = tied_to or self._matrix(f"{name}.weight", shape, is_vocabulary=name == "lm_head")
        bias = None
        if module.bias is not None:
            bias = self._vector(f"{name}.bias", (module.out_features,)).to(self.compute_dtype)
        return QuantLinear(weight, bias, "stream", self.compute_dtype)

    def _fill_vectors(self, name: str, module: torch.nn.Module) -> None:
        for key, parameter in list(module.named_parameters(recurse=False)):
            vector = self._vector(f"{name}.{key}", tuple(parameter.shape))
            filled = torch.nn.Parameter(vector.to(self.compute_dtype), requires_grad=False)
            setattr(module, key, filled)

    def _matrix(self, name: str, shape: tuple[int, int], *, is_vocabulary: bool) -> FrozenWeight:
        inner: Grid = "nf4" if self.scheme == "nf4" else INT4
        weight, report = read_matrix(self.source, name, shape, INT8 if is_vocabulary else inner)
        self._done(name, weight, report)
        return weight

    def _vector(self, name: str, shape: tuple[int, ...]) -> Tensor:
        vector, report = read_vector(self.source, name, shape)
        self._done(name, vector, report)
        return vector

    def _done(self, name: str, weight: FrozenWeight | Tensor, report: LayerReport) -> None:
        self.weights[name] = weight
        self.layers.append(report)
        if self.on_progress is not None:
            self.on_progress(len(self.layers), self.num_tensors, name)
