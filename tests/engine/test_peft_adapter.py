"""A saved prompt is a PEFT adapter and the other way round: the same logits in both programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import save_file

from export.encoding import EncodedRow
from export.template import Template
from ptune_tui.engine.adapter import PromptCard, load_adapter, other_weights, save_adapter
from ptune_tui.engine.batches import collate
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.peft_adapter import check_shape, read_peft_adapter
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.engine.step import label_logits, prefix_of
from ptune_tui.errors import DataError
from quant.packing import FrozenWeight


@pytest.fixture(scope="module")
def frozen(tiny_model: Path) -> FrozenModel:
    return load_frozen(tiny_model, "tiny", "int4", "cached")


@pytest.fixture
def card(frozen: FrozenModel) -> PromptCard:
    return PromptCard(
        model="tiny",
        scheme="int4",
        weights_hash=frozen.loaded.report.weights_hash,
        template=Template(),
        end_token_id=2,
        max_prompt_tokens=64,
        labels=["a", "b"],
        max_response_tokens=2,
    )


def float_twin(frozen: FrozenModel) -> transformers.PreTrainedModel:
    """transformers' own model holding the dequantised weights."""
    twin = transformers.LlamaForCausalLM(frozen.config).eval()
    state = {
        name: weight.dequantize() if isinstance(weight, FrozenWeight) else weight
        for name, weight in frozen.loaded.weights.items()
    }
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    twin.load_state_dict(state)
    return twin


ROW = EncodedRow([40, 41, 42, 43], [50, 2])


def tokens(frozen: FrozenModel, num_virtual_tokens: int = 6) -> VirtualTokens:
    return VirtualTokens(0.2 * torch.randn(num_virtual_tokens, frozen.config.hidden_size))


def prefix(frozen: FrozenModel, num_virtual_tokens: int = 6) -> LayerPrefix:
    config = frozen.config
    shape = (config.num_hidden_layers, 2, config.num_key_value_heads)
    return LayerPrefix(torch.randn(*shape, num_virtual_tokens, config.head_dim))


def our_logits(frozen: FrozenModel, prompt: Prompt) -> torch.Tensor:
    with torch.no_grad():
        return label_logits(frozen.network, prefix_of(frozen, prompt, []), collate([ROW], 0))


def peft_logits(tuned: peft.PeftModel) -> torch.Tensor:
    ids = torch.tensor([ROW.prompt_ids + ROW.response_ids[:-1]])
    with torch.no_grad():
        return tuned(input_ids=ids).logits[0, -len(ROW.response_ids) :]


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((theirs - ours).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("make", [tokens, prefix])
def test_peft_computes_the_same_logits_from_a_saved_adapter(
    frozen: FrozenModel,
    card: PromptCard,
    tmp_path: Path,
    make: Callable[[FrozenModel], Prompt],
) -> None:
    prompt = make(frozen)
    save_adapter(tmp_path / "adapter", frozen, prompt, card)
    tuned = peft.PeftModel.from_pretrained(float_twin(frozen), str(tmp_path / "adapter")).eval()
    assert relative_error(our_logits(frozen, prompt), peft_logits(tuned)) < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PromptEncoderConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=24
        ),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
        peft.PrefixTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=4,
            prefix_projection=True,
            encoder_hidden_size=24,
        ),
    ],
    ids=["prompt", "p-tuning", "prefix", "prefix-with-projection"],
)
def test_an_adapter_that_peft_wrote_gives_its_logits(
    frozen: FrozenModel, tmp_path: Path, config: peft.PeftConfig
) -> None:
    torch.manual_seed(5)
    tuned = peft.get_peft_model(float_twin(frozen), config).eval()
    tuned.save_pretrained(str(tmp_path))
    found = read_peft_adapter(tmp_path).prompt
    check_shape(frozen, found, "here")
    assert found.num_virtual_tokens == 4
    assert relative_error(our_logits(frozen, found), peft_logits(tuned)) < 1e-5


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]), "LORA"),
        (
            peft.MultitaskPromptTuningConfig(
                task_type="CAUSAL_LM", num_virtual_tokens=4, num_tasks=2
            ),
            "MULTITASK_PROMPT_TUNING",
        ),
        (
            peft.CPTConfig(
                task_type="CAUSAL_LM",
                cpt_token_ids=[1, 2],
                cpt_mask=[1, 1],
                cpt_tokens_type_mask=[1, 2],
            ),
            "CPT",
        ),
    ],
    ids=["lora", "multitask", "cpt"],
)
def test_an_adapter_that_is_no_prompt_is_refused_by_its_type(
    frozen: FrozenModel, tmp_path: Path, config: peft.PeftConfig, kind: str
) -> None:
    peft.get_peft_model(float_twin(frozen), config).save_pretrained(str(tmp_path))
    with pytest.raises(DataError, match=f"of type {kind}") as caught:
        read_peft_adapter(tmp_path)
    assert "PROMPT_TUNING, P_TUNING and PREFIX_TUNING" in caught.value.hint


def values_of(prompt: Prompt) -> torch.Tensor:
    return prompt.embeddings_PH if isinstance(prompt, VirtualTokens) else prompt.keys_values


@pytest.mark.parametrize("make", [tokens, prefix])
def test_an_adapter_reads_back_as_it_was_written(
    frozen: FrozenModel,
    card: PromptCard,
    tmp_path: Path,
    make: Callable[[FrozenModel], Prompt],
) -> None:
    prompt = make(frozen)
    save_adapter(tmp_path, frozen, prompt, card)
    loaded, found = load_adapter(tmp_path)
    assert type(loaded) is type(prompt)
    assert torch.equal(values_of(loaded), values_of(prompt))
    assert found == card
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "prompt.json",
    ]


def test_other_weights_are_told_by_their_hash(frozen: FrozenModel, card: PromptCard) -> None:
    assert other_weights(frozen, card.weights_hash, "run") is None
    sentence = other_weights(frozen, "0" * 64, "run")
    assert sentence is not None
    assert "other weights (000000000000)" in sentence


def test_a_prompt_of_another_shape_is_refused_with_both(frozen: FrozenModel) -> None:
    with pytest.raises(DataError, match="48 wide, but tiny is 64 wide"):
        check_shape(frozen, VirtualTokens(torch.zeros(3, 48)), "run")
    with pytest.raises(DataError, match=r"3 layers, 4 heads of 8, but tiny has 2 layers, 2 heads"):
        check_shape(frozen, LayerPrefix(torch.zeros(3, 2, 4, 5, 8)), "run")


def spoil_tensors(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:40])


def spoil_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def spoil_card(folder: Path) -> None:
    (folder / "prompt.json").write_text("[]")


def spoil_length(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_virtual_tokens": 9}))


def spoil_values(folder: Path) -> None:
    save_file(
        {"prompt_embeddings": torch.full((6, 64), float("nan"))},
        folder / "adapter_model.safetensors",
    )


@pytest.mark.parametrize(
    "spoil", [spoil_tensors, spoil_config, spoil_card, spoil_length, spoil_values]
)
def test_a_damaged_adapter_is_a_sentence(
    frozen: FrozenModel, card: PromptCard, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    save_adapter(tmp_path, frozen, tokens(frozen), card)
    spoil(tmp_path)
    with pytest.raises(DataError, match="damaged"):
        load_adapter(tmp_path)


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(
    frozen: FrozenModel, card: PromptCard, tmp_path: Path, missing: str
) -> None:
    with pytest.raises(DataError, match="no trained prompt"):
        load_adapter(tmp_path / "nowhere")
    save_adapter(tmp_path, frozen, tokens(frozen), card)
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=f"no trained prompt: {missing} is missing"):
        load_adapter(tmp_path)
