"""Why neither a run nor a range test can be started from a form, in words. Draws nothing."""

from __future__ import annotations

import shlex

from ptune_tui.config import DataConfig
from ptune_tui.events import TaskFailed
from ptune_tui.tui.fitting import FitLine, data_file

WAITS_FOR_PRESET = "This has to wait until the preset has looked at the data."


def wrong_form(num_wrong: int) -> FitLine:
    """That fields have to be mended first, in place of an estimate.

    Args:
        num_wrong (int): Fields.
    """
    return FitLine("does not fit", f"{num_wrong} field{'s are' if num_wrong > 1 else ' is'} wrong")


def unreadable_rows(data: DataConfig) -> FitLine:
    """That no run can read the rows, and the way out, in place of an estimate.

    Args:
        data (DataConfig): Which rows.
    """
    return FitLine("does not fit", "no run can read the rows", _way_out(data))


def refusal(num_wrong: int, data: DataConfig, unreadable: TaskFailed | None, doing: str) -> str:
    """What holds a start, as a sentence.

    Args:
        num_wrong (int): Fields that are wrong.
        data (DataConfig): Which rows.
        unreadable (TaskFailed | None): Why they cannot be read.
        doing (str): What the app is at; empty for nothing.
    """
    if num_wrong:
        return f"The form has to be mended first: {wrong_form(num_wrong).text}."
    if unreadable is not None:
        return f"The rows cannot be read: {unreadable.message} {_way_out(data)}."
    return f"This has to wait: the app is {doing}." if doing else WAITS_FOR_PRESET


def _way_out(data: DataConfig) -> str:
    """What to do about rows that cannot be read: another command writes a copy without them."""
    again = "F6 looks again"
    if not data_file(data).is_file():
        return again
    return f"ptune data check {shlex.quote(data.train)} --fix CLEANED leaves them out; {again}"
