"""Makes the cells of the quality table: runs of ours, and what stands beside them."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands import output
from quality_cells import Cell, CellFolder
from quality_data import TaskData
from quality_runs import OurRun, training_options
from quality_scores import bag_of_words, first_line, label_scores, read_pairs
from quality_settings import (
    BAG_OF_WORDS,
    LORA,
    NUM_EXAMPLES,
    TASKS,
    CellKey,
    settings_of,
    timed_by,
)

from ptune_tui.hardware import default_num_threads, machine

_PACKAGES = ("torch", "transformers", "peft", "sacrebleu", "scikit-learn")
_HERE = Path(__file__).parent


class MissingTime(Exception):
    """A LoRA cell needs another cell's training time first."""


@dataclass(frozen=True)
class Workshop:
    """Where cells are made.

    Attributes:
        data: The folder of data sets.
        work: Runs and intermediate files; kept, so that a finished run is not trained again.
        cells: Finished cells.
        steps_override: Fewer steps, to try the harness.
        max_rows: Fewer scored rows, to try the harness.
        is_fresh: Train again where a finished run of the same settings is in `work`.
        model: Another model, to try the harness.
    """

    data: Path
    work: Path
    cells: CellFolder
    steps_override: int | None = None
    max_rows: int | None = None
    is_fresh: bool = False
    model: str = "default"

    @property
    def is_trial(self) -> bool:
        """Whether the cells are only tries."""
        return (self.steps_override, self.max_rows, self.model) != (None, None, "default")

    def make(self, key: CellKey) -> Cell:
        """Make a cell and store it.

        Raises:
            MissingTime: See there.
            subprocess.CalledProcessError: A command failed; it said why.
        """
        if key.method == BAG_OF_WORDS:
            found = self._bag_of_words(key)
        elif key.is_ours:
            found = self._ours(key)
        else:
            found = self._beside(key)
        metric = TASKS[key.task].metric
        cell = Cell(
            key=key,
            score=found["scores"][metric],
            settings=settings_of(key),
            is_trial=self.is_trial,
            commit=commit(),
            machine=machine_name(),
            versions={name: importlib.metadata.version(name) for name in _PACKAGES},
            date=datetime.date.today().isoformat(),
            **found,
        )
        self.cells.write(cell)
        return cell

    def _ours(self, key: CellKey) -> dict[str, Any]:
        data = self._data(key)
        options = training_options(key, data, self.model, self.steps_override)
        run = OurRun(key.name, options, self.work / "runs")
        if self.is_fresh or not run.is_finished:
            run.train()
        scored, answers = run.answers(data.test_file())
        train, _ = data.split()
        return {
            "scores": data.scores(answers),
            "num_rows": len(answers),
            "num_train_rows": len(read_pairs(train)),
            "evaluation_seconds": scored.seconds,
            "computed_by": scored.computed_by,
            **run.figures(),
        }

    def _beside(self, key: CellKey) -> dict[str, Any]:
        task, data = TASKS[key.task], self._data(key)
        train, _ = data.split()
        request: dict[str, Any] = {
            "kind": key.method,
            "train": str(train),
            "test": str(data.test_file()),
            "template": task.template,
            "is_free_text": task.is_free_text,
            "seed": key.seed,
            "num_examples": NUM_EXAMPLES,
            "model": self.model,
        }
        if key.method == LORA:
            ours = self.cells.read(timed_by(key))
            if ours is None or ours.training_seconds is None:
                raise MissingTime(f"{key.name} needs the time of {timed_by(key).name} first")
            training = task.methods[ours.key.method]
            request |= {
                "batch_size": training.batch_size,
                "training_seconds": ours.training_seconds,
                "max_steps": self.steps_override,
            }
        result = _in_torch(request, self.work / f"{key.name}.json")
        answers = [first_line(answer) for answer in result["answers"]]
        found = {
            name: result[name]
            for name in ("training_seconds", "steps", "tokens_per_second", "peak_memory_bytes")
        }
        return {
            **found,
            "scores": data.scores(answers),
            "num_rows": len(answers),
            "num_train_rows": len(read_pairs(train)) if key.method == LORA else None,
            "evaluation_seconds": result["evaluation_seconds"],
            "computed_by": "torch, float" if key.method == LORA else "torch, cached",
        }

    def _bag_of_words(self, key: CellKey) -> dict[str, Any]:
        data = self._data(key)
        train, _ = data.split()
        rows, test = read_pairs(train), read_pairs(data.test_file())
        started = time.perf_counter()
        answers = bag_of_words(rows, test)
        seconds = time.perf_counter() - started
        metric = TASKS[key.task].metric
        scored = {name: label_scores(test, found) for name, found in answers.items()}
        best = max(scored, key=lambda name: scored[name][metric])
        others = {f"{metric}_of_{name}": values[metric] for name, values in scored.items()}
        return {
            "scores": scored[best] | others,
            "num_rows": len(test),
            "num_train_rows": len(rows),
            "evaluation_seconds": seconds,
            "computed_by": f"scikit-learn, {best}",
        }

    def _data(self, key: CellKey) -> TaskData:
        return TaskData(key.task, self.data, self.work / "data", self.max_rows)


def commit() -> str:
    """The code's commit; `-changed` where tracked files outside the cells differ from it."""
    root = _HERE.parent
    name = output("git", "-C", root, "rev-parse", "--short", "HEAD").strip()
    status = ("git", "-C", root, "status", "--porcelain", "--untracked-files=no")
    changed = output(*status, "--", ".", ":!bench/quality_cells", ":!docs")
    return f"{name}-changed" if changed.strip() else name


def machine_name() -> str:
    """Processor, usable cores and threads."""
    here = machine()
    return f"{here.processor}, {here.num_usable_cores} cores, {default_num_threads()} threads"


def _in_torch(request: dict[str, Any], stem: Path) -> Any:
    question, answer = stem.with_suffix(".request.json"), stem.with_suffix(".result.json")
    question.parent.mkdir(parents=True, exist_ok=True)
    question.write_text(json.dumps(request), encoding="utf-8")
    output(sys.executable, _HERE / "quality_torch.py", question, answer)
    return json.loads(answer.read_bytes())
