"""How a cell of the quality table is made: ours through the command line, the rest beside it."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from quality_cells import Cell, CellFolder, Setting
from quality_scores import (
    Pair,
    bag_of_words,
    bleu_scores,
    first_line,
    label_scores,
    read_pairs,
    write_pairs,
)
from quality_settings import (
    BAG_OF_WORDS,
    FEW_SHOT,
    LORA,
    NUM_EXAMPLES,
    NUM_FREE_TEXT_SELECTION_ROWS,
    NUM_SELECTION_ROWS,
    TASKS,
    CellKey,
    timed_by,
)

from ptune_tui.evaluation.lora_settings import ALPHA, LEARNING_RATE, RANK
from ptune_tui.events import StageFinished, StepDone, TaskFinished, decode_event
from ptune_tui.hardware import default_num_threads, machine
from ptune_tui.results import Evaluation
from ptune_tui.tasks import EVENTS_FILE

KERNELS = {"fp32": "cached", "int8": "int8"}
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
        options = self._training_options(key)
        mark = hashlib.sha256(repr(options).encode()).hexdigest()[:8]
        run = self.work / "runs" / f"{key.name}-{mark}"
        if self.is_fresh or not _is_finished(run):
            shutil.rmtree(run, ignore_errors=True)
            _ptune(*options, "--out", run)
        answers_file = run / "answers.jsonl"
        test = self._test_file(key)
        said = _ptune(
            *("eval", run, "--data", test, "--predictions", answers_file, "--json"),
            *("--baselines", "none", "--no-calibration"),
        )
        scored = msgspec.json.decode(said, type=Evaluation).contenders[0]
        if "int8" in scored.computed_by:
            raise RuntimeError(
                f"{run} was scored by `{scored.computed_by}`; a cell needs the exact kernel"
            )
        lines = answers_file.read_text(encoding="utf-8").splitlines()
        answers = [json.loads(line)["answer"] for line in lines]
        train, _ = self._split(key)
        return {
            "scores": self._scores(key, answers),
            "num_rows": len(answers),
            "num_train_rows": len(read_pairs(train)),
            "evaluation_seconds": scored.seconds,
            "computed_by": scored.computed_by,
            **training_figures(run),
        }

    def _training_options(self, key: CellKey) -> list[object]:
        task = TASKS[key.task]
        training = task.methods[key.method]
        train, selection = self._split(key)
        steps = self.steps_override or training.max_steps
        evaluate_every = -(-steps // training.num_validations)
        options: list[object] = [
            *("train", "--model", self.model, "--data", train, "--validation", selection),
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

    def _beside(self, key: CellKey) -> dict[str, Any]:
        task = TASKS[key.task]
        train, _ = self._split(key)
        request: dict[str, Any] = {
            "kind": key.method,
            "train": str(train),
            "test": str(self._test_file(key)),
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
            "scores": self._scores(key, answers),
            "num_rows": len(answers),
            "num_train_rows": len(read_pairs(train)) if key.method == LORA else None,
            "evaluation_seconds": result["evaluation_seconds"],
            "computed_by": "torch, float" if key.method == LORA else "torch, cached",
        }

    def _bag_of_words(self, key: CellKey) -> dict[str, Any]:
        train, _ = self._split(key)
        rows, test = read_pairs(train), read_pairs(self._test_file(key))
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

    def _scores(self, key: CellKey, answers: list[str]) -> dict[str, float]:
        task = TASKS[key.task]
        test = read_pairs(self._test_file(key))
        if not task.is_free_text:
            return label_scores(test, answers)
        references = self.data / key.task / f"{task.split}_refs.jsonl"
        return bleu_scores(test, answers, references)

    def _split(self, key: CellKey) -> tuple[Path, Path]:
        """Training rows, and rows to choose the best step by: held out of them, or a split.

        The scored split chooses nothing. Free text holds out rows of prompts that are not trained
        on, because its prompts come several times.
        """
        pairs = read_pairs(self.data / key.task / "train.jsonl")
        folder = self.work / "data" / key.task
        if TASKS[key.task].has_validation:
            held_out = read_pairs(self.data / key.task / "validation.jsonl")[: self.max_rows]
            whole = _stored(folder / "whole-train.jsonl", pairs)
            return whole, _stored(folder / "validation.jsonl", held_out)
        is_free_text = TASKS[key.task].is_free_text
        num_rows = NUM_FREE_TEXT_SELECTION_ROWS if is_free_text else NUM_SELECTION_ROWS
        held_out = pairs[-min(num_rows, self.max_rows or num_rows) :]
        seen = {pair.prompt for pair in held_out}
        train = [pair for pair in pairs if pair.prompt not in seen]
        return _stored(folder / "train.jsonl", train), _stored(folder / "selection.jsonl", held_out)

    def _test_file(self, key: CellKey) -> Path:
        """The scored rows, one a prompt for free text."""
        task = TASKS[key.task]
        pairs = read_pairs(self.data / key.task / f"{task.split}.jsonl")
        if task.is_free_text:
            pairs = list({pair.prompt: pair for pair in reversed(pairs)}.values())[::-1]
        pairs = pairs[: self.max_rows]
        return _stored(self.work / "data" / key.task / f"test-{len(pairs)}.jsonl", pairs)


def settings_of(key: CellKey) -> dict[str, Setting]:
    """What a cell is made with, as it is stored."""
    task = TASKS[key.task]
    settings: dict[str, Setting] = {"template": task.template, "split": task.split}
    if task.has_validation:
        settings["chosen_on"] = "validation"
    if key.is_ours:
        training = msgspec.to_builtins(task.methods[key.method])
        kept = ("num_virtual_tokens", "max_steps", "batch_size", "learning_rate", "num_validations")
        settings |= {name: training[name] for name in kept}
    elif key.method == LORA:
        settings |= {"rank": RANK, "alpha": ALPHA, "learning_rate": LEARNING_RATE}
        settings["batch_size"] = task.methods[timed_by(key).method].batch_size
    elif key.method == FEW_SHOT:
        settings["num_examples"] = NUM_EXAMPLES
    elif key.method == BAG_OF_WORDS:
        settings = {"split": task.split}
    return settings


def training_figures(run: Path) -> dict[str, Any]:
    """Time, steps, speed and memory of a finished run, from its events."""
    lines = (run / EVENTS_FILE).read_bytes().splitlines()
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


def commit() -> str:
    """The code's commit; `-changed` where tracked files outside the cells differ from it."""
    root = _HERE.parent
    name = _output("git", "-C", root, "rev-parse", "--short", "HEAD").strip()
    status = ("git", "-C", root, "status", "--porcelain", "--untracked-files=no")
    changed = _output(*status, "--", ".", ":!bench/quality_cells", ":!docs")
    return f"{name}-changed" if changed.strip() else name


def machine_name() -> str:
    """Processor, usable cores and threads."""
    here = machine()
    return f"{here.processor}, {here.num_usable_cores} cores, {default_num_threads()} threads"


def _is_finished(run: Path) -> bool:
    try:
        lines = (run / EVENTS_FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return False
    return bool(lines) and isinstance(decode_event(lines[-1]), TaskFinished)


def _stored(path: Path, pairs: list[Pair]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pairs(path, pairs)
    return path


def _in_torch(request: dict[str, Any], stem: Path) -> Any:
    question, answer = stem.with_suffix(".request.json"), stem.with_suffix(".result.json")
    question.parent.mkdir(parents=True, exist_ok=True)
    question.write_text(json.dumps(request), encoding="utf-8")
    _output(sys.executable, _HERE / "quality_torch.py", question, answer)
    return json.loads(answer.read_bytes())


def _ptune(*arguments: object) -> str:
    return _output(sys.executable, "-m", "ptune_tui", *arguments)


def _output(*command: object) -> str:
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
