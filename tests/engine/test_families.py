"""Every family of transformers: the shared prefix gives what its own plain forward gives.

The reference is transformers' float model with the dequantised weights, one row at a time, prompt
and tokens concatenated, without a cache, with masks and positions of its own making.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor

from export.encoding import EncodedRow
from export.labels import LabelTrie
from ptune_tui.engine.attention import attention_masses, eager_attention
from ptune_tui.engine.batches import collate
from ptune_tui.engine.generate import generate_greedily
from ptune_tui.engine.gradient import LayerStep
from ptune_tui.engine.labelling import classify
from ptune_tui.engine.methods.factory import layers_of
from ptune_tui.engine.model import FrozenModel, load_tokenizer
from ptune_tui.engine.peft_adapter import check_shape, read_peft_adapter, write_peft_adapter
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.engine.reference import TorchReference
from ptune_tui.engine.step import prefix_of, training_gradient
from ptune_tui.errors import ModelError
from quant.errors import QuantError
from quant.loading import load
from tests.quant.conftest import float_twin

SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Shorter than a row: what lies further back is out of sight, the prompt first.
WINDOW = 5
ALTERNATING = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
    "query_pre_attn_scalar": 16,
}
GPT2_SIZES = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
SHARED: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {},
    "qwen3": {},
    "gemma2": {**ALTERNATING, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "gemma3_text": ALTERNATING,
    "phi3": {"sliding_window": WINDOW},
    "gpt2": GPT2_SIZES,
    "gpt_neox": {"tie_word_embeddings": False},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 32},
}
CONCATENATED: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 8},
    "falcon_h1": {
        "mamba_d_ssm": 64,
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_d_state": 8,
    },
    "bloom": GPT2_SIZES,
}
HEADS_WITHOUT_GROUPS = ("gpt2", "gpt_neox", "opt")
LEAD = [5, 6]
ROWS = [
    EncodedRow([*LEAD, 40, 41, 42], [50, 2]),
    EncodedRow([*LEAD, 43], [51, 52, 53, 2]),
    EncodedRow([*LEAD, 44, 45, 46, 47, 48, 49], [54, 2]),
]
LABELS = [*([first, 2] for first in range(40, 52)), *([70, second, 2] for second in (71, 72))]
NUM_VIRTUAL_TOKENS = 4


@dataclass(frozen=True)
class Family:
    """A tiny random model, frozen by us and as transformers has it."""

    frozen: FrozenModel
    twin: Any


@pytest.fixture(scope="module")
def families(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    text = replace(load_tokenizer(tiny_model), end_token_id=2)
    made: dict[str, Family] = {}

    def family(name: str) -> Family:
        if name not in made:
            folder = save_random(name, tmp_path_factory.mktemp(name))
            loaded = load(folder)
            made[name] = Family(FrozenModel(name, loaded, text, "cached"), float_twin(loaded))
        return made[name]

    return family


def save_random(name: str, folder: Path, **changes: Any) -> Path:
    torch.manual_seed(0)
    sizes = {**SIZES, **{**SHARED, **CONCATENATED}.get(name, {}), **changes}
    given = {key: value for key, value in sizes.items() if value is not None}
    config = transformers.AutoConfig.for_model(name, **given)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter_name, parameter in model.named_parameters():
        # Biases and norms start as constants, which would hide a mix-up; weights start so small
        # that every row gets the same answer.
        if parameter.dim() == 1 and "A_log" not in parameter_name and "dt_" not in parameter_name:
            torch.nn.init.normal_(parameter, mean=float(parameter_name.endswith("weight")), std=0.2)
        elif parameter.dim() == 2 and "A_log" not in parameter_name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


def start(family: Family, generator_seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(generator_seed)
    size = (NUM_VIRTUAL_TOKENS, family.twin.get_input_embeddings().embedding_dim)
    return (0.2 * torch.randn(size, generator=generator)).requires_grad_()


def plain_logits(twin: Any, prompt_PH: Tensor, ids: Sequence[int]) -> Tensor:
    embeddings_TH = twin.get_input_embeddings()(torch.tensor(ids))
    whole_1TH = torch.cat([prompt_PH, embeddings_TH])[None]
    logits: Tensor = twin(inputs_embeds=whole_1TH, use_cache=False).logits
    return logits[0, len(prompt_PH) :]


def plain_loss(twin: Any, prompt_PH: Tensor, row: EncodedRow) -> Tensor:
    ids = row.prompt_ids + row.response_ids
    predicted = plain_logits(twin, prompt_PH, ids)[-len(row.response_ids) - 1 : -1]
    labels = torch.tensor(row.response_ids)
    return torch.nn.functional.cross_entropy(predicted, labels, reduction="sum")


def brute_force_label(twin: Any, prompt_PH: Tensor, row: Sequence[int]) -> int:
    totals = []
    for label in LABELS:
        logits = plain_logits(twin, prompt_PH, [*row, *label])[len(row) - 1 : -1]
        totals.append(float(logits.log_softmax(-1)[range(len(label)), label].sum()))
    return totals.index(max(totals))


@pytest.mark.parametrize("name", [*SHARED, *CONCATENATED])
@pytest.mark.parametrize("num_lead", [0, 2])
def test_loss_and_gradient_equal_those_of_transformers_plain_forward(
    families: Any, name: str, num_lead: int
) -> None:
    family = families(name)
    plain = start(family)
    total = torch.stack([plain_loss(family.twin, plain, row) for row in ROWS]).sum()
    expected = total / sum(len(row.response_ids) for row in ROWS)
    expected.backward()
    ours = start(family)
    batch = collate(ROWS, num_lead)
    loss = training_gradient(family.frozen, VirtualTokens(ours), LEAD[:num_lead], batch)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert ours.grad is not None
    assert plain.grad is not None
    assert float((ours.grad - plain.grad).norm() / plain.grad.norm()) < 1e-5


@pytest.mark.parametrize("name", ["gemma3_text", "gpt2", "opt", "falcon_h1", "bloom"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_micro_batches_behind_one_prefix_give_the_same_gradient(
    families: Any, name: str, checkpointing: bool
) -> None:
    frozen = families(name).frozen
    whole, parts = start(families(name)), start(families(name))
    expected = training_gradient(frozen, VirtualTokens(whole), LEAD, collate(ROWS, 2))
    step = LayerStep(frozen, "cached", {}, checkpointing=checkpointing)
    batches = [collate(ROWS[:1], 2), collate(ROWS[1:], 2)]
    assert step(VirtualTokens(parts), LEAD, batches) == pytest.approx(expected, rel=1e-5)
    assert parts.grad is not None
    assert whole.grad is not None
    assert float((parts.grad - whole.grad).norm() / whole.grad.norm()) < 1e-5


@pytest.mark.parametrize("name", [*SHARED, *CONCATENATED])
def test_logits_behind_the_prompt_equal_those_of_transformers(families: Any, name: str) -> None:
    family = families(name)
    prompt, ids = start(family).detach(), [7, 8, 9, 10, 11, 12, 13, 14]
    ours = TorchReference(family.frozen, VirtualTokens(prompt)).logits(ids)
    with torch.no_grad():
        expected = plain_logits(family.twin, prompt, ids)
    torch.testing.assert_close(torch.from_numpy(ours), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", SHARED)
def test_attention_on_the_prompt_equals_that_of_a_plain_eager_forward(
    families: Any, name: str
) -> None:
    family = families(name)
    prompt = start(family).detach()
    found = attention_masses(family.frozen, VirtualTokens(prompt), ROWS, LEAD)
    text, answer = torch.zeros_like(found.text_LP), torch.zeros_like(found.answer_LP)
    with eager_attention(family.twin):
        for row in ROWS:
            ids = torch.tensor(row.prompt_ids + row.response_ids[:-1])
            whole = torch.cat([prompt, family.twin.get_input_embeddings()(ids)]).unsqueeze(0)
            output = family.twin(inputs_embeds=whole, use_cache=False, output_attentions=True)
            heads = torch.stack(output.attentions)[:, 0, :, len(prompt) :, : len(prompt)]
            last = len(row.prompt_ids) - 1
            text += heads.mean(1)[:, len(LEAD) : last].sum(1)
            answer += heads.mean(1)[:, last:].sum(1)
    num_text = sum(len(row.prompt_ids) - 1 - len(LEAD) for row in ROWS)
    num_answer = sum(len(row.response_ids) for row in ROWS)
    torch.testing.assert_close(found.text_LP, text / num_text, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.answer_LP, answer / num_answer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gemma2", "gpt2", "falcon_h1"])
def test_classify_equals_brute_force_over_whole_labels(families: Any, name: str) -> None:
    family = families(name)
    rows = [row.prompt_ids[2:] for row in ROWS] + [[number, 9] for number in range(30, 36)]
    with torch.no_grad():
        prompt = start(family).detach()
        prefix = prefix_of(family.frozen, VirtualTokens(prompt), LEAD)
        found = classify(family.frozen, prefix, rows, LabelTrie(LABELS))
        expected = [brute_force_label(family.twin, prompt, LEAD + row) for row in rows]
    assert [row.label for row in found] == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("name", ["mistral", "gemma3_text", "opt", "mamba"])
def test_greedy_answers_equal_those_of_plain_forwards(families: Any, name: str) -> None:
    family = families(name)
    prompt = start(family).detach()
    rows = [row.prompt_ids for row in ROWS]
    with torch.no_grad():
        prefix = prefix_of(family.frozen, VirtualTokens(prompt), [])
        ours = generate_greedily(family.frozen, prefix, rows, 5)
        for row, answer in zip(rows, ours, strict=True):
            ids = list(row)
            for token in answer:
                assert token == int(plain_logits(family.twin, prompt, ids)[-1].argmax())
                ids.append(token)
            assert len(answer) == 5 or int(plain_logits(family.twin, prompt, ids)[-1].argmax()) == 2


@pytest.mark.parametrize("name", SHARED)
def test_keys_and_values_of_a_prompt_act_as_the_prompt(families: Any, name: str) -> None:
    family = families(name)
    tokens = VirtualTokens(start(family).detach())
    with torch.no_grad():
        layers = layers_of(family.frozen, tokens)
    ids = [7, 8, 9, 10, 11, 12]
    as_tokens = TorchReference(family.frozen, tokens).logits(ids)
    as_layers = TorchReference(family.frozen, layers).logits(ids)
    torch.testing.assert_close(torch.from_numpy(as_layers), torch.from_numpy(as_tokens))


@pytest.mark.parametrize(
    ("name", "are_layers"),
    [(name, False) for name in [*SHARED, *CONCATENATED]] + [(name, True) for name in SHARED],
)
def test_peft_computes_the_same_logits_from_an_adapter(
    families: Any, name: str, are_layers: bool, tmp_path: Path
) -> None:
    family = families(name)
    prompt: Prompt = VirtualTokens(start(family).detach())
    if are_layers:
        prompt = layers_of(family.frozen, prompt)
    write_peft_adapter(tmp_path, family.frozen, prompt, name)
    read = read_peft_adapter(tmp_path).prompt
    check_shape(family.frozen, read, name)
    twin = copy.deepcopy(family.twin)
    if name in HEADS_WITHOUT_GROUPS:
        # PEFT believes any attribute of this name; these families have none of their own.
        del twin.config.num_key_value_heads
    tuned = peft.PeftModel.from_pretrained(twin, str(tmp_path)).eval()
    ids = [7, 8, 9, 10, 11, 12]
    with torch.no_grad():
        theirs = tuned(input_ids=torch.tensor([ids])).logits[0, -len(ids) :]
    ours = torch.from_numpy(TorchReference(family.frozen, read).logits(ids))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CONCATENATED)
def test_a_prompt_of_keys_and_values_is_refused_where_layers_have_none(
    families: Any, name: str
) -> None:
    frozen = families(name).frozen
    assert not frozen.shares_prefix
    with pytest.raises(ModelError, match="keys and values"):
        layers_of(frozen, VirtualTokens(torch.zeros(2, 64)))
    with pytest.raises(ModelError, match="keys and values"):
        prefix_of(frozen, LayerPrefix(torch.zeros(2, 2, 2, 3, 16)), [])


@pytest.mark.parametrize("name", ["gpt2", "opt"])
def test_padding_may_reach_beyond_a_table_of_positions(families: Any, name: str) -> None:
    family = families(name)
    length = SIZES["max_position_embeddings"] - NUM_VIRTUAL_TOKENS
    row = EncodedRow([7 + number % 80 for number in range(length - 2)], [50, 2])
    assert collate([row], 0).input_ids.shape[1] > length
    prompt = start(family)
    loss = training_gradient(family.frozen, VirtualTokens(prompt), [], collate([row], 0))
    expected = float(plain_loss(family.twin, prompt.detach(), row).detach()) / 2
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", SHARED)
def test_attention_models_share_the_prefix(families: Any, name: str) -> None:
    assert families(name).frozen.shares_prefix


@pytest.mark.parametrize("name", ["mixtral", "qwen2_moe"])
def test_fused_experts_are_refused(tmp_path: Path, name: str) -> None:
    sizes = {"num_local_experts": 2, "num_experts": 2, "moe_intermediate_size": 32}
    config = transformers.AutoConfig.for_model(name, **{**SIZES, **sizes})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(QuantError, match="experts in one tensor") as caught:
        load(tmp_path)
    assert caught.value.hint
