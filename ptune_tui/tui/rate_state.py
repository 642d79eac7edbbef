"""A range test of learning rates as the app shows it, folded from its events. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from ptune_tui.events import Event, RateProposed, RateTried
from ptune_tui.tui.progress import TaskProgress, progress_of
from ptune_tui.tui.wording import rate_text


@dataclass
class RateState:
    """What is known of a range test.

    Attributes:
        task: Stages, notices and ending.
        tried: The rates so far, rising.
        proposed: The proposal, once it is there.
        num_rates: How many are tried, unless the loss explodes before; 0 where that is not known.
    """

    task: TaskProgress = field(default_factory=lambda: progress_of(()))
    tried: list[RateTried] = field(default_factory=list)
    proposed: RateProposed | None = None
    num_rates: int = 0

    def add(self, event: Event) -> None:
        """Take in one event."""
        self.task.add(event)
        match event:
            case RateTried():
                self.tried.append(event)
            case RateProposed():
                self.proposed = event
            case _:
                pass

    def sentence(self) -> str:
        """How the test stands, in one or two lines."""
        failure = self.task.failure
        if failure is not None:
            return f"✗ {failure.message} {failure.hint}".rstrip()
        if self.proposed is not None:
            rate = rate_text(self.proposed.learning_rate)
            return f"✓ {rate} is proposed (the line): {self.proposed.reason}"
        if self.task.is_over:
            return "✗ The test ended without a proposal; the method's own rate stays."
        if not self.tried:
            return f"▸ {self._stage_words()}"
        last = self.tried[-1]
        total = f" of {self.num_rates}" if self.num_rates else ""
        found = f"{rate_text(last.learning_rate)}: {last.loss:.3f}"
        return f"▸ {len(self.tried)}{total} rates tried; {found}"

    def _stage_words(self) -> str:
        running = [stage for stage in self.task.stages.values() if stage.status == "running"]
        if not running:
            return "starting"
        stage = running[-1]
        percent = f" {100 * stage.done // stage.total} %" if stage.total else ""
        return f"{stage.name}{percent} {stage.detail}".rstrip()
