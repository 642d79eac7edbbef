"""The exact state of a run after a step, as it is captured and put back.

Nothing in training draws from numpy's generator, so its state is not kept.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from torch import Tensor

from ptune_tui.engine.divergence import LossWatch
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens

PythonRandom = tuple[int, tuple[int, ...], float | None]


class BestScore(msgspec.Struct, frozen=True):
    """What the kept prompt scored.

    Attributes:
        step: The step it is from.
        accuracy: Of labels, or exact match.
        macro_f1: None for free text.
        loss: Mean of the response tokens; None for labels.
    """

    step: int
    accuracy: float
    macro_f1: float | None
    loss: float | None

    @property
    def key(self) -> tuple[float, float]:
        """Larger is better: accuracy, then macro-F1; for free text the lower loss."""
        if self.loss is not None:
            return -self.loss, self.accuracy
        return self.accuracy, self.macro_f1 or 0.0


class Progress(msgspec.Struct):
    """Where a run is; changed step by step.

    Attributes:
        step: Optimiser steps done.
        num_batches: Batches drawn from the data order, which the seed determines.
        last_batch: Row numbers of the last of them: what a resumed order must come to, too.
        rate_scale: What rollbacks have left of the peak rate.
        num_rollbacks: How many there were.
        watch: The smoothed loss.
        best: The best validation so far.
        num_without_better: Validations in a row without a better one.
        base_accuracy: Without a prompt.
        elapsed_seconds: Of training, validations included.
        start_size: Root mean square of the first prompt.
    """

    step: int = 0
    num_batches: int = 0
    last_batch: list[int] = []
    rate_scale: float = 1.0
    num_rollbacks: int = 0
    watch: LossWatch = msgspec.field(default_factory=LossWatch)
    best: BestScore | None = None
    num_without_better: int = 0
    base_accuracy: float | None = None
    elapsed_seconds: float = 0.0
    start_size: float = 0.0


@dataclass(frozen=True)
class RunState:
    """A state that a run can go on from, or go back to; shares no memory with the run.

    Attributes:
        progress: Where the run was.
        tensors: Method, optimiser, best prompt and torch's generators.
        python_random: State of Python's generator.
    """

    progress: Progress
    tensors: Mapping[str, Tensor]
    python_random: PythonRandom


def capture(
    progress: Progress, method: Method, optimizer: torch.optim.Optimizer, best: Prompt | None
) -> RunState:
    """Copy the state of a run.

    Args:
        progress (Progress): Where it is.
        method (Method): What is trained.
        optimizer (torch.optim.Optimizer): Of the method's parameters.
        best (Prompt | None): The best prompt so far.
    """
    tensors = {f"method.{name}": value for name, value in method.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in values.items()}
    if isinstance(best, VirtualTokens):
        tensors["best.embeddings_PH"] = best.embeddings_PH
    elif best is not None:
        tensors["best.keys_values"] = best.keys_values
    tensors["random.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    copies = {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }
    return RunState(copy.deepcopy(progress), copies, random.getstate())


def restore(state: RunState, method: Method, optimizer: torch.optim.Optimizer) -> Progress:
    """Put a captured state back; returns where the run is then.

    Args:
        state (RunState): What was captured.
        method (Method): Of the same kind and size.
        optimizer (torch.optim.Optimizer): Of the method's parameters.
    """
    method.load_state_dict(_part(state, "method."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(state, "optimizer.").items():
        number, key = name.split(".")
        moments.setdefault(int(number), {})[key] = value.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    torch.set_rng_state(state.tensors["random.torch"])
    if "random.cuda" in state.tensors:
        torch.cuda.set_rng_state(state.tensors["random.cuda"])
    random.setstate(state.python_random)
    return copy.deepcopy(state.progress)


def best_prompt(state: RunState) -> Prompt | None:
    """The best prompt of a state."""
    best = _part(state, "best.")
    if "embeddings_PH" in best:
        return VirtualTokens(best["embeddings_PH"])
    return LayerPrefix(best["keys_values"]) if best else None


def _part(state: RunState, prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value
        for name, value in state.tensors.items()
        if name.startswith(prefix)
    }
