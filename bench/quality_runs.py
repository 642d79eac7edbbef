"""Our runs of the quality table: trained and scored through the command line, and their figures."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from commands import ptune
from quality_data import TaskData
from quality_scores import read_pairs
from quality_settings import TASKS, CellKey

from ptune_tui.events import StageFinished, StepDone, TaskFinished, decode_event
from ptune_tui.results import ContenderScores, Evaluation
from ptune_tui.tasks import EVENTS_FILE

KERNELS = {"fp32": "cached", "int8": "int8"}


@dataclass(frozen=True)
class OurRun:
    """A run of one of our methods.

    Attributes:
        name: Of the cell that it is for.
        options: The command line that trains it, without the folder.
        runs: The folder of all runs.
    """

    name: str
    options: list[object]
    runs: Path

    @property
    def folder(self) -> Path:
        """Its folder, another one for other options."""
        mark = hashlib.sha256(repr(self.options).encode()).hexdigest()[:8]
        return self.runs / f"{self.name}-{mark}"

    @property
    def is_finished(self) -> bool:
        """Whether it was trained to its end."""
        try:
            lines = (self.folder / EVENTS_FILE).read_bytes().splitlines()
        except FileNotFoundError:
            return False
        return bool(lines) and isinstance(decode_event(lines[-1]), TaskFinished)

    def train(self) -> None:
        """Train it, in place of what is there.

        Raises:
            subprocess.CalledProcessError: It failed; it said why.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        ptune(*self.options, "--out", self.folder)

    def answers(self, test: Path) -> tuple[ContenderScores, list[str]]:
        """Its scores and its answers on some rows.

        Args:
            test (Path): JSONL of the rows.

        Raises:
            RuntimeError: They were scored with rounded products.
            subprocess.CalledProcessError: The command failed; it said why.
        """
        file = self.folder / "answers.jsonl"
        said = ptune(
            *("eval", self.folder, "--data", test, "--predictions", file, "--json"),
            *("--baselines", "none", "--no-calibration"),
        )
        scored = msgspec.json.decode(said, type=Evaluation).contenders[0]
        if "int8" in scored.computed_by:
            raise RuntimeError(
                f"{self.folder} was scored by `{scored.computed_by}`; a cell needs the exact kernel"
            )
        lines = file.read_text(encoding="utf-8").splitlines()
        return scored, [json.loads(line)["answer"] for line in lines]

    def figures(self) -> dict[str, Any]:
        """Time, steps, speed and memory of its training, from its events."""
        lines = (self.folder / EVENTS_FILE).read_bytes().splitlines()
        events = [decode_event(line) for line in lines if line]
        steps = [event for event in events if isinstance(event, StepDone)]
        stages = [event for event in events if isinstance(event, StageFinished)]
        finished = events[-1]
        assert isinstance(finished, TaskFinished), finished
        return {
            "training_seconds": next(stage.seconds for stage in stages if stage.stage == "train"),
            "steps": steps[-1].step,
            "best_step": finished.summary.get("best_step"),
            "tokens_per_second": statistics.median(step.tokens_per_second for step in steps),
            "peak_memory_bytes": max(step.peak_memory_bytes for step in steps),
        }


def training_options(
    key: CellKey, data: TaskData, model: str, steps_override: int | None
) -> list[object]:
    """The command line that trains a cell's run, without the folder.

    Args:
        key (CellKey): The cell.
        data (TaskData): Its task's rows.
        model (str): As `ptune train --model` takes it.
        steps_override (int | None): Fewer steps, to try the harness.
    """
    task = TASKS[key.task]
    training = task.methods[key.method]
    train, selection = data.split()
    steps = steps_override or training.max_steps
    evaluate_every = -(-steps // training.num_validations)
    options: list[object] = [
        *("train", "--model", model, "--data", train, "--validation", selection),
        *("--template", task.template),
        *("--method", key.method, "--num-virtual-tokens", training.num_virtual_tokens),
        *("--max-steps", steps, "--batch-size", training.batch_size, "--seed", key.seed),
        *("--kernel", KERNELS[key.arithmetic], "--evaluate-every", evaluate_every),
        *("--scoring", "text" if task.is_free_text else "labels"),
    ]
    if task.has_validation:
        options += ["--max-validation-rows", len(read_pairs(selection))]
    if training.learning_rate is not None:
        options += ["--learning-rate", training.learning_rate]
    return options
