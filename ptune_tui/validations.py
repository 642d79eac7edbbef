"""The validations of a run, and which prompt is kept, through resumes and roll-backs.

A run that goes back does steps again: their validations are told once, as they went the last time.
A roll-back keeps the best prompt so far, whatever step it is from; a resume takes the one that was
the best when its checkpoint was written.
"""

from __future__ import annotations

from ptune_tui.events import EvaluationDone, Resumed, RolledBack, StateSaved

Told = EvaluationDone | StateSaved | Resumed | RolledBack


class Validations:
    """What the validations with the prompt add up to.

    Attributes:
        tuned: Those that still stand, in order.
        best: That of the prompt that is kept, which may be of a step that is done again.
    """

    def __init__(self) -> None:
        self.tuned: list[EvaluationDone] = []
        self.best: EvaluationDone | None = None
        self._best_saved: dict[int, EvaluationDone | None] = {}  # by the step of a checkpoint

    def add(self, event: Told) -> None:
        """Take in one event; evaluations of the base are none of it."""
        match event:
            case EvaluationDone(tuned=True):
                self.tuned.append(event)
                self.best = event if event.is_best else self.best
            case StateSaved():
                self._best_saved[event.step] = self.best
            case RolledBack():
                self._go_back_to(event.to_step)
            case Resumed():
                self._go_back_to(event.step)
                self.best = self._best_saved.get(event.step, self._last_marked())
            case _:
                pass

    def _go_back_to(self, step: int) -> None:
        self.tuned = [done for done in self.tuned if done.step <= step]

    def _last_marked(self) -> EvaluationDone | None:
        """The best one of files that do not say what was saved."""
        return next((done for done in reversed(self.tuned) if done.is_best), None)
