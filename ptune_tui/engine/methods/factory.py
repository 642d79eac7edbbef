"""A method by its name, starting from a prompt."""

from __future__ import annotations

import torch

from ptune_tui.config import MethodName
from ptune_tui.engine.methods.lowrank import LowRankPromptTuning
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.methods.p_tuning import PTuning
from ptune_tui.engine.methods.prefix import PrefixTuning, ReparametrisedPrefixTuning
from ptune_tui.engine.methods.prompt import PromptTuning
from ptune_tui.engine.methods.residual import ResidualPromptTuning
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.engine.step import prefix_of, require_shared_prefix
from ptune_tui.errors import UsageError

_AnyMethod = (
    PromptTuning
    | ResidualPromptTuning
    | LowRankPromptTuning
    | PTuning
    | PrefixTuning
    | ReparametrisedPrefixTuning
)


def make_method(
    name: MethodName,
    frozen: FrozenModel,
    start: Prompt,
    *,
    mlp_size: int,
    rank: int,
    reparametrise: bool,
    seed: int,
) -> Method:
    """A method whose first prompt is `start`.

    Args:
        name (MethodName): Which method.
        frozen (FrozenModel): The model.
        start (Prompt): Virtual tokens; for `prefix` also keys and values.
        mlp_size (int): Hidden width of `residual`, `p-tuning` and a reparametrised `prefix`.
        rank (int): Of `lowrank`.
        reparametrise (bool): Whether `prefix` is trained through an MLP.
        seed (int): Of the random weights inside a method.

    Raises:
        UsageError: A method of virtual tokens was to start from keys and values.
    """
    # Random weights are drawn on the CPU whatever the device, so that a seed means the same there.
    generator = torch.Generator().manual_seed(seed)
    method: _AnyMethod
    if name == "prefix":
        layers = layers_of(frozen, start) if isinstance(start, VirtualTokens) else start
        layers = LayerPrefix(layers.keys_values.cpu())
        if reparametrise:
            method = ReparametrisedPrefixTuning(layers, mlp_size, generator)
        else:
            method = PrefixTuning(layers)
        return method.to(frozen.device)
    if not isinstance(start, VirtualTokens):
        raise UsageError(
            f"`{name}` trains virtual tokens, but the prompt it was to start from holds keys and "
            "values of every layer.",
            'Use `method.name = "prefix"`, or start from another prompt.',
        )
    start_PH, unit = start.embeddings_PH.cpu(), frozen.vocabulary_std
    if name == "prompt":
        method = PromptTuning(start_PH, unit)
    elif name == "residual":
        method = ResidualPromptTuning(start_PH, unit, mlp_size, generator)
    elif name == "lowrank":
        method = LowRankPromptTuning(start_PH, unit, rank, generator)
    else:
        method = PTuning(start_PH, unit, mlp_size, generator)
    return method.to(frozen.device)


def layers_of(frozen: FrozenModel, tokens: VirtualTokens) -> LayerPrefix:
    """The keys and values that virtual tokens have in every layer of a model.

    Args:
        frozen (FrozenModel): The model.
        tokens (VirtualTokens): [P, H].

    Raises:
        ModelError: The model has layers without keys and values.
    """
    require_shared_prefix(frozen)
    with torch.no_grad():
        prefix = prefix_of(frozen, tokens, [])
    pairs = [torch.cat([key, value]) for key, value in prefix.layers]
    return LayerPrefix(torch.stack(pairs).float())
