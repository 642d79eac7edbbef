"""A run that was read from its folder, to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ptune_tui import jobs
from ptune_tui.bundles import bundle_in
from ptune_tui.config import RunConfig
from ptune_tui.runs import run_config
from ptune_tui.tui.followed import Followed
from ptune_tui.tui.run_state import RunState


@dataclass(frozen=True)
class OpenedRun:
    """A run as it was read.

    Attributes:
        followed: Its job, with all its events taken in.
        config: What it was started with.
        bundle: The one in its folder, if there is one.
    """

    followed: Followed[RunState]
    config: RunConfig | None
    bundle: Path | None


def read_run(run: Path) -> OpenedRun:
    """Read a run with all its events. For any thread; `Session.show_run` shows it.

    Args:
        run (Path): Its folder.

    Raises:
        UsageError: It is gone.
    """
    followed = Followed(jobs.attach(run), RunState())
    followed.poll()
    return OpenedRun(followed, run_config(run), bundle_in(run))
