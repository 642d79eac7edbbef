"""A closer look at a run: its losses, scores, notices, settings and files. Draws nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ptune_tui.bundles import BUNDLE_FOLDER
from ptune_tui.config import RunConfig, differences
from ptune_tui.errors import DataError, explain
from ptune_tui.events import LineFollower, decode_event
from ptune_tui.results import Evaluation
from ptune_tui.run_files import RunFiles, num_bytes_in, run_files
from ptune_tui.run_prompt import ADAPTER_FOLDER
from ptune_tui.run_table import current_table
from ptune_tui.runs import run_config
from ptune_tui.series import Point, decimate, smoothed
from ptune_tui.tasks import CHECKPOINTS_FOLDER, EVENTS_FILE
from ptune_tui.tui.run_state import RunState

PARTS = (ADAPTER_FOLDER, BUNDLE_FOLDER, CHECKPOINTS_FOLDER)
MAX_LOOKS = 20  # runs that are kept in memory
MAX_POINTS = 1000  # of a curve
SMOOTHING = 0.9  # single batches would hide each other's curves


@dataclass(frozen=True)
class Look:
    """What is known of one run.

    Attributes:
        run: Its folder.
        state: Its events, folded. A later look at the same run may go on with it.
        curve: Its losses, smoothed, with few enough points to be drawn at once.
        last_loss: The last of them; None where no step was done.
        settings: (name, value) of what is not at its default.
        evaluation: What `ptune eval` found.
        damage: Why that cannot be read; empty where it can, or was not made.
        part_bytes: (name, bytes) of the parts of its folder that are there.
        num_bytes: Of all its files.
        files: What of its folder is the run's, and what is not.
    """

    run: Path
    state: RunState
    curve: list[Point]
    last_loss: float | None
    settings: list[tuple[str, str]]
    evaluation: Evaluation | None
    damage: str
    part_bytes: list[tuple[str, int]]
    num_bytes: int
    files: RunFiles


class Looks:
    """Looks at runs, and reads of each only what was added since. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._followed: dict[Path, tuple[LineFollower, RunState]] = {}

    def look(self, runs: Iterable[Path]) -> dict[Path, Look]:
        """Look at some runs; those that cannot be read are left out.

        Args:
            runs (Iterable[Path]): Their folders.
        """
        looks = {}
        with self._lock:  # a look that was given up may still be reading
            for run in runs:
                try:
                    looks[run] = self._look_at(run)
                except OSError:
                    self._followed.pop(run, None)  # it is being deleted
        return looks

    def _look_at(self, run: Path) -> Look:
        known = self._followed.pop(run, None)
        follower, state = known or (LineFollower(run / EVENTS_FILE), RunState())
        for line in follower.new_lines():
            try:
                state.add(decode_event(line))
            except msgspec.DecodeError:
                continue  # damaged, or of a later protocol; the listing counts them
        self._followed[run] = (follower, state)  # the latest last
        for oldest in list(self._followed)[:-MAX_LOOKS]:
            del self._followed[oldest]
        parts = [(name, num_bytes_in(run / name)) for name in PARTS if (run / name).is_dir()]
        config = run_config(run)
        evaluation, damage = _evaluation(run)
        losses = smoothed(state.losses, SMOOTHING)
        return Look(
            run=run,
            state=state,
            curve=decimate(losses, MAX_POINTS),
            last_loss=losses[-1][1] if losses else None,
            settings=changed_settings(config) if config else [],
            evaluation=evaluation,
            damage=damage,
            part_bytes=parts,
            num_bytes=num_bytes_in(run),
            files=run_files(run) if run.is_dir() else RunFiles([], []),
        )


def changed_settings(config: RunConfig) -> list[tuple[str, str]]:
    """(dotted name, value) of every field that is not at its default."""
    raw = msgspec.to_builtins(config)
    parts = [name.split(".") for name in differences(config, RunConfig())]
    return [(f"{part}.{field}", str(raw[part][field])) for part, field in parts]


def _evaluation(run: Path) -> tuple[Evaluation | None, str]:
    """What `ptune eval` found, or why it cannot be read."""
    try:
        table = current_table(run)
        return table.evaluation, table.omission
    except (DataError, OSError) as error:
        return None, explain(error).message
