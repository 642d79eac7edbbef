"""`ptune train --find-lr`: the range test of learning rates."""

from __future__ import annotations

import msgspec
import typer

from ptune_tui.cli.rate_chart import rate_chart
from ptune_tui.cli.talk import say
from ptune_tui.cli.work import make_display, work
from ptune_tui.config import RunConfig
from ptune_tui.events import RateProposed, RateTried
from ptune_tui.jobs import new_task_folder
from ptune_tui.tasks import FindRateTask


class FoundRate(msgspec.Struct, frozen=True):
    """What `--find-lr --json` writes.

    Attributes:
        learning_rate: The proposal, in units of the method.
        reason: Why this one.
        tried: Rates in rising order with their smoothed losses.
    """

    learning_rate: float
    reason: str
    tried: list[RateTried]


def find_learning_rate(config: RunConfig, *, as_json: bool) -> None:
    """Try rising rates in a worker, draw them on stderr, and print the proposal on stdout.

    Args:
        config (RunConfig): The run that a rate is wanted for.
        as_json (bool): Whether stdout gets every rate and loss as JSON.
    """
    events = work(new_task_folder("find-lr"), FindRateTask(config), make_display("plain"))
    tried = [event for event in events if isinstance(event, RateTried)]
    proposed = next(event for event in events if isinstance(event, RateProposed))
    for line in rate_chart(tried, proposed.learning_rate):
        say(line)
    if as_json:
        found = FoundRate(proposed.learning_rate, proposed.reason, tried)
        typer.echo(msgspec.json.encode(found).decode())
        return
    typer.echo(f"{proposed.learning_rate:.3g}")
    say(f"Use it: `--learning-rate {proposed.learning_rate:.3g}`.")
