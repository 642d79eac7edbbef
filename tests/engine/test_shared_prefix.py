"""The shared prefix changes nothing but the work: losses and gradients of the plain forward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from export.encoding import EncodedRow
from ptune_tui.engine.batches import Batch, collate
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.prompt import LayerPrefix, VirtualTokens
from ptune_tui.engine.step import label_logits, prefix_of, response_loss, training_gradient

ROWS = [
    EncodedRow([5, 6, 40, 41, 42], [50, 2]),
    EncodedRow([5, 6, 43], [51, 52, 53, 2]),
    EncodedRow([5, 6, 44, 45, 46, 47, 48, 49], [54, 2]),
]
NUM_VIRTUAL_TOKENS = 4


@pytest.fixture(scope="module", params=["stream", "cached"])
def frozen(tiny_model: Path, request: pytest.FixtureRequest) -> FrozenModel:
    return load_frozen(tiny_model, "tiny", "int4", request.param)


def start(frozen: FrozenModel) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = (NUM_VIRTUAL_TOKENS, frozen.config.hidden_size)
    return (0.2 * torch.randn(size, generator=generator)).requires_grad_()


def plain_loss(frozen: FrozenModel, prompt: Tensor, row: EncodedRow) -> Tensor:
    """One row, everything concatenated, no cache, logits for every position."""
    ids = torch.tensor(row.prompt_ids + row.response_ids)
    embeddings = torch.cat([prompt, frozen.embed(ids)])
    output = frozen.network(inputs_embeds=embeddings[None], use_cache=False)
    num_response = len(row.response_ids)
    predicted = output.logits[0, -num_response - 1 : -1]
    return torch.nn.functional.cross_entropy(
        predicted, torch.tensor(row.response_ids), reduction="sum"
    )


@pytest.mark.parametrize("num_lead", [0, 2])
def test_loss_and_gradient_equal_those_of_plain_concatenation(
    frozen: FrozenModel, num_lead: int
) -> None:
    prompt = start(frozen)
    total = torch.stack([plain_loss(frozen, prompt, row) for row in ROWS]).sum()
    expected = total / sum(len(row.response_ids) for row in ROWS)
    expected.backward()
    assert prompt.grad is not None
    shared = start(frozen)
    lead = ROWS[0].prompt_ids[:num_lead]
    loss = training_gradient(frozen, VirtualTokens(shared), lead, collate(ROWS, num_lead))
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert shared.grad is not None
    error = (shared.grad - prompt.grad).norm() / prompt.grad.norm()
    assert float(error) < 1e-5


def test_the_gradient_is_the_same_after_an_evaluation_pass(frozen: FrozenModel) -> None:
    batch = collate(ROWS, 0)
    before, after = start(frozen), start(frozen)
    training_gradient(frozen, VirtualTokens(before), [], batch)
    with torch.no_grad():
        label_logits(frozen.network, prefix_of(frozen, VirtualTokens(after), []), batch)
    training_gradient(frozen, VirtualTokens(after), [], batch)
    assert before.grad is not None
    assert after.grad is not None
    assert torch.equal(before.grad, after.grad)
    assert float(after.grad.abs().max()) > 0


def test_padding_does_not_change_a_row(frozen: FrozenModel) -> None:
    prefix = prefix_of(frozen, VirtualTokens(start(frozen)).detached(), [])
    with torch.no_grad():
        alone = label_logits(frozen.network, prefix, collate(ROWS[1:2], 0))
        together = label_logits(frozen.network, prefix, collate(ROWS, 0))
    rows = collate(ROWS, 0).label_rows == 1
    assert torch.allclose(alone, together[rows], atol=1e-5)


def test_nothing_but_the_prompt_collects_a_gradient(frozen: FrozenModel) -> None:
    training_gradient(frozen, VirtualTokens(start(frozen)), [], collate(ROWS, 0))
    assert not any(parameter.requires_grad for parameter in frozen.network.parameters())


def test_labels_are_the_response_and_the_end_token_only() -> None:
    batch: Batch = collate(ROWS, 2)
    assert batch.labels.tolist() == [50, 2, 51, 52, 53, 2, 54, 2]
    for row, column, label in zip(
        batch.label_rows.tolist(),
        batch.label_columns.tolist(),
        batch.labels.tolist(),
        strict=True,
    ):
        following = [*batch.input_ids[row].tolist()[column + 1 :], 0]
        is_last = label == 2
        assert is_last or following[0] == label
    assert batch.num_tokens == sum(row.num_tokens - 1 - 2 for row in ROWS)


def test_keys_and_values_of_a_text_are_as_good_as_the_text(frozen: FrozenModel) -> None:
    tokens = VirtualTokens(start(frozen)).detached()
    batch = collate(ROWS, 2)
    with torch.no_grad():
        expected = label_logits(frozen.network, prefix_of(frozen, tokens, [5, 6]), batch)
        recorded = prefix_of(frozen, tokens, [])
        pairs = [torch.stack([key[0], value[0]]) for key, value in recorded.layers]
        prefix = prefix_of(frozen, LayerPrefix(torch.stack(pairs)), [5, 6])
        found = label_logits(frozen.network, prefix, batch)
    assert prefix.length == NUM_VIRTUAL_TOKENS + 2
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_gradient_reaches_keys_and_values_through_a_lead(frozen: FrozenModel) -> None:
    config = frozen.config
    shape = (config.num_hidden_layers, 2, config.num_key_value_heads, 3, config.head_dim)
    generator = torch.Generator().manual_seed(4)
    values = (0.3 * torch.randn(shape, generator=generator)).requires_grad_()
    step = 1e-2 * torch.randn(shape, generator=generator)
    batch = collate(ROWS, 2)
    training_gradient(frozen, LayerPrefix(values), [5, 6], batch)
    assert values.grad is not None
    with torch.no_grad():
        losses = [
            float(response_loss(frozen.network, prefix_of(frozen, moved, [5, 6]), batch))
            for moved in (LayerPrefix(values + step), LayerPrefix(values - step))
        ]
    difference = float((values.grad * 2 * step).sum())
    assert losses[0] - losses[1] == pytest.approx(difference, rel=0.02)
