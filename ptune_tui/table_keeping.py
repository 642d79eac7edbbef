"""Which table stands for a run: in `evaluation.json`, and in the card of its adapter."""

from __future__ import annotations

from pathlib import Path

from ptune_tui.kept_tables import add_table, keep_standing
from ptune_tui.model_cards import write_adapter_card
from ptune_tui.results import EVALUATION_FILE, Evaluation, write_result
from ptune_tui.run_table import card_table_of, fuller_table


def keep_table(run: Path, evaluation: Evaluation, *, is_quick: bool) -> list[str]:
    """Let a table stand for its run and be in the adapter's card, unless a fuller one does.

    All stay in the run, the one that stood until now, too, of whatever prompt.

    Args:
        run (Path): The run's folder.
        evaluation (Evaluation): The table.
        is_quick (bool): Whether it was made of a part of the rows, or without what stands beside.

    Returns:
        list[str]: What to say of it, in sentences.
    """
    path = run / EVALUATION_FILE
    add_table(run, evaluation)
    fuller = fuller_table(run, evaluation) if is_quick else None
    if fuller is not None:
        return [
            f"not written: {path} has a fuller table of this prompt and data, "
            f"{fuller.num_rows} rows and {len(fuller.contenders)} lines."
        ]
    keep_standing(run)
    write_result(path, evaluation)
    write_adapter_card(run)
    omission = card_table_of(run).omission
    return [f"written: {path}", *([omission] if omission else [])]
