"""The empty model: which modules it has, which weights they want, and what the file calls them.

transformers knows how each of its models was ever stored: renamed heads, prefixes that come and go,
tied weights. Its own tables are asked, so that no family needs a line here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from accelerate import init_empty_weights
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from quant.checkpoint import WeightSource, read_json
from quant.errors import QuantError
from quant.gguf import GGUFSource
from quant.gguf_blocks import BLOCK_TYPES

# Rows of two stored vocabularies that are compared at once.
_COMPARED_ROWS = 4096


@dataclass(frozen=True)
class Skeleton:
    """A model without weights.

    Attributes:
        model: transformers causal language model whose parameters have no memory.
        stored: What the checkpoint calls each parameter and stored buffer that is to be read.
        tied: For each parameter that is not read, the one whose values it shares.
    """

    model: Any
    stored: dict[str, str]
    tied: dict[str, str]

    def dtype_of(self, name: str, compute_dtype: torch.dtype) -> torch.dtype:
        """What transformers would keep a parameter in: some models have parts that stay float32.

        Args:
            name: Name of the parameter.
            compute_dtype: Dtype of the model.
        """
        kept = set(self.model._keep_in_fp32_modules_strict or ())
        if compute_dtype == torch.float16:
            kept |= set(self.model._keep_in_fp32_modules or ())
        stays = any(re.search(rf"(^|\.){re.escape(part)}(\.|$)", name) for part in kept)
        return torch.float32 if stays and compute_dtype != torch.float32 else compute_dtype


def build_skeleton(source: WeightSource, compute_dtype: torch.dtype) -> Skeleton:
    """The empty model of a checkpoint, matched with the tensors that it stores.

    Args:
        source: The checkpoint.
        compute_dtype: Dtype of activations.

    Raises:
        QuantError: If transformers has no causal language model of the kind, the model has parts
            that cannot be frozen here, or its weights do not fit its configuration.
    """
    config = _read_config(source)
    try:
        with init_empty_weights(include_buffers=False):
            # Without a wish transformers takes `sdpa` where the model supports it, else `eager`.
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=compute_dtype)
    except ValueError as error:
        raise QuantError(
            f"{source.path}: the model type {config.model_type!r} is no causal language model that "
            f"transformers {transformers.__version__} can build: {_first_line(error)}",
            "take a model that continues text, such as Llama, Qwen, Gemma, Phi or GPT-2",
        ) from error
    _refuse_fused_experts(source, model)
    wanted = _wanted_tensors(model)
    names = _names_in_model(source, model, wanted)
    tied = _tied(source, model, names)
    _check_complete(source, model, wanted - set(tied), names, set(tied))
    return Skeleton(model, {name: names[name] for name in wanted - set(tied)}, tied)


def _read_config(source: WeightSource) -> Any:
    if isinstance(source, GGUFSource):
        return transformers.LlamaConfig(**source.config)
    raw = read_json(source.path / "config.json")
    if "quantization_config" in raw:
        raise QuantError(
            f"{source.path}: the model is quantised already, with "
            f"{raw['quantization_config'].get('quant_method', 'an unknown method')!r}",
            f"take the model's float checkpoint, or a GGUF file of type {', '.join(BLOCK_TYPES)}",
        )
    try:
        return transformers.AutoConfig.from_pretrained(
            source.path, trust_remote_code=False, local_files_only=True
        )
    except ValueError as error:
        raise QuantError(
            f"{source.path}: the model type {raw.get('model_type')!r} is not supported: "
            f"{_first_line(error)}",
            f"transformers {transformers.__version__} must know the type; code that a model brings "
            "along is never run",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _refuse_fused_experts(source: WeightSource, model: Any) -> None:
    for name, module in model.named_modules():
        is_expert = hasattr(module, "num_experts") or "expert" in type(module).__name__.lower()
        for key, parameter in module.named_parameters(recurse=False):
            if is_expert and parameter.dim() == 3:
                raise QuantError(
                    f"{source.path}: {name}.{key} holds {parameter.shape[0]} experts in one "
                    f"tensor; mixture-of-experts models ({model.config.model_type!r}) are not "
                    "supported",
                    "take a dense model of the same family",
                )


def _wanted_tensors(model: Any) -> set[str]:
    """Names of parameters and of stored float buffers."""
    return {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


def _names_in_model(source: WeightSource, model: Any, wanted: set[str]) -> dict[str, str]:
    """The stored name of each of the model's names that the checkpoint has, and of unknown ones."""
    transforms = get_model_conversion_mapping(model)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    known = dict.fromkeys(wanted, True)
    names: dict[str, str] = {}
    for stored in sorted(source.names):
        name, converter = rename_source_key(
            stored, renamings, converters, model.base_model_prefix, known
        )
        if converter is not None and name in wanted:
            raise QuantError(
                f"{source.path}: tensor {stored} is stored in another form than the model's {name}",
                "load the model with transformers, `save_pretrained(..., "
                "save_original_format=False)` it, and use that folder",
            )
        names[name] = stored
    return names


def _tied(source: WeightSource, model: Any, names: dict[str, str]) -> dict[str, str]:
    """Which parameter shares the values of which.

    As in transformers: a checkpoint may store the values under either name, which `names` then
    holds under both; where it stores different ones under the two, they are not tied.
    """
    tied = {}
    for target, origin in model.all_tied_weights_keys.items():
        if target in names and origin in names:
            if not _are_equal(source, names[target], names[origin]):
                model.config.tie_word_embeddings = False
                continue
        elif target in names:
            names[origin] = names[target]
        tied[target] = origin
    return tied


def _are_equal(source: WeightSource, first: str, second: str) -> bool:
    shape = source.shape(first)
    if shape != source.shape(second):
        return False
    return all(
        torch.equal(
            source.rows(first, start, min(start + _COMPARED_ROWS, shape[0])),
            source.rows(second, start, min(start + _COMPARED_ROWS, shape[0])),
        )
        for start in range(0, shape[0], _COMPARED_ROWS)
    )


def _check_complete(
    source: WeightSource, model: Any, expected: set[str], names: dict[str, str], tied: set[str]
) -> None:
    """Every expected tensor is there, and nothing that the model does not know."""
    missing = sorted(expected - set(names))
    if missing:
        raise QuantError(
            f"{source.path}: {len(missing)} tensors are missing, the first is {missing[0]}",
            "a shard may be missing, or the configuration is of another model",
        )
    # Old checkpoints store the rotary frequencies and causal masks, which are computed now.
    computed = [*(model._keys_to_ignore_on_load_unexpected or ()), r"rotary_emb\.inv_freq$"]
    unexpected = sorted(
        name for name in set(names) - expected - tied if not _matches(name, computed)
    )
    if unexpected:
        raise QuantError(
            f"{source.path}: {len(unexpected)} tensors have no place in the model, the first is "
            f"{names[unexpected[0]]}",
            "the configuration is of another model, or the model is of a variant that is not "
            "supported",
        )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)
