"""The rows of a task of the quality table, as files: to train on, to choose by, to score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quality_scores import Pair, bleu_scores, label_scores, read_pairs, write_pairs
from quality_settings import NUM_FREE_TEXT_SELECTION_ROWS, NUM_SELECTION_ROWS, TASKS, Task


@dataclass(frozen=True)
class TaskData:
    """The rows of a task.

    Attributes:
        name: The task.
        data: The folder of data sets, the task's among them.
        work: Where files are made of them.
        max_rows: Fewer rows to choose by and to score, to try the harness.
    """

    name: str
    data: Path
    work: Path
    max_rows: int | None = None

    @property
    def task(self) -> Task:
        """What is measured on them."""
        return TASKS[self.name]

    def split(self) -> tuple[Path, Path]:
        """Training rows, and rows to choose the best step by: held out of them, or a split.

        The scored split chooses nothing. Free text holds out rows of prompts that are not trained
        on, because its prompts come several times.
        """
        pairs = read_pairs(self.data / self.name / "train.jsonl")
        if self.task.has_validation:
            held_out = read_pairs(self.data / self.name / "validation.jsonl")[: self.max_rows]
            whole = self._stored("whole-train", pairs)
            return whole, self._stored("validation", held_out)
        is_free_text = self.task.is_free_text
        num_rows = NUM_FREE_TEXT_SELECTION_ROWS if is_free_text else NUM_SELECTION_ROWS
        held_out = pairs[-min(num_rows, self.max_rows or num_rows) :]
        seen = {pair.prompt for pair in held_out}
        train = [pair for pair in pairs if pair.prompt not in seen]
        return self._stored("train", train), self._stored("selection", held_out)

    def test_file(self) -> Path:
        """The scored rows, one a prompt for free text."""
        pairs = read_pairs(self.data / self.name / f"{self.task.split}.jsonl")
        if self.task.is_free_text:
            pairs = list({pair.prompt: pair for pair in reversed(pairs)}.values())[::-1]
        pairs = pairs[: self.max_rows]
        return self._stored(f"test-{len(pairs)}", pairs)

    def scores(self, answers: list[str]) -> dict[str, float]:
        """Every metric of the scored rows' answers, by name."""
        test = read_pairs(self.test_file())
        if not self.task.is_free_text:
            return label_scores(test, answers)
        references = self.data / self.name / f"{self.task.split}_refs.jsonl"
        return bleu_scores(test, answers, references)

    def _stored(self, name: str, pairs: list[Pair]) -> Path:
        path = self.work / self.name / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pairs(path, pairs)
        return path
