"""What Compare has its workers do: make a table, and answer texts. Draws nothing; it is polled."""

from __future__ import annotations

from pathlib import Path

from ptune_tui import jobs
from ptune_tui.errors import DataError
from ptune_tui.events import AskText
from ptune_tui.jobs import Job
from ptune_tui.lineup import Lineup
from ptune_tui.locks import own_lock
from ptune_tui.results import EVALUATION_FILE, Evaluation, read_result
from ptune_tui.tasks import AnswerTask, CompareTask
from ptune_tui.tui.compare_state import AnswersState, AskedText, TableState
from ptune_tui.tui.followed import Followed, end


class Comparison:
    """The table that is being made, and the worker that answers texts.

    Attributes:
        table: The worker of the last table.
        lineup: Whose table that is.
        made: The last table, once it is there.
        damage: Why it cannot be read; else "".
        num_made: How many tables were made.
        answers: The worker that answers texts; it keeps its models for the next text.
        texts: What was asked in all, the latest last, with the answers.
    """

    def __init__(self) -> None:
        self.table: Followed[TableState] | None = None
        self.lineup: Lineup | None = None
        self.made: Evaluation | None = None
        self.damage = ""
        self.num_made = 0
        self.answers: Followed[AnswersState] | None = None
        self.texts: list[AskedText] = []
        self._answering: Lineup | None = None
        self._is_taken = True  # whether the table has ended and was read

    @property
    def is_making_table(self) -> bool:
        """Whether a table is being made."""
        return self.table is not None and self.table.is_active

    @property
    def is_answering(self) -> bool:
        """Whether an answer is still to come."""
        answers = self.answers
        return answers is not None and answers.is_active and answers.state.is_waiting

    @property
    def compared(self) -> tuple[Path | None, Path | None]:
        """The run of the last table, and where it was of none, the bundle."""
        lineup = self.lineup or Lineup()
        run, bundle = lineup.run and Path(lineup.run), lineup.bundle and Path(lineup.bundle)
        return (run, None) if run else (None, bundle or None)

    def is_of(self, run: Path | None, bundle: Path | None) -> bool:
        """Whether the last table is, or was to be, that of a run, or of a bundle without one.

        Args:
            run (Path | None): The run's folder.
            bundle (Path | None): The bundle's.
        """
        lineup = self.lineup
        if lineup is None or run is not None:
            return lineup is not None and run is not None and lineup.run == str(run.absolute())
        return lineup.run is None and bundle is not None and lineup.bundle == str(bundle.absolute())

    def start_table(self, task: CompareTask) -> None:
        """Make a table.

        Args:
            task (CompareTask): Whose, on which rows.
        """
        self.stop_answers()  # two models in memory would slow each other down
        self.made, self.damage, self.lineup = None, "", task.lineup
        self.table = Followed(jobs.start(jobs.new_task_folder("compare"), task), TableState())
        self._is_taken = False  # not before there is one: the last table would be read again

    def follow_table(self, job: Job, task: CompareTask) -> None:
        """Follow a table that another program has begun.

        Args:
            job (Job): Its worker.
            task (CompareTask): Whose table, on which rows.
        """
        self.lineup, self._is_taken = task.lineup, False
        self.table = Followed(job, TableState())

    def cancel_table(self) -> None:
        """End a table that is being made."""
        if self.table is not None and self.is_making_table:
            self.table.state.is_cancelled = True
            end(self.table)

    def ask(self, lineup: Lineup, text: str) -> None:
        """Have a text answered; a worker that has these models already is asked again.

        Args:
            lineup (Lineup): Who is compared; LoRA does not answer.
            text (str): What is asked.
        """
        lineup = lineup.of_texts()
        if self.answers is None or not self.answers.is_active or self._answering != lineup:
            self.stop_answers()
            job = jobs.start(jobs.new_task_folder("answer"), AnswerTask(lineup, own_lock()))
            self.answers, self._answering = Followed(job, AnswersState()), lineup
        number = len(self.texts) + 1
        asked = AskedText(text)
        self.texts.append(asked)
        self.answers.state.texts[number] = asked
        self.answers.job.send(AskText(number, text))

    def stop_answers(self) -> None:
        """End the worker that answers texts; its models go with it."""
        if self.answers is not None and self.answers.is_active:
            self.answers.state.is_cancelled = True
            end(self.answers)

    def poll(self) -> bool:
        """Take in all new events; says whether there is something new to show."""
        changed = False
        if self.table is not None and not self._is_taken:
            self.table.poll()
            changed = True
            if not self.is_making_table:  # its process may have gone since the last poll
                self._is_taken = True
                self._read_table(self.table)
        if self.answers is not None and self.answers.is_active:
            was_waiting = self.is_answering
            changed = self.answers.poll() or was_waiting or changed
        return changed

    def _read_table(self, table: Followed[TableState]) -> None:
        """Read what a worker has made; a table that is there after all counts."""
        try:
            self.made = read_result(table.job.folder / EVALUATION_FILE, Evaluation)
        except DataError as error:
            self.damage = f"{error.message} {error.hint}"
        self.num_made += self.made is not None
