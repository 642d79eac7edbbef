"""How the steps of a run are computed, in a line, and why, a sentence a choice."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from ptune_tui.events import Notice, PlanMade
from ptune_tui.tui.widgets.run_panels import notice_line
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import bytes_text, seconds_text


class PlanLine(Steady):
    """The plan in a line; nothing before there is one."""

    def show(self, plan: PlanMade | None) -> None:
        """Draw a plan."""
        self.set_class(plan is None, "-empty")
        if plan is not None:
            self.show_text(Content.assemble(("plan  ", "dim"), plan_text(plan)))


class Reasons(Steady):
    """Why the plan is as it is, and all notices."""

    def show(self, plan: PlanMade | None, notices: Sequence[Notice]) -> None:
        """Draw the reasons of a plan, and below them the notices.

        Args:
            plan (PlanMade | None): The plan.
            notices (Sequence[Notice]): In order.
        """
        reasons = [f"· {reason}" for reason in plan.reasons] if plan else []
        self.show_text("\n".join([*reasons, *map(notice_line, notices)]))


def plan_text(plan: PlanMade) -> str:
    """A plan in words, the most telling first.

    Args:
        plan (PlanMade): The plan.
    """
    parts = [
        f"{plan.kernel}, {plan.compute_type} on {plan.device}",
    ]
    if plan.seconds_per_step is not None:
        parts.append(f"{seconds_text(plan.seconds_per_step)} a step")
    parts.append(f"{plan.micro_batch_size} rows at a time")
    if plan.checkpointing:
        parts.append("layers recomputed")
    if not plan.is_packed:
        parts.append(f"widths in steps of {plan.bucket_width}")
    if plan.probe_memory_bytes is not None:
        parts.append(bytes_text(plan.probe_memory_bytes))
    return " · ".join(parts)
