"""`ptune models`, `ptune runs` and `ptune doctor`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ptune_tui.cli.talk import ProgressLine, say

JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def models(
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch the default model if it is not cached.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models that are cached."""
    from ptune_tui.models import cached_models
    from ptune_tui.paths import models_folder

    if fetch:
        fetch_default_model()
    cached = cached_models()
    if as_json:
        typer.echo(msgspec.json.encode(cached, enc_hook=str).decode())
        return
    if not cached:
        say(f"No models in {models_folder()}; `ptune models --fetch` gets the default one.")
    for model in cached:
        licence = model.licence or "licence unknown"
        typer.echo(f"{model.name}  {model.num_bytes / 1e6:.0f} MB  {licence}  {model.path}")


def fetch_default_model() -> Path:
    """Fetch the default model, with progress on stderr, unless it is cached."""
    from ptune_tui.models import fetch_default

    line = ProgressLine()
    path = fetch_default(
        lambda done, total: line.show("fetching the default model", done, total), say
    )
    line.close()
    return path


def runs(as_json: JsonOption = False) -> None:
    """List the runs."""
    from ptune_tui.run_listing import RunListing

    listing = RunListing()
    found = listing.read(on_unreadable=say)
    if as_json:
        typer.echo(json.dumps([msgspec.to_builtins(run, enc_hook=str) for run in found]))
        return
    if not found:
        say(f"No runs in {listing.folder}; `ptune train` or `ptune demo` makes one.")
    for run in found:
        name, best, base = "accuracy", run.best_accuracy, run.base_accuracy
        if run.is_free_text:  # a good answer hardly ever is the expected one to the letter
            name, best, base = "validation loss", run.best_loss, run.base_loss
        started = (
            "-"
            if run.started is None
            else time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
        )
        typer.echo(
            f"{run.name}  {run.status}  {started}  step {run.step}/{run.max_steps}  "
            f"{name} {_figure(best)} (base {_figure(base)})  {run.data}  {run.path}"
        )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def doctor(as_json: JsonOption = False) -> None:
    """Check the installation and say where everything lies."""
    from ptune_tui.doctor import checks

    found = checks()
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            typer.echo(f"{check.status:4}  {check.name:{width}}  {check.detail}")
            if check.hint:
                typer.echo(f"      {'':{width}}  hint: {check.hint}")
    if any(check.status == "fail" for check in found):
        raise typer.Exit(1)
