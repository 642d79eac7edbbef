"""The plan of a run: how its steps are computed, the step that does so, and what is said of it.

A plan is made by a planner or kept from a checkpoint, which stores it, so that a resumed run
computes the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import torch

from ptune_tui.config import ComputeType, Device, FloatType, Kernel
from ptune_tui.engine.batches import BUCKET_WIDTH
from ptune_tui.engine.gradient import GradientStep, make_step, unfused_reason
from ptune_tui.engine.model import FrozenModel
from ptune_tui.events import PlanMade


class Plan(msgspec.Struct, frozen=True):
    """How the steps are computed: another plan rounds in another way.

    Attributes:
        kernel: Of the frozen linear layers.
        device: Where they are.
        compute_type: Of activations.
        micro_batch_size: Rows computed at a time; 0 for all rows of a step.
        checkpointing: Whether layers are computed again in the backward pass.
        bucket_width: Rows are padded to a multiple of so many tokens.
        is_fused: Whether the compiled, written-out step computes it.
        outlier_channels: Input channels that int8 keeps in float32, by layer.
        prefix_type: Of the virtual tokens' products beside int8 ones.
    """

    kernel: Kernel
    device: Device
    compute_type: ComputeType
    micro_batch_size: int = 0
    checkpointing: bool = False
    bucket_width: int = BUCKET_WIDTH
    is_fused: bool = False
    outlier_channels: dict[str, list[int]] = {}
    prefix_type: FloatType = "float32"


@dataclass(frozen=True)
class Planned:
    """A plan, the step that carries it out, and the event that tells of it."""

    plan: Plan
    step: GradientStep
    event: PlanMade


def step_of(frozen: FrozenModel, plan: Plan) -> GradientStep:
    """The gradient step of a plan.

    Args:
        frozen (FrozenModel): The model.
        plan (Plan): From a planner, or from a checkpoint.
    """
    return make_step(
        frozen,
        plan.kernel,
        plan.outlier_channels,
        checkpointing=plan.checkpointing,
        fused=plan.is_fused,
        prefix_dtype=getattr(torch, plan.prefix_type),
    )


def kept_plan(frozen: FrozenModel, plan: Plan) -> tuple[Plan, list[str]]:
    """The plan of a checkpoint as it can be carried out here, and what had to change.

    Args:
        frozen (FrozenModel): The model.
        plan (Plan): The checkpoint's.
    """
    unfused = unfused_reason(frozen)
    if plan.is_fused and unfused is not None:
        sentence = f"The compiled passes of the run so far are not there: {unfused}."
        return msgspec.structs.replace(plan, is_fused=False), [sentence]
    return plan, []


def planned_again(frozen: FrozenModel, plan: Plan) -> Planned:
    """A checkpoint's plan, carried out again.

    Args:
        frozen (FrozenModel): The model.
        plan (Plan): The checkpoint's.
    """
    kept, changes = kept_plan(frozen, plan)
    event = plan_made(kept, ["As the checkpoint says.", *changes])
    return Planned(kept, step_of(frozen, kept), event)


def plan_made(
    plan: Plan,
    reasons: list[str],
    seconds_per_step: float | None = None,
    probe_memory_bytes: int | None = None,
) -> PlanMade:
    """What a run says of its plan.

    Args:
        plan (Plan): The plan.
        reasons (list[str]): Why it is that one, in sentences.
        seconds_per_step (float | None): Of a probe; None where there was none.
        probe_memory_bytes (int | None): What the probe took.
    """
    return PlanMade(
        kernel=plan.kernel,
        device=plan.device,
        compute_type=plan.compute_type,
        micro_batch_size=plan.micro_batch_size,
        checkpointing=plan.checkpointing,
        bucket_width=plan.bucket_width,
        reasons=reasons,
        seconds_per_step=seconds_per_step,
        probe_memory_bytes=probe_memory_bytes,
        is_packed=plan.is_fused,
    )
