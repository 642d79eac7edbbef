"""How the app is left: what becomes of the work that goes on, and what ends with the app."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptune_tui.tui.app import PTuneApp
    from ptune_tui.tui.screens.questions import Leave

ENDING_SECONDS = 3.0  # for a worker to stop by itself
LOOK_SECONDS = 0.5  # between two looks whether it has


class Leaving:
    """The way out of the app.

    Args:
        app (PTuneApp): The app.
    """

    def __init__(self, app: PTuneApp) -> None:
        self._app = app
        self._waits_for_run = False

    def ask(self) -> None:
        """Leave; ask first where work goes on."""
        from ptune_tui.tui.screens.questions import LeaveScreen

        session = self._app.session
        work = session.work_that_goes_on
        if self._waits_for_run or not work:
            self.leave()
        elif not isinstance(self._app.screen, LeaveScreen):
            screen = LeaveScreen(work, is_paused=session.is_paused)
            self._app.push_screen(screen, self._answered)

    def look(self) -> None:
        """Leave where that has only waited for the run to stop, and it has."""
        if self._waits_for_run and not self._app.session.is_training:
            self.leave()

    def leave(self, return_code: int = 0) -> None:
        """Leave now; what answers or tries something ends, the rest goes on.

        Args:
            return_code (int): The app's exit code.
        """
        session = self._app.session
        session.trials.end_preview()
        session.trials.end_rate_test()
        session.comparison.stop_answers()
        self._app.exit(return_code=return_code)

    def _answered(self, choice: Leave | None) -> None:
        from ptune_tui.tui.run_commands import stop_run

        if choice == "background":
            self.leave()
        elif choice == "end":
            self._app.run_worker(self._end())
        elif choice == "save":
            try:
                stop_run(self._app.session.run, save=True)
            except OSError as error:
                self._app.tell_error(error)
                return
            self._waits_for_run = True
            self._app.notify("Leaving when the run has stopped; Quit again leaves at once.")
            self._app.refresh_place()
            self.look()  # it may have ended under the question, and nothing is polled any more

    async def _end(self) -> None:
        """End the work: ask the run, wait, then end its process."""
        from ptune_tui.tui.run_commands import stop_run

        session = self._app.session
        with contextlib.suppress(OSError):  # a full disk: the process is ended all the same
            stop_run(session.run, save=False)
        at_work = session.at_work
        self._app.notify("Ending the work...")
        deadline = time.monotonic() + ENDING_SECONDS
        while session.is_training and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        for followed in at_work:
            if followed.is_active:
                await asyncio.to_thread(followed.job.kill)
        self.leave()
