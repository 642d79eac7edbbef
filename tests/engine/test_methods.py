"""Every method starts at the start, learns, folds the same way twice and restores exactly."""

from __future__ import annotations

import io
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from export.encoding import EncodedRow
from ptune_tui.config import MethodName
from ptune_tui.engine.batches import collate
from ptune_tui.engine.methods.factory import layers_of, make_method
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.prompt import Prompt, VirtualTokens
from ptune_tui.engine.step import prefix_of, response_loss, training_gradient
from ptune_tui.errors import UsageError

CASES = [(name, False) for name in get_args(MethodName)] + [("prefix", True)]
TOKEN_METHODS = [name for name in get_args(MethodName) if name != "prefix"]
START_IDS = [70, 71, 72, 73, 74]
LEAD = [5, 6]
ROWS = [
    EncodedRow([5, 6, 40, 41, 42], [50, 2]),
    EncodedRow([5, 6, 43], [51, 52, 53, 2]),
    EncodedRow([5, 6, 44, 45, 46, 47, 48, 49], [54, 2]),
]
every_method = pytest.mark.parametrize(("name", "reparametrise"), CASES)


@pytest.fixture(scope="module")
def frozen(tiny_model: Path) -> FrozenModel:
    return load_frozen(tiny_model, "tiny", "int4", "cached")


def make(
    frozen: FrozenModel, name: MethodName, reparametrise: bool, seed: int = 0, first: int = 0
) -> Method:
    start = VirtualTokens(frozen.embed(torch.tensor(START_IDS) + first))
    return make_method(
        name, frozen, start, mlp_size=8, rank=3, reparametrise=reparametrise, seed=seed
    )


def loss_of(frozen: FrozenModel, prompt: Prompt) -> float:
    with torch.no_grad():
        prefix = prefix_of(frozen, prompt, LEAD)
        return float(response_loss(frozen.network, prefix, collate(ROWS, len(LEAD))))


def trained(frozen: FrozenModel, method: Method, num_steps: int) -> list[float]:
    """Losses of some steps at the method's own rate."""
    optimizer = torch.optim.AdamW(
        method.parameters(), lr=method.default_rate * method.unit, weight_decay=0.0
    )
    losses = []
    for _ in range(num_steps):
        optimizer.zero_grad()
        losses.append(training_gradient(frozen, method(), LEAD, collate(ROWS, len(LEAD))))
        optimizer.step()
    return losses


def values_of(prompt: Prompt) -> Tensor:
    return prompt.embeddings_PH if isinstance(prompt, VirtualTokens) else prompt.keys_values


@every_method
def test_the_first_loss_is_that_of_the_initial_tokens(
    frozen: FrozenModel, name: MethodName, reparametrise: bool
) -> None:
    plain = [
        float(
            torch.nn.functional.cross_entropy(
                frozen.network(
                    input_ids=torch.tensor([START_IDS + row.prompt_ids + row.response_ids]),
                    use_cache=False,
                ).logits[0, -len(row.response_ids) - 1 : -1],
                torch.tensor(row.response_ids),
                reduction="sum",
            )
        )
        for row in ROWS
    ]
    expected = sum(plain) / sum(len(row.response_ids) for row in ROWS)
    found = loss_of(frozen, make(frozen, name, reparametrise)())
    assert found == pytest.approx(expected, rel=1e-5)


@every_method
def test_a_few_steps_lower_the_loss(
    frozen: FrozenModel, name: MethodName, reparametrise: bool
) -> None:
    losses = trained(frozen, make(frozen, name, reparametrise), 25)
    assert losses[-1] < 0.9 * losses[0]


@every_method
def test_every_parameter_is_trained(
    frozen: FrozenModel, name: MethodName, reparametrise: bool
) -> None:
    method = make(frozen, name, reparametrise)
    before = [parameter.detach().clone() for parameter in method.parameters()]
    trained(frozen, method, 3)
    for parameter, value in zip(method.parameters(), before, strict=True):
        assert not torch.equal(parameter, value)


@every_method
def test_a_restored_state_goes_on_bit_for_bit(
    frozen: FrozenModel, name: MethodName, reparametrise: bool
) -> None:
    method = make(frozen, name, reparametrise)
    trained(frozen, method, 3)
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    restored = make(frozen, name, reparametrise, seed=9, first=7)
    assert not torch.equal(values_of(restored()), values_of(method()))
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(values_of(restored()), values_of(method()))
    assert torch.equal(values_of(method()), values_of(method()))
    assert trained(frozen, restored, 4) == trained(frozen, method, 4)
    assert torch.equal(values_of(restored()), values_of(method()))


@every_method
def test_the_folded_prompt_is_all_that_answers_depend_on(
    frozen: FrozenModel, name: MethodName, reparametrise: bool
) -> None:
    method = make(frozen, name, reparametrise)
    trained(frozen, method, 3)
    folded = method().detached()
    loss = loss_of(frozen, folded)
    assert loss == loss_of(frozen, method())
    trained(frozen, method, 1)
    assert loss_of(frozen, folded) == loss


def test_a_seed_makes_the_weights_inside_a_method(frozen: FrozenModel) -> None:
    one, same, other = (make(frozen, "lowrank", False, seed) for seed in (1, 1, 2))
    projections = [method.state_dict()["projection"] for method in (one, same, other)]
    assert torch.equal(projections[0], projections[1])
    assert not torch.equal(projections[0], projections[2])


def test_keys_and_values_move_in_proportion_to_their_layer(frozen: FrozenModel) -> None:
    method = make(frozen, "prefix", False)
    before = values_of(method()).detach()
    trained(frozen, method, 1)
    after = values_of(method()).detach()
    moved = (after - before).abs().amax(dim=(2, 3, 4))
    own = before.std(dim=(2, 3, 4))
    assert torch.allclose(moved / own, torch.full_like(own, method.default_rate), rtol=1e-3)


def test_keys_and_values_are_a_start_of_prefix(frozen: FrozenModel) -> None:
    layers = layers_of(frozen, VirtualTokens(frozen.embed(torch.tensor(START_IDS))))
    method = make_method("prefix", frozen, layers, mlp_size=8, rank=3, reparametrise=False, seed=0)
    assert torch.equal(values_of(method()), layers.keys_values)


@pytest.mark.parametrize("name", TOKEN_METHODS)
def test_keys_and_values_are_no_start_of_virtual_tokens(
    frozen: FrozenModel, name: MethodName
) -> None:
    layers = layers_of(frozen, VirtualTokens(frozen.embed(torch.tensor(START_IDS))))
    with pytest.raises(UsageError, match="keys and values"):
        make_method(name, frozen, layers, mlp_size=8, rank=3, reparametrise=False, seed=0)
