"""Chooses how a run's steps are computed, by free memory and measured products, and says why.

Whatever the user forces is kept. What was chosen is probed before it is trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from export.encoding import EncodedRow
from ptune_tui.config import FloatType, MethodConfig, ModelConfig, TrainingConfig
from ptune_tui.engine.batches import BUCKET_WIDTH, collate
from ptune_tui.engine.card_products import require_int8
from ptune_tui.engine.gradient import unfused_reason
from ptune_tui.engine.memory import free_bytes
from ptune_tui.engine.methods.method import Method
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.plan import Plan, Planned, plan_made, step_of
from ptune_tui.engine.probe import probe
from ptune_tui.engine.product_speed import faster_type, int8_speedup
from ptune_tui.engine.prompt import LayerPrefix
from ptune_tui.errors import ModelError
from ptune_tui.estimate import Estimate, estimate
from ptune_tui.model_numbers import numbers_of_config
from ptune_tui.step_setting import Setting, TrainingKernel

# Of free memory that a plan may take; the estimate is not exact, and others want memory, too.
_MEMORY_SHARE = 0.7
# Below it integers are not worth their rounding.
_WORTHWHILE_SPEEDUP = 1.2


@dataclass
class Planner:
    """Makes the plan of a run.

    Attributes:
        frozen: The model.
        method: What is trained, at its start.
        rows: Training rows.
        lead: Template tokens that all rows begin with.
        method_config: What was asked for of the method.
        model: What was asked for of the model.
        settings: What was asked for of the training.
    """

    frozen: FrozenModel
    method: Method
    rows: Sequence[EncodedRow]
    lead: list[int]
    method_config: MethodConfig
    model: ModelConfig
    settings: TrainingConfig

    def make(self) -> Planned:
        """Choose, probe, and say why."""
        reasons: list[str] = []
        unfused = unfused_reason(self.frozen)
        reasons.append(
            "The written-out step in compiled passes computes it."
            if unfused is None
            else f"transformers' layers compute it: {unfused}."
        )
        kernel = self._kernel(reasons)
        micro_batch_size, checkpointing = self._micro_batches(kernel, reasons)
        width = self.settings.bucket_width or BUCKET_WIDTH
        reasons.append(
            "Rows are packed without padding, whatever their lengths."
            if unfused is None
            else f"Rows of similar length are padded to multiples of {width} tokens."
        )
        plan = Plan(
            kernel=kernel,
            device=self.frozen.device.type,  # type: ignore[arg-type]
            compute_type=str(self.frozen.compute_dtype).removeprefix("torch."),  # type: ignore[arg-type]
            micro_batch_size=micro_batch_size,
            checkpointing=checkpointing,
            bucket_width=width,
            is_fused=unfused is None,
            outlier_channels=self._outliers(kernel),
            prefix_type=self._prefix_type(kernel, reasons, is_fused=unfused is None),
        )
        step = step_of(self.frozen, plan)
        longest = self._longest(min(self.settings.batch_size, len(self.rows)))
        seconds, memory = probe(step, plan, self.method, self.lead, longest, self.frozen.device)
        reasons.append(f"A step of the longest rows took {seconds:.2f} s in the probe.")
        return Planned(plan, step, plan_made(plan, reasons, seconds, memory))

    def _kernel(self, reasons: list[str]) -> TrainingKernel:
        asked = self.model.kernel
        if asked != "auto":
            if asked == "int8":
                require_int8(self.frozen.device)
            reasons.append(f"The kernel is `{asked}`, as asked.")
            return asked
        if self.frozen.device.type == "cpu" and self.frozen.compute_dtype == torch.float32:
            speedup = int8_speedup(self.frozen.config.hidden_size)
            if speedup >= _WORTHWHILE_SPEEDUP:
                reasons.append(
                    f"The kernel is `int8`: its products ran {speedup:.1f} times as fast as "
                    "float32 ones here."
                )
                return "int8"
            reasons.append(f"Integer products ran only {speedup:.1f} times as fast here.")
        free = free_bytes(self.frozen.device)
        estimated = self._estimate("cached", 1, checkpointing=False)
        if estimated is None:
            reasons.append("The kernel is `stream`, which needs least memory.")
            return "stream"
        copy_bytes = estimated.copies
        kernel: TrainingKernel = "cached" if copy_bytes < _MEMORY_SHARE * free else "stream"
        reasons.append(
            f"The kernel is `{kernel}`: a float copy takes {copy_bytes / 1e9:.1f} GB of "
            f"{free / 1e9:.1f} GB free."
        )
        return kernel

    def _prefix_type(
        self, kernel: TrainingKernel, reasons: list[str], *, is_fused: bool
    ) -> FloatType:
        """What the tokens before the rows are computed in beside integers."""
        asked = self.model.prefix_type
        if kernel != "int8" or not is_fused or not self._has_prefix_tokens():
            if asked != "auto":
                reasons.append(
                    f'`prefix_type = "{asked}"` changes nothing here: it is for tokens before the '
                    "rows, beside `int8` in the written-out step."
                )
            return "float32"
        if asked != "auto":
            reasons.append(f"The tokens before the rows compute in {asked}, as asked.")
            return asked
        faster = faster_type()
        can = "can" if faster == "bfloat16" else "cannot"
        reasons.append(
            f"The tokens before the rows compute in {faster}: this processor {can} multiply "
            "bfloat16 by itself."
        )
        return faster

    def _has_prefix_tokens(self) -> bool:
        """Whether a step computes tokens before its rows: the template's lead, virtual tokens."""
        with torch.no_grad():
            return bool(self.lead) or not isinstance(self.method(), LayerPrefix)

    def _micro_batches(self, kernel: TrainingKernel, reasons: list[str]) -> tuple[int, bool]:
        """Rows computed at a time, and whether layers are computed again."""
        settings = self.settings
        batch_size = min(settings.batch_size, len(self.rows))
        free = free_bytes(self.frozen.device)
        sizes = [settings.micro_batch_size or batch_size]
        while not settings.micro_batch_size and sizes[-1] > 1:
            sizes.append(-(-sizes[-1] // 2))
        switches = {"auto": (False, True), "on": (True,), "off": (False,)}[settings.checkpointing]
        for checkpointing in switches:
            for size in sizes:
                # Computing layers again costs a third; very small batches cost more.
                if not checkpointing and len(switches) > 1 and size < min(4, batch_size):
                    continue
                needed = self._needed(kernel, size, checkpointing=checkpointing)
                if needed is None:
                    reasons.append(f"{size} of {batch_size} rows at a time: its memory is unknown.")
                    return size, checkpointing
                if needed <= _MEMORY_SHARE * free:
                    again = ", layers computed again" if checkpointing else ""
                    reasons.append(
                        f"{size} of {batch_size} rows at a time{again}: about "
                        f"{needed / 1e9:.1f} GB more of {free / 1e9:.1f} GB free."
                    )
                    return size, checkpointing
        reasons.append(
            f"{sizes[-1]} rows at a time: even so it may not fit into {free / 1e9:.1f} GB free."
        )
        return sizes[-1], switches[-1]

    def _needed(self, kernel: TrainingKernel, size: int, *, checkpointing: bool) -> int | None:
        """Bytes that steps take on top of the loaded model; None where they are unknown."""
        parts = self._estimate(kernel, size, checkpointing=checkpointing)
        if parts is None:
            return None
        return parts.peak_bytes - parts.process - parts.weights - parts.loading

    def _estimate(
        self, kernel: TrainingKernel, size: int, *, checkpointing: bool
    ) -> Estimate | None:
        """None where a model's configuration does not state its sizes."""
        longest = max(row.num_tokens for row in self.rows)
        config = self.frozen.config
        setting = Setting(
            method=self.method_config.name,
            mlp_size=self.method_config.mlp_size,
            rank=self.method_config.rank,
            reparametrise=self.method_config.reparametrise,
            num_virtual_tokens=self.method().num_virtual_tokens,
            num_lead_tokens=len(self.lead),
            batch_size=size,
            num_row_tokens=longest,
            num_label_tokens=max(len(row.response_ids) for row in self.rows),
            kernel=kernel,
            checkpointing=checkpointing,
            device="cuda" if self.frozen.device.type == "cuda" else "cpu",
            has_compiled_passes=unfused_reason(self.frozen) is None,
        )
        try:
            numbers = numbers_of_config(config.to_dict(), self.frozen.name)
        except (ModelError, KeyError):
            return None
        return estimate(numbers, setting)

    def _longest(self, size: int) -> list[EncodedRow]:
        return sorted(self.rows, key=lambda row: -row.num_tokens)[:size]

    def _outliers(self, kernel: str) -> dict[str, list[int]]:
        if kernel != "int8":
            return {}
        rows = self._longest(min(16, len(self.rows)))
        with torch.no_grad():
            prompt = self.method().detached()
        batch = collate(rows, len(self.lead))
        number = self.model.num_outlier_channels
        return outlier_channels(self.frozen, prompt, self.lead, batch, number)
