"""Frozen models of well-known shapes with random codes, made where they compute: no download.

Legend: N output rows, K input columns.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from accelerate import init_empty_weights
from tokenizers import Tokenizer, models

from ptune_tui.engine.model import FrozenModel, ModelTokenizer
from ptune_tui.model_numbers import ModelNumbers
from quant.embedding import QuantEmbedding
from quant.linear import QuantLinear
from quant.loading import LoadedModel
from quant.nf4 import BLOCK_SIZE, NF4Tensor
from quant.packing import FrozenWeight, QuantSpec, QuantTensor
from quant.report import QuantReport
from quant.weight_store import WeightStore
from quant.weights import INT4, INT8, Scheme

WEIGHT_STD = 0.02
CONTEXT_LENGTH = 4096


def config_of(numbers: ModelNumbers) -> Any:
    """A Llama of these sizes, or a Qwen 2 where queries, keys and values have biases."""
    biases = numbers.query_size + 2 * numbers.key_value_size
    norms = (2 * numbers.num_layers + 1) * numbers.hidden_size
    has_biases = numbers.num_vector_weights == norms + numbers.num_layers * biases
    family = transformers.Qwen2Config if has_biases else transformers.LlamaConfig
    return family(
        hidden_size=numbers.hidden_size,
        num_hidden_layers=numbers.num_layers,
        intermediate_size=numbers.intermediate_size,
        vocab_size=numbers.vocab_size,
        num_attention_heads=numbers.num_heads,
        num_key_value_heads=numbers.num_key_value_heads,
        head_dim=numbers.head_size,
        tie_word_embeddings=numbers.is_tied,
        max_position_embeddings=CONTEXT_LENGTH,
    )


def random_model(
    name: str,
    numbers: ModelNumbers,
    scheme: Scheme,
    *,
    device: torch.device,
    compute_dtype: torch.dtype,
    drawn_on: torch.device,
) -> FrozenModel:
    """A frozen model of these sizes; one seed and one `drawn_on` give the same codes anywhere."""
    config = config_of(numbers)
    with init_empty_weights(include_buffers=False):
        network = transformers.AutoModelForCausalLM.from_config(config, dtype=compute_dtype)
    generator = torch.Generator(drawn_on).manual_seed(0)
    head = network.get_output_embeddings()
    embedding = network.get_input_embeddings()
    store = WeightStore(_random_codes((numbers.vocab_size, numbers.hidden_size), INT8, generator))
    for module_name, module in list(network.named_modules()):
        made: torch.nn.Module
        if module is embedding:
            made = QuantEmbedding(store, compute_dtype)
        elif module is head and numbers.is_tied:
            made = QuantLinear(store, None, "stream", compute_dtype)
        elif isinstance(module, torch.nn.Linear):
            grid = INT8 if module is head else INT4 if scheme == "int4" else None
            shape = (module.out_features, module.in_features)
            bias = None if module.bias is None else torch.zeros(shape[0], dtype=compute_dtype)
            made = QuantLinear(_random_codes(shape, grid, generator), bias, "stream", compute_dtype)
        else:
            for key, parameter in module.named_parameters(recurse=False):
                ones = torch.ones(parameter.shape, dtype=compute_dtype)
                setattr(module, key, torch.nn.Parameter(ones, requires_grad=False))
            continue
        network.set_submodule(module_name, made)
    network.requires_grad_(False).eval().to(device)
    report = QuantReport((), "random", config.model_type, "random", scheme)
    text = ModelTokenizer(Tokenizer(models.BPE()), None, "", "", 0)
    return FrozenModel(name, LoadedModel(network, report, {}, config), text, "stream")


def _random_codes(
    shape: tuple[int, int], spec: QuantSpec | None, generator: torch.Generator
) -> FrozenWeight:
    """A weight [N, K] of uniform codes (NF4 where no grid is given) with the usual deviation."""
    num_rows, num_columns = shape
    device = generator.device

    def draw(*sizes: int) -> torch.Tensor:
        return torch.randint(0, 256, sizes, dtype=torch.uint8, device=device, generator=generator)

    if spec is None:
        num_blocks = -(-num_rows * num_columns // BLOCK_SIZE)
        # The levels of uniform codes have a standard deviation of 0.53.
        absmax = torch.full((num_blocks,), WEIGHT_STD / 0.53, device=device)
        return NF4Tensor(shape, draw(-(-num_rows * num_columns // 2)), absmax)
    num_blocks = -(-num_columns // spec.block_size)
    codes = draw(num_rows, num_blocks, spec.block_size * spec.bits // 8)
    num_codes = 1 << spec.bits
    scales = torch.full((num_rows, num_blocks), WEIGHT_STD * 12**0.5 / num_codes, device=device)
    middle = 0x88 if spec.bits == 4 else 0x80
    points_shape = (num_rows, -(-num_blocks * spec.bits // 8))
    points = torch.full(points_shape, middle, dtype=torch.uint8, device=device)
    return QuantTensor(spec, shape, codes, scales, points, scales_are_half=False)
