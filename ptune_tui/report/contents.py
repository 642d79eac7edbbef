"""What there is to tell of a run: everything that its folder holds, as the page shows it."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

from ptune_tui.command_line import train_command
from ptune_tui.config import RunConfig, dump, load
from ptune_tui.errors import UsageError
from ptune_tui.events import SampleMade
from ptune_tui.inspection import Inspection, read_inspection
from ptune_tui.inspection_words import sentences
from ptune_tui.paths import runs_folder
from ptune_tui.report import words
from ptune_tui.report.calibration import calibrated, calibration_plot
from ptune_tui.report.comparison import Comparison, comparison, styles
from ptune_tui.report.confusion import Matrix, confusion_matrix
from ptune_tui.report.flips import FlipGroup, flip_groups
from ptune_tui.report.inspected import TokenRow, beginnings_plot, token_rows
from ptune_tui.report.learning_plot import learning_plot
from ptune_tui.report.plot import Plot
from ptune_tui.report.training_plots import training_plots
from ptune_tui.results import (
    ContenderScores,
    Evaluation,
    LearningCurve,
    read_learning_curve,
)
from ptune_tui.run_history import RunHistory, read_history
from ptune_tui.run_table import RunTable, current_table, prompt_hash
from ptune_tui.runs import RunSummary, run_config, summarise
from ptune_tui.tasks import CONFIG_FILE


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What there is to tell of a run; the template reads it.

    Attributes:
        name: The run's.
        summary: The run at a glance.
        history: What happened in it.
        config: What it was asked to do.
        table: That of `ptune eval`, where it was made and is of this prompt.
        learning: That of `ptune learning-curve`, where it was made.
        inspection: That of `ptune inspect`, where it was made and is of this prompt.
        made_at: Seconds since the epoch.
    """

    name: str
    summary: RunSummary
    history: RunHistory
    config: RunConfig
    table: RunTable
    learning: LearningCurve | None
    inspection: Inspection | None
    made_at: float

    @property
    def evaluation(self) -> Evaluation | None:
        """The table."""
        return self.table.evaluation

    @property
    def target(self) -> str:
        """What a command calls the run."""
        path = self.summary.path.resolve()
        is_known = path.parent == runs_folder().resolve()
        return shlex.quote(path.name if is_known else str(path))

    @property
    def data_name(self) -> str:
        """The training data without its folders."""
        return Path(self.config.data.train).name

    @property
    def tiles(self) -> list[Tile]:
        """What is seen first."""
        best, base, history = self.history.best, self.history.comparable_base(), self.history
        found = []
        if base is not None:
            note = f"on {words.grouped(base.num_rows)} rows"
            found.append(Tile("without the prompt", f"{base.accuracy:.3f}", note))
        if best is not None:
            note = f"on {words.grouped(best.num_rows)} rows"
            found.append(Tile("with the prompt", f"{best.accuracy:.3f}", note))
        if best is not None and best.macro_f1 is not None:
            found.append(Tile("macro-F1 with it", f"{best.macro_f1:.3f}"))
        if history.data is not None:
            found.append(Tile("training rows", words.grouped(history.data.num_train_rows)))
        found.append(
            Tile("steps", words.grouped(self.summary.step), f"of {self.summary.max_steps}")
        )
        found.append(Tile("time in all", words.duration(self.summary.seconds)))
        return found

    @property
    def plots(self) -> list[Plot]:
        """Of the training."""
        return training_plots(self.history)

    @property
    def comparison(self) -> Comparison | None:
        """The table."""
        has_lines = self.evaluation is not None and self.evaluation.contenders
        return comparison(self.evaluation) if self.evaluation and has_lines else None

    @property
    def matrices(self) -> list[Matrix]:
        """The confusion matrices of the tuned prompt and of the base."""
        evaluation = self.evaluation
        if evaluation is None or evaluation.labels is None:
            return []
        return [
            confusion_matrix(one.title, evaluation.labels, one.confusion)
            for one in self._told_by_class()
            if one.confusion
        ]

    @property
    def class_tables(self) -> list[ContenderScores]:
        """Whose scores are shown label by label: the tuned prompt's, beside the base's."""
        return [one for one in self._told_by_class() if one.class_scores]

    def _told_by_class(self) -> list[ContenderScores]:
        """The tuned prompt, or its bundle where that was scored alone, and the base."""
        contenders = self.evaluation.contenders if self.evaluation else []
        by_key = {one.key: one for one in reversed(contenders)}
        tuned = by_key.get("tuned") or by_key.get("bundle")
        return [one for one in (tuned, by_key.get("base")) if one is not None]

    @property
    def calibration(self) -> Plot | None:
        """The diagram."""
        evaluation = self.evaluation
        return calibration_plot(evaluation, styles(evaluation)) if evaluation else None

    @property
    def calibrated(self) -> list[ContenderScores]:
        """Who is in the diagram."""
        return calibrated(self.evaluation) if self.evaluation else []

    @property
    def flips(self) -> list[FlipGroup]:
        """By kind."""
        return flip_groups(self.evaluation.flips) if self.evaluation else []

    @property
    def learning_plot(self) -> Plot | None:
        """The learning curve."""
        return learning_plot(self.learning) if self.learning and self.learning.points else None

    @property
    def beginnings_plot(self) -> Plot | None:
        """What the first tokens alone come to."""
        return beginnings_plot(self.inspection) if self.inspection else None

    @property
    def tokens(self) -> list[TokenRow]:
        """The prompt, token by token."""
        return token_rows(self.inspection) if self.inspection else []

    @property
    def inspection_sentences(self) -> list[str]:
        """What the inspection comes to."""
        return list(sentences(self.inspection)) if self.inspection else []

    @property
    def samples(self) -> list[SampleMade]:
        """Rows of the last validation that shows some."""
        last = self.history.samples[-1].step if self.history.samples else None
        return [sample for sample in self.history.samples if sample.step == last]

    @property
    def verdict(self) -> str:
        """What the run came to, in a sentence."""
        best, base = self.history.best, self.history.comparable_base()
        if best is None:
            return "No prompt has been validated in this run yet."
        name = "accuracy" if best.macro_f1 is not None else "exact match"
        text = f"With the soft prompt of step {best.step}: {name} {best.accuracy:.3f} on "
        text += f"{words.grouped(best.num_rows)} validation rows"
        if base is None:
            return f"{text}."
        text += f"; without it {base.accuracy:.3f}"
        if base.num_rows != best.num_rows:
            return f"{text} on {words.grouped(base.num_rows)} of them."
        return f"{text} ({best.accuracy - base.accuracy:+.3f})."

    @property
    def command(self) -> str:
        """What makes the run again."""
        return train_command(self.config)

    @property
    def toml(self) -> str:
        """The configuration as a file."""
        return dump(self.config)


def read_report(run: Path) -> Report:
    """Collect what a run folder holds.

    Args:
        run (Path): Its folder.

    Raises:
        DataError: A result in it is damaged.
        UsageError: It is no training run.
    """
    return Report(
        name=run.resolve().name,
        summary=summarise(run),
        history=read_history(run),
        config=_config(run),
        table=current_table(run),
        learning=read_learning_curve(run),
        inspection=_inspection(run),
        made_at=time.time(),
    )


def _inspection(run: Path) -> Inspection | None:
    """What was found in the prompt as it is; one that names no prompt is taken to be of this."""
    found = read_inspection(run)
    return found if found and found.prompt_hash in ("", prompt_hash(run)) else None


def _config(run: Path) -> RunConfig:
    """What a run was asked to do: its task, or the file beside it where the task is lost."""
    config, file = run_config(run), run / CONFIG_FILE
    if config is not None:
        return config
    if file.is_file():
        return load(file)
    raise UsageError(
        f"{run} is not a training run: it has neither a task nor a {CONFIG_FILE}.",
        "`ptune runs` lists the runs.",
    )
