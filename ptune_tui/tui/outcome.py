"""What is left when the app has closed, for the normal screen."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ptune_tui.bundles import BUNDLE_FOLDER
from ptune_tui.run_prompt import has_prompt
from ptune_tui.runs import AT_WORK, RunStatus, run_word, summarise
from ptune_tui.tui.run_rows import score_words
from ptune_tui.tui.session import Session


@dataclass(frozen=True)
class AppOutcome:
    """What the app did.

    Attributes:
        run: The run folder.
        status: How the run stands.
        score: Of the soft prompt that was kept, and of the base; empty where there is none.
        bundle: The exported bundle.
        next_command: What to do next.
        error: Why the run failed.
        exit_code: Of the app.
    """

    run: Path | None = None
    status: RunStatus | None = None
    score: str = ""
    bundle: Path | None = None
    next_command: str | None = None
    error: str | None = None
    exit_code: int = 0

    def lines(self) -> list[str]:
        """What to say on the normal screen."""
        lines = [f"run     {self.run} ({self.status})"] if self.run else []
        if self.score:
            lines.append(f"score   {self.score}")
        if self.error:
            lines.append(f"error   {self.error}")
        if self.bundle:
            lines.append(f"bundle  {self.bundle}")
        if self.next_command:
            lines.append(f"next    {self.next_command}")
        return lines


def outcome_of(session: Session, exit_code: int = 0) -> AppOutcome:
    """The outcome of a session; it has nothing to say where nothing was done.

    Args:
        session (Session): The app's work.
        exit_code (int): Of the app.
    """
    bundle = session.bundle
    if session.run is None and bundle is not None:
        return AppOutcome(bundle=bundle, next_command=_chat(bundle), exit_code=exit_code)
    if session.run is None:
        return AppOutcome(exit_code=exit_code)
    summary = summarise(session.run.job.folder)
    return AppOutcome(
        run=summary.path,
        status=summary.status,
        score=score_words(summary),
        bundle=session.bundle,
        next_command=_next(summary.path, summary.status, session.bundle),
        error=summary.error,
        exit_code=exit_code,
    )


def _next(run: Path, status: RunStatus, bundle: Path | None) -> str | None:
    if status in AT_WORK:
        return shlex.join(["ptune", "attach", run_word(run)])
    if bundle is not None:
        return _chat(bundle)
    if has_prompt(run):
        return shlex.join(["ptune", "export", str(run), "--out", str(run / BUNDLE_FOLDER)])
    return "ptune doctor" if status in ("failed", "killed") else None


def _chat(bundle: Path) -> str:
    return shlex.join(["ptune", "chat", str(bundle)])
