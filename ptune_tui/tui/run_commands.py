"""What a run that goes on is told: stop, pause, go on, evaluate now. Draws nothing.

A run that has ended is told nothing, and neither is one that is not there.
"""

from __future__ import annotations

from ptune_tui.events import Continue, EvaluateNow, Pause, Stop
from ptune_tui.tui.followed import Followed, end
from ptune_tui.tui.run_state import RunState

Run = Followed[RunState]


def stop_run(run: Run | None, *, save: bool) -> None:
    """Ask a run to stop after its step; end it where its folder is gone.

    Args:
        run (Run | None): Which.
        save (bool): Whether it is to keep what it has learnt.

    Raises:
        OSError: It cannot be told: the disk is full.
    """
    if run is None or not run.is_active:
        return
    try:
        run.job.send(Stop(save))
    except FileNotFoundError:
        end(run)  # it cannot be told, and has nowhere to save to
    run.state.is_stopping = True


def pause_run(run: Run | None) -> None:
    """Ask a run to wait after its step.

    Args:
        run (Run | None): Which.

    Raises:
        OSError: It cannot be told: the disk is full, or its folder is gone.
    """
    if run is not None and run.is_active:
        run.job.send(Pause())
        run.state.is_pausing = True


def continue_run(run: Run | None) -> None:
    """Tell a run that waits, or is about to, to go on.

    Args:
        run (Run | None): Which.

    Raises:
        OSError: It cannot be told: the disk is full, or its folder is gone.
    """
    if run is not None and run.is_active:
        run.job.send(Continue())
        run.state.is_pausing = False


def evaluate_now(run: Run | None) -> None:
    """Ask a run to score the validation rows after its step.

    Args:
        run (Run | None): Which.

    Raises:
        OSError: It cannot be told: the disk is full, or its folder is gone.
    """
    if run is not None and run.is_active:
        run.job.send(EvaluateNow())
