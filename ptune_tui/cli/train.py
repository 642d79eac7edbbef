"""`ptune train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ptune_tui import config as configuration
from ptune_tui.cli import train_options as option
from ptune_tui.cli.display import minutes
from ptune_tui.cli.talk import say
from ptune_tui.cli.work import make_display, work
from ptune_tui.config import RunConfig
from ptune_tui.errors import EXIT_CODES, UsageError
from ptune_tui.events import EvaluationDone, Event, TaskFinished
from ptune_tui.paths import runs_folder
from ptune_tui.presets import DataSize, PresetName, preset_sentence, preset_values
from ptune_tui.run_files import some_names
from ptune_tui.runs import find_run, resumable_config, summarise
from ptune_tui.tasks import TASK_FILE, TrainTask, new_folder, with_absolute_paths


def train(
    config: option.ConfigArgument = None,
    model: option.Model = None,
    data: option.Data = None,
    validation: option.Validation = None,
    template: option.TemplateOption = None,
    preset: option.Preset = None,
    method: option.Method = None,
    num_virtual_tokens: option.NumVirtualTokens = None,
    init: option.Init = None,
    init_text: option.InitText = None,
    init_prompt: option.InitPrompt = None,
    mlp_size: option.MlpSize = None,
    rank: option.Rank = None,
    reparametrise: option.Reparametrise = None,
    max_steps: option.MaxSteps = None,
    batch_size: option.BatchSize = None,
    micro_batch_size: option.MicroBatchSize = None,
    checkpointing: option.Checkpointing = None,
    bucket_width: option.BucketWidth = None,
    learning_rate: option.LearningRate = None,
    warmup_steps: option.WarmupSteps = None,
    weight_decay: option.WeightDecay = None,
    max_gradient_norm: option.MaxGradientNorm = None,
    evaluate_every: option.EvaluateEvery = None,
    max_validation_rows: option.MaxValidationRows = None,
    early_stopping: option.EarlyStopping = None,
    save_every: option.SaveEvery = None,
    max_tokens: option.MaxTokens = None,
    scoring: option.ScoringOption = None,
    prompt_field: option.PromptField = None,
    response_field: option.ResponseField = None,
    scheme: option.SchemeOption = None,
    kernel: option.KernelOption = None,
    num_outlier_channels: option.NumOutlierChannels = None,
    prefix_type: option.PrefixTypeOption = None,
    device: option.DeviceOption = None,
    compute_type: option.ComputeTypeOption = None,
    seed: option.Seed = None,
    threads: option.Threads = None,
    out: option.Out = None,
    resume: option.Resume = None,
    find_rate: option.FindRate = False,
    as_json: option.AsJson = False,
    display: option.Display = "plain",
) -> None:
    """Train a soft prompt."""
    changes = option.changes(locals())
    if as_json and not find_rate:
        raise UsageError(
            "`--json` goes with `--find-lr`.", "For a run's events as JSON: `--display json`."
        )
    if display == "full":
        from ptune_tui.cli.app import require_terminal

        require_terminal("Leave `--display full` out: `plain` needs none.")
    if resume is not None:
        if config or preset or out or find_rate:
            raise UsageError(
                "`--resume` takes configuration, preset and folder from the run itself.",
                "Leave out CONFIG, `--preset`, `--out` and `--find-lr`.",
            )
        folder = find_run(resume)
        _train(folder, resumed_task(folder, changes), display)
        return
    chosen = configuration.load(config) if config else RunConfig()
    chosen = option.with_changes(chosen, changes)
    require_sources(chosen)
    if preset is not None:
        chosen = with_preset(chosen, preset, changes)
    chosen = with_absolute_paths(chosen)
    if find_rate:
        from ptune_tui.cli.find_rate import find_learning_rate

        find_learning_rate(chosen, as_json=as_json)
        return
    _train(new_run(chosen, out), TrainTask(chosen), display)


def require_sources(config: RunConfig) -> None:
    """Refuse a model or rows that are not there, before a worker begins and leaves a failed run.

    Args:
        config (RunConfig): What is asked for.

    Raises:
        DataError: There is no such data set.
        ModelError: There is no such model.
    """
    from ptune_tui import models
    from ptune_tui.data import builtin_names
    from ptune_tui.reading.source import require_known

    for name in (config.data.train, config.data.validation):
        if name and name not in builtin_names():
            require_known(name)
    models.require_known(config.model.source)


def resumed_task(run: Path, changes: dict[str, Any]) -> TrainTask:
    """The task that goes on with a run.

    Args:
        run (Path): Its folder.
        changes (dict[str, Any]): What the command line asks for; None where it asks for nothing.

    Raises:
        UsageError: The run cannot go on, or an option contradicts it.
    """
    config = resumable_config(run)
    asked = with_absolute_paths(option.with_changes(config, changes))
    different = configuration.differences(config, asked)
    if different:
        part, field = different[0].split(".")
        values = [getattr(getattr(each, part), field) for each in (asked, config)]
        raise UsageError(
            f"{run} cannot go on with {field} = {values[0]}: it was started with {values[1]}, and "
            "a resumed run computes what it would have computed.",
            "Leave the option out, or start another run.",
        )
    return TrainTask(config, resume=True)


def with_preset(config: RunConfig, name: PresetName, changes: dict[str, Any]) -> RunConfig:
    """The configuration that a preset and the command line come to; says so.

    Args:
        config (RunConfig): With the command line's values in it.
        name (PresetName): Which preset.
        changes (dict[str, Any]): The command line's values, which win.

    Raises:
        DataError: The data cannot be read.
    """
    from ptune_tui.data import load_data

    data = load_data(config.data, config.training.seed)
    characters = sum(len(row.prompt) + len(row.response) for row in data.train)
    size = DataSize(len(data.train), characters / len(data.train), data.labels is not None)
    values = preset_values(name, size)
    values |= {key: changes[key] for key in values if changes[key] is not None}
    say(preset_sentence(name, size, values))
    return configuration.override(config, values)


def new_run(config: RunConfig, out: Path | None) -> Path:
    """The folder of a new run.

    Args:
        config (RunConfig): Its configuration, for a name.
        out (Path | None): The folder that was asked for; new or empty.

    Raises:
        UsageError: Something is there already.
    """
    if out is not None and (out / TASK_FILE).exists():
        raise UsageError(
            f"{out} holds a run already.",
            "Name another folder with `--out`, or go on with that run: `--resume`.",
        )
    if out is None:
        return new_folder(runs_folder(), Path(config.data.train).stem)
    _check_is_free(out)
    return out


def _check_is_free(out: Path) -> None:
    """Refuse a place with anything in it, so that a run's folder holds nothing but the run.

    Raises:
        UsageError: Something is there.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file.", "Name a folder that is new or empty with `--out`.")
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if names:
        raise UsageError(
            f"{out} is not empty; it holds {some_names(names)}.",
            f"Name a folder that is new or empty with `--out`: {out / 'my-run'}.",
        )


def _train(folder: Path, task: TrainTask, display: option.DisplayName) -> None:
    if display == "full":
        from ptune_tui.cli.app import open_training

        open_training(folder, task)
        return
    events = work(folder, task, make_display(display))
    if display == "plain":
        for line in summary_lines(folder, events):
            say(line)
    finished = events[-1]
    if isinstance(finished, TaskFinished) and finished.stopped_early:
        raise typer.Exit(EXIT_CODES["interrupted"])


def summary_lines(folder: Path, events: list[Event]) -> list[str]:
    """What a finished run came to, and the next commands to try."""
    finished = events[-1]
    assert isinstance(finished, TaskFinished)
    scores = [event for event in events if isinstance(event, EvaluationDone)]
    base = next(
        (event.accuracy for event in reversed(scores) if not event.tuned),
        finished.summary.get("base_accuracy"),
    )
    tuned = finished.summary.get("accuracy")
    lines = [""]
    run = summarise(folder)
    name = "Accuracy"
    if run.is_free_text and run.best_loss is not None and run.base_loss is not None:
        name, base, tuned = "Validation loss", run.base_loss, run.best_loss
    if tuned is not None and base is not None:
        lines.append(
            f"{name} {float(base):.3f} without, {float(tuned):.3f} with the soft prompt "
            f"(step {finished.summary['best_step']}), in {minutes(finished.seconds)}."
        )
    else:
        lines.append("Stopped before anything was saved.")
        return lines
    lines += [f"Run: {folder}", "Next:"]
    if finished.stopped_early:
        lines.append(f"  ptune train --resume {folder}")
    return [
        *lines,
        f"  ptune export {folder} --out {folder.name}-bundle",
        f"  ptune eval {folder} --data FILE",
        f"  ptune report {folder}",
    ]
