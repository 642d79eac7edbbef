"""Waiting between two steps, until a command says how to go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ptune_tui.events import Command, Continue, Pause

_POLL_SECONDS = 0.1


def asks_to_pause(asked: Sequence[Command]) -> bool:
    """Whether the last of some commands that says one or the other is to pause.

    Args:
        asked (Sequence[Command]): In the order in which they were given.
    """
    said = [command for command in asked if isinstance(command, Pause | Continue)]
    return bool(said) and isinstance(said[-1], Pause)


def wait(commands: Callable[[], list[Command]]) -> tuple[list[Command], float]:
    """Wait for commands; returns them and how many seconds that took.

    Args:
        commands (Callable[[], list[Command]]): Those that came since it was asked last.
    """
    started = time.perf_counter()
    while not (asked := commands()):
        time.sleep(_POLL_SECONDS)
    return asked, time.perf_counter() - started
