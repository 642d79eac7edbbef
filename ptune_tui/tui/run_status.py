"""How a run, or all work of the app, stands, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptune_tui.events import EvaluationDone, Stage, TaskFinished
from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.wording import loss_text, share_text

if TYPE_CHECKING:
    from ptune_tui.tui.session import Session

_WORDS: dict[Stage, str] = {
    "import": "starting",
    "load": "loading",
    "tokenise": "tokenising",
    "probe": "probing",
    "evaluate": "evaluating",
}


def work_status(session: Session) -> str:
    """Sign and words of what goes on, else of the run that is shown; empty where there is none.

    The export of another terminal is told where the app does nothing itself.

    Args:
        session (Session): The app's work.
    """
    if session.has_own_export or (session.is_exporting and not session.is_busy):
        return "▸ exporting"
    if session.comparison.is_making_table:
        return "▸ comparing"
    if session.trials.is_finding_rate:
        return "▸ finding a rate"
    run = session.run
    return "" if run is None else run_status(run.state, is_active=run.is_active)


def run_status(run: RunState, *, is_active: bool) -> str:
    """Sign and words: `▸ training 12/300`, `‖ paused 12/300`, `✓ finished, best 89.4 %`.

    Args:
        run (RunState): The run.
        is_active (bool): Whether more is to come.
    """
    failure = run.task.failure
    if failure is not None:
        return "□ interrupted" if failure.category == "interrupted" else "✗ the run failed"
    if is_active:
        step = f" {run.step.step}/{run.step.max_steps}" if run.step and run.is_stepping else ""
        return f"{_at_work(run)}{step}"
    best = f", best {_score(run, run.best)}" if run.best else ""
    ending = run.task.ending
    was_stopped = isinstance(ending, TaskFinished) and ending.stopped_early
    return f"{'□ stopped' if was_stopped else '✓ finished'}{best}"


def _score(run: RunState, done: EvaluationDone) -> str:
    if run.is_free_text and done.loss is not None:
        return loss_text(done.loss)
    return share_text(done.accuracy)


def _at_work(run: RunState) -> str:
    scores = ", scoring" if run.is_scoring else ""
    if run.is_stopping:
        return f"▸ stopping{scores}"
    if run.is_paused:
        return f"‖ paused{scores}"
    if not run.task.is_up:
        return "▸ starting"
    stages = run.task.stages
    running = [name for name, stage in stages.items() if stage.status == "running"]
    otherwise = "preparing" if stages["train"].status == "waiting" else "training"
    return f"▸ {next((_WORDS[name] for name in running if name in _WORDS), otherwise)}"
