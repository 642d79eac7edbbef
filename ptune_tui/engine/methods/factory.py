"""A method by its name, starting from a prompt."""

from __future__ import annotations

from ptune_tui.config import MethodName
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.methods.prompt import PromptTuning
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import Prompt, VirtualTokens
from ptune_tui.errors import UsageError


def make_method(
    name: MethodName,
    frozen: FrozenModel,
    start: Prompt,
    *,
    mlp_size: int,  # noqa: ARG001
    rank: int,  # noqa: ARG001
    reparametrise: bool,  # noqa: ARG001
    seed: int,  # noqa: ARG001
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
    if not isinstance(start, VirtualTokens):
        raise UsageError(
            f"`{name}` trains virtual tokens, but the prompt it was to start from holds keys and "
            "values.",
            'Use `method.name = "prefix"`, or start from another prompt.',
        )
    if name == "prompt":
        return PromptTuning(start.embeddings_PH, frozen.vocabulary_std)
    raise UsageError(f"The method `{name}` is not there yet.", 'Use `method.name = "prompt"`.')
