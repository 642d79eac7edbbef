"""The graph computes what transformers computes on the dequantised weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers

from export.blobs import BlobFile
from export.errors import UnsupportedModelError
from export.family import decoder_spec
from export.graph import build_graph, can_take_layout
from export.projection import BlockProducts
from export.rotary import rotary_tables
from export.rowwise import store_integers
from export.session import DecoderSession
from export.shape import DecoderShape
from export.stored_model import store_model
from export.vocabulary_table import VocabularyTable
from quant.loading import LoadedModel, load
from quant.packing import FrozenWeight

SIZES: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 600,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
IDS = [7, 3, 55, 21, 99, 0, 42, 13, 8, 64, 31]

Models = dict[str, tuple[type, dict[str, Any]]]
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 8,
    "short_factor": [1.0 + 0.1 * n for n in range(8)],
    "long_factor": [1.5 + 0.4 * n for n in range(8)],
}
TWO_KINDS = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}

MODELS: Models = {
    "llama-tied": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
    "llama-untied": (transformers.LlamaConfig, {"tie_word_embeddings": False}),
    "llama-biases": (transformers.LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "llama-3-rope": (
        transformers.LlamaConfig,
        {
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "mistral-window": (
        transformers.MistralConfig,
        {"tie_word_embeddings": False, "sliding_window": 5},
    ),
    "smollm3": (transformers.SmolLM3Config, {"no_rope_layers": [1, 0]}),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen2-window": (transformers.Qwen2Config, {"use_sliding_window": True, **TWO_KINDS}),
    "qwen3": (transformers.Qwen3Config, {"tie_word_embeddings": True}),
    "phi3": (transformers.Phi3Config, {"sliding_window": 5}),
    "phi3-partial-rotary": (
        transformers.Phi3Config,
        {
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
            },
        },
    ),
    # A number of its own, which transformers takes before that of the rope parameters.
    "phi3-long-rope": (
        transformers.Phi3Config,
        {"rope_parameters": LONG_ROPE, "original_max_position_embeddings": 8},
    ),
    "gemma": (transformers.GemmaConfig, {}),
    "gemma2": (
        transformers.Gemma2Config,
        {
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 5.0,
            **TWO_KINDS,
        },
    ),
    "gemma3": (transformers.Gemma3TextConfig, {"query_pre_attn_scalar": 24, **TWO_KINDS}),
}


class Case:
    """One model in torch and in onnxruntime."""

    def __init__(self, folder: Path, kind: str, scheme: str, precision: str) -> None:
        config_class, changes = MODELS[kind]
        torch.manual_seed(0)
        config = config_class(**{**SIZES, **changes})
        model = transformers.AutoModelForCausalLM.from_config(config)
        for name, parameter in model.named_parameters():
            # Biases and norms start as constants, which would hide a mix-up.
            if parameter.dim() == 1:
                torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.2)
        model.save_pretrained(folder / "model")
        self.loaded: LoadedModel = load(folder / "model", scheme=scheme)  # type: ignore[arg-type]
        self.twin = float_twin(self.loaded)
        spec = decoder_spec(self.loaded.config)
        tables = rotary_tables(self.loaded.model.model.rotary_emb, spec)
        blobs = BlobFile(folder / "model.data")
        stored = store_model(spec, self.loaded.weights, tables, blobs)
        blobs.close()
        self.path = folder / "model.onnx"
        if precision == "throughput":
            integers = BlobFile(folder / "throughput.data")
            rowwise = store_integers(stored, loudness(self.loaded.model), integers)
            integers.close()
            graph = build_graph(stored, rowwise, [integers], has_layout=can_take_layout(spec))
        else:
            products = BlockProducts(stored.weights, is_exact=precision == "exact")
            graph = build_graph(stored, products)
        self.path.write_bytes(graph.SerializeToString())
        shape = DecoderShape(2, 64, 2, spec.head_size, 100, spec.context_length)
        self.spec = spec
        self.session = DecoderSession(self.path, shape, num_threads=1)

    def expected(self, *chunks: list[int] | torch.Tensor) -> np.ndarray:
        """Logits of torch's model, fed chunk by chunk: tokens, or embeddings."""
        cache = transformers.DynamicCache(config=self.twin.config)
        embed = self.twin.get_input_embeddings()
        logits = []
        for chunk in chunks:
            values = chunk if isinstance(chunk, torch.Tensor) else embed(torch.tensor(chunk))
            with torch.no_grad():
                output = self.twin(inputs_embeds=values[None], past_key_values=cache)
            logits.append(output.logits[0].numpy())
        return np.concatenate(logits)


def loudness(model: Any) -> dict[str, torch.Tensor]:
    """Sums of squares over the inputs of the linear layers, by a hook of the tests' own."""
    heard: dict[str, torch.Tensor] = {}

    def listen(name: str) -> Callable[[Any, Any], None]:
        return lambda _, inputs: heard.update({name: inputs[0].flatten(0, -2).pow(2).sum(0)})

    hooks = [
        module.register_forward_pre_hook(listen(name))
        for name, module in model.named_modules()
        if name.endswith("_proj")
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([IDS]))
    for hook in hooks:
        hook.remove()
    return heard


def float_twin(loaded: LoadedModel) -> Any:
    twin = transformers.AutoModelForCausalLM.from_config(loaded.config).eval()
    state = {
        name: weight.dequantize() if isinstance(weight, FrozenWeight) else weight
        for name, weight in loaded.weights.items()
    }
    if loaded.config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    twin.load_state_dict(state)
    return twin


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.fixture(params=sorted(MODELS))
def exact(tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    return Case(tmp_path, request.param, "int4", "exact")


@pytest.fixture
def case(tmp_path: Path) -> Callable[..., Case]:
    def make(kind: str = "llama-tied", scheme: str = "int4", precision: str = "exact") -> Case:
        return Case(tmp_path, kind, scheme, precision)

    return make


def test_prefill_in_one_chunk_equals_transformers(exact: Case) -> None:
    got = exact.session.forward(IDS, 0, wanted=range(len(IDS)))
    assert relative_error(got, exact.expected(IDS)) < 1e-5


def test_prefill_in_chunks_and_decode_equal_transformers(exact: Case) -> None:
    chunks = [IDS[:4], IDS[4:9], *([token] for token in IDS[9:])]
    starts = [0, 4, 9, 10]
    got = [
        exact.session.forward(chunk, start, wanted=range(len(chunk)))
        for chunk, start in zip(chunks, starts, strict=True)
    ]
    assert relative_error(np.concatenate(got), exact.expected(*chunks)) < 1e-5


def test_the_vocabulary_is_read_from_the_graph_as_it_joins_a_text(exact: Case) -> None:
    got = VocabularyTable(exact.path, 100).rows(np.arange(100))
    expected = exact.twin.get_input_embeddings()(torch.arange(100)).detach().numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_virtual_tokens_are_addressed_by_ids_from_the_vocabulary_on(exact: Case) -> None:
    soft = 0.3 * torch.randn(3, 64, generator=torch.Generator().manual_seed(2))
    exact.session.forward([100, 101, 102], 0, soft_prompt=soft.numpy())
    got = exact.session.forward(IDS, 3, wanted=range(len(IDS)))
    assert relative_error(got, exact.expected(soft, IDS)[3:]) < 1e-5


def test_a_restored_prefix_answers_bit_for_bit_like_a_computed_one(
    case: Callable[..., Case],
) -> None:
    session = case().session
    soft = np.full((2, 64), 0.1, np.float32)
    session.forward([100, 101, *IDS[:2]], 0, soft_prompt=soft)
    prefix = session.prefix(4)
    computed = session.forward(IDS[2:], 4)
    session.forward([1] * 30, 0)
    session.restore(prefix)
    assert np.array_equal(session.forward(IDS[2:], 4), computed)


def test_the_cache_grows_without_forgetting(case: Callable[..., Case]) -> None:
    made = case()
    ids = [(7 * n) % 100 for n in range(400)]
    made.session.forward(ids[:200], 0)
    got = made.session.forward(ids[200:], 200)
    assert made.session.capacity >= 400
    assert relative_error(got, made.expected(ids)[-1:]) < 1e-5


def test_a_batch_of_right_padded_rows_equals_transformers_batch(exact: Case) -> None:
    session = onnxruntime.InferenceSession(str(exact.path), providers=["CPUExecutionProvider"])
    rows = [IDS, IDS[:4]]
    ids = np.zeros((2, len(IDS)), np.int64)
    mask = np.zeros((2, len(IDS)), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    feeds = {"input_ids": ids, "attention_mask": mask}
    for layer in range(2):
        for kind in ("key", "value"):
            feeds[f"past_key_values.{layer}.{kind}"] = np.zeros(
                (2, 2, 0, exact.spec.head_size), np.float32
            )
    logits = session.run(["logits"], feeds)[0]
    assert logits.shape == (2, 1, 100)
    with torch.no_grad():
        batch = exact.twin(torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()
    for number, row in enumerate(rows):
        assert relative_error(logits[number, 0], batch[number, len(row) - 1]) < 1e-5


def test_fast_is_near_and_exact_is_nearer(tmp_path: Path) -> None:
    errors = {}
    for precision in ("fast", "exact"):
        folder = tmp_path / precision
        folder.mkdir()
        made = Case(folder, "llama-tied", "int4", precision)
        got = made.session.forward(IDS, 0, wanted=range(len(IDS)))
        errors[precision] = relative_error(got, made.expected(IDS))
    assert errors["exact"] < 1e-5 < errors["fast"] < 0.2


def test_nf4_ships_as_8_bits_and_stays_near(case: Callable[..., Case]) -> None:
    made = case(scheme="nf4")
    got = made.session.forward(IDS, 0, wanted=range(len(IDS)))
    assert relative_error(got, made.expected(IDS)) < 0.05


def test_the_graph_is_of_the_opset_that_onnxruntime_loads(case: Callable[..., Case]) -> None:
    model = onnx.load(case().path, load_external_data=False)
    assert model.ir_version == 10
    assert {item.domain: item.version for item in model.opset_import} == {
        "": 21,
        "com.microsoft": 1,
    }
    names = {item.name for item in model.graph.input}
    assert {"input_ids", "attention_mask", "past_key_values.1.value", "soft_prompt"} <= names


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (transformers.GPT2Config(), "gpt2"),
        (transformers.LlamaConfig(**SIZES, hidden_act="relu"), "relu"),
        (transformers.Gemma3TextConfig(**SIZES, use_bidirectional_attention=True), "both"),
    ],
)
def test_what_the_writer_does_not_cover_is_refused(config: Any, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        decoder_spec(config)


def test_a_rotary_size_that_onnxruntime_does_not_take_is_refused() -> None:
    parameters = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    config = transformers.Phi3Config(**SIZES, rope_parameters=parameters)
    rotary = transformers.AutoModelForCausalLM.from_config(config).model.rotary_emb
    with pytest.raises(UnsupportedModelError, match="8 of the 16 numbers of a head"):
        rotary_tables(rotary, decoder_spec(config))
