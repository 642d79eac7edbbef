"""A saved prompt is a PEFT adapter: PEFT loads it and computes the same logits."""

from __future__ import annotations

from pathlib import Path

import msgspec
import peft
import pytest
import torch
import transformers

from export.encoding import EncodedRow
from export.template import Template
from ptune_tui.engine.adapter import PromptCard, check_base, load_adapter, save_adapter
from ptune_tui.engine.batches import collate
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.step import label_logits, prefix_of
from ptune_tui.errors import DataError, ModelError
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


def test_peft_computes_the_same_logits_from_a_saved_adapter(
    frozen: FrozenModel, card: PromptCard, tmp_path: Path
) -> None:
    prompt = VirtualTokens(0.2 * torch.randn(6, frozen.config.hidden_size))
    save_adapter(tmp_path / "adapter", frozen, prompt, card)
    tuned = peft.PeftModel.from_pretrained(float_twin(frozen), str(tmp_path / "adapter")).eval()
    row = EncodedRow([40, 41, 42, 43], [50, 2])
    ids = torch.tensor([row.prompt_ids + row.response_ids[:-1]])
    with torch.no_grad():
        theirs = tuned(input_ids=ids).logits[0, -len(row.response_ids) :]
        ours = label_logits(frozen.network, prefix_of(frozen, prompt, []), collate([row], 0))
    assert float((theirs - ours).abs().max() / theirs.abs().max()) < 1e-5


def test_an_adapter_reads_back_as_it_was_written(
    frozen: FrozenModel, card: PromptCard, tmp_path: Path
) -> None:
    prompt = VirtualTokens(torch.randn(3, frozen.config.hidden_size))
    save_adapter(tmp_path, frozen, prompt, card)
    loaded, found = load_adapter(tmp_path)
    assert isinstance(loaded, VirtualTokens)
    assert torch.equal(loaded.embeddings_PH, prompt.embeddings_PH)
    assert found == card


def test_a_prompt_of_other_weights_is_refused(frozen: FrozenModel, card: PromptCard) -> None:
    other = msgspec.structs.replace(card, weights_hash="0" * 64)
    with pytest.raises(ModelError, match="other weights"):
        check_base(frozen, other, Path("run"))


def test_a_damaged_or_missing_adapter_is_a_sentence(
    frozen: FrozenModel, card: PromptCard, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no trained prompt"):
        load_adapter(tmp_path)
    save_adapter(tmp_path, frozen, VirtualTokens(torch.randn(3, frozen.config.hidden_size)), card)
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="damaged"):
        load_adapter(tmp_path)
