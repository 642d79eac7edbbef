"""The catalogue's numbers are those that the models' pages state, and each can be exported."""

from __future__ import annotations

import pytest

from export.family import FAMILIES
from ptune_tui.known_models import KNOWN_OF_OTHER_FAMILIES, numbers_of
from ptune_tui.model_catalogue import CATALOGUE, catalogued
from ptune_tui.models import local_model

# Family, weights without a tied head's copy, and bytes of the safetensors there.
PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": ("llama", 134_515_008, 269_060_552),
    "google/gemma-3-270m-it": ("gemma3_text", 268_098_176, 536_223_056),
    "HuggingFaceTB/SmolLM2-360M-Instruct": ("llama", 361_821_120, 723_674_912),
    "Qwen/Qwen2.5-0.5B-Instruct": ("qwen2", 494_032_768, 988_097_824),
    "Qwen/Qwen3-0.6B": ("qwen3", 596_049_920, 1_503_300_328),
    "google/gemma-3-1b-it": ("gemma3_text", 999_885_952, 1_999_811_208),
    "meta-llama/Llama-3.2-1B-Instruct": ("llama", 1_235_814_400, 2_471_645_608),
    "Qwen/Qwen2.5-1.5B-Instruct": ("qwen2", 1_543_714_304, 3_087_467_144),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": ("llama", 1_711_376_384, 3_422_777_952),
    "Qwen/Qwen3-1.7B": ("qwen3", 1_720_574_976, 4_063_515_640),
    "HuggingFaceTB/SmolLM3-3B": ("smollm3", 3_075_098_624, None),
    "microsoft/Phi-3-mini-4k-instruct": ("phi3", 3_821_079_552, 7_642_181_896),
}


def test_numbers_are_those_of_the_published_models() -> None:
    assert [model.hub_id for model in CATALOGUE] == list(PUBLISHED)
    for model in CATALOGUE:
        family, num_parameters, num_bytes = PUBLISHED[model.hub_id]
        assert model.numbers.num_parameters == num_parameters
        if num_bytes is not None:
            assert model.download_bytes == pytest.approx(num_bytes, rel=2e-4)
        assert model.numbers.assumption is None
        assert model.licence
        assert family in FAMILIES  # a graph is written for it
        assert local_model(model.hub_id) is None


def test_catalogue_is_found_by_hub_id_and_name() -> None:
    assert catalogued("qwen/qwen3-0.6b") is CATALOGUE[4]
    assert catalogued("nobody/nothing") is None
    assert numbers_of("google/gemma-3-270m-it") == KNOWN_OF_OTHER_FAMILIES["Gemma-3-270M"]
    assert numbers_of("phi-3-mini-4k") == KNOWN_OF_OTHER_FAMILIES["Phi-3-mini-4k"]


def test_other_families_have_the_shapes_that_transformers_makes_of_them() -> None:
    import torch
    import transformers

    numbers = KNOWN_OF_OTHER_FAMILIES["Gemma-3-270M"]
    config = transformers.Gemma3TextConfig(
        hidden_size=numbers.hidden_size,
        num_hidden_layers=numbers.num_layers,
        intermediate_size=numbers.intermediate_size,
        vocab_size=numbers.vocab_size,
        num_attention_heads=numbers.num_heads,
        num_key_value_heads=numbers.num_key_value_heads,
        head_dim=numbers.head_size,
    )
    with torch.device("meta"):
        model = transformers.Gemma3ForCausalLM(config)
    assert sum(each.numel() for each in model.parameters()) == numbers.num_parameters
