"""The table in a run folder, and whether it is still of the run's prompt. Torch-free leaf."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.results import EVALUATION_FILE, Evaluation, read_evaluation
from ptune_tui.run_prompt import ADAPTER_FOLDER, TENSORS_FILE


@dataclass(frozen=True)
class RunTable:
    """What a run folder has to show.

    Attributes:
        evaluation: The table; None where there is none, or none of this prompt.
        omission: Why a table that is there is left out, in sentences; else "".
    """

    evaluation: Evaluation | None = None
    omission: str = ""


def prompt_hash(run: Path) -> str:
    """sha256 of the adapter in a run folder; "" where there is none.

    Args:
        run (Path): The folder.

    Raises:
        DataError: The adapter is there and cannot be read.
    """
    path = run / ADAPTER_FOLDER / TENSORS_FILE
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise DataError(
            f"The prompt {path} cannot be read: {error.strerror}.", "Check its permissions."
        ) from error


def current_table(run: Path) -> RunTable:
    """The table of a run's prompt, unless the prompt was trained on since.

    A table that names no prompt, as older versions of ptune wrote them, is taken to be of this one.

    Args:
        run (Path): The run's folder.

    Raises:
        DataError: The table is damaged or of another version, or the prompt cannot be read.
    """
    evaluation = read_evaluation(run)
    if evaluation is None or evaluation.prompt_hash in ("", prompt_hash(run)):
        return RunTable(evaluation)
    return RunTable(
        omission=f"{EVALUATION_FILE} is of another prompt than the run has now: its table is left "
        f"out. To make it again: `{evaluation.command}`."
    )


def card_table_of(run: Path) -> RunTable:
    """The same for a card, which goes without a table that cannot be read.

    Args:
        run (Path): The run's folder.
    """
    try:
        return current_table(run)
    except DataError as error:
        return RunTable(omission=f"The card has no table: {error.message} {error.hint}".strip())


def fuller_table(run: Path, made: Evaluation) -> Evaluation | None:
    """The table in a run folder, where it has more rows or more lines than a new one.

    Args:
        run (Path): The run's folder.
        made (Evaluation): The new one; a table of another prompt or other data is never fuller.
    """
    stored = card_table_of(run).evaluation
    if stored is None or stored.data_hash != made.data_hash:
        return None
    is_fuller = stored.num_rows > made.num_rows or len(stored.contenders) > len(made.contenders)
    return stored if is_fuller else None
