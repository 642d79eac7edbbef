"""The places by name, each imported when it is first shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.screen import Screen


# The first frame is drawn before the places are imported: half of a start's time is theirs.
def _runs_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.runs import RunsScreen

    return RunsScreen()


def _setup_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.setup import SetupScreen

    return SetupScreen()


def _train_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.train import TrainScreen

    return TrainScreen()


def _compare_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.compare import CompareScreen

    return CompareScreen()


def _export_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.export import ExportScreen

    return ExportScreen()


def _chat_screen() -> Screen[Any]:
    from ptune_tui.tui.screens.chat import ChatScreen

    return ChatScreen()


MODES: dict[str, str | Callable[[], Screen[Any]]] = {
    "runs": _runs_screen,
    "setup": _setup_screen,
    "train": _train_screen,
    "compare": _compare_screen,
    "export": _export_screen,
    "chat": _chat_screen,
}
