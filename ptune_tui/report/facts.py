"""What a run was: settings, data, versions, machine, times, and what was said on the way."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ptune_tui.config import RunConfig, description, differences
from ptune_tui.events import Diverged, Notice, Resumed, RolledBack, TaskFailed
from ptune_tui.report.words import duration, grouped, moment, number_of_bytes
from ptune_tui.run_history import RunHistory, Trouble

_STAGES = {
    "load": "Loading the model",
    "tokenise": "Reading and tokenising rows",
    "probe": "Choosing how steps are computed",
    "train": "Training, validations included",
    "evaluate": "Validations",
}


@dataclass(frozen=True)
class Fact:
    """A name and what it is; a hash or a number of a program is set as code."""

    name: str
    value: str
    is_code: bool = False


@dataclass(frozen=True)
class Setting:
    """One field of the configuration."""

    name: str
    value: str
    meaning: str
    is_changed: bool


@dataclass(frozen=True)
class Remark:
    """Something that was said: what kind, the sentence, and what to do about it."""

    kind: str
    text: str
    hint: str


def settings(config: RunConfig) -> list[Setting]:
    """Every field of a configuration.

    Args:
        config (RunConfig): Of the run.
    """
    changed = set(differences(config, RunConfig()))
    found = []
    for part, fields in msgspec.to_builtins(config).items():
        for field, value in fields.items():
            name = f"{part}.{field}"
            shown = "left out" if value is None else str(value)
            found.append(Setting(name, shown, description(name), name in changed))
    return found


def model_facts(history: RunHistory) -> list[Fact]:
    """The frozen model and how its steps were computed."""
    model, plan, found = history.model, history.plan, []
    if model is not None:
        exact = (
            "taken exactly"
            if model.relative_error is None
            else (f"relative error of the weights {model.relative_error:.2g}")
        )
        found += [
            Fact("Model", f"{model.name} ({model.family})"),
            Fact(
                "Size",
                f"{model.num_parameters / 1e6:.3g} M parameters, {model.num_layers} "
                f"layers of {model.hidden_size}",
            ),
            Fact("Weights", f"{model.scheme}, {number_of_bytes(model.quantised_bytes)}, {exact}"),
            Fact("sha256 of the weights", model.weights_hash, is_code=True),
        ]
    if plan is not None:
        found.append(
            Fact(
                "Steps computed",
                f"kernel {plan.kernel}, {plan.compute_type} on {plan.device}, "
                f"{plan.micro_batch_size} rows at a time",
            )
        )
    return found


def data_facts(history: RunHistory) -> list[Fact]:
    """The rows, and the files they came from."""
    data, found = history.data, []
    if data is not None:
        labels = "free text" if data.labels is None else f"{len(data.labels)} labels"
        found += [
            Fact(
                "Rows",
                f"{grouped(data.num_train_rows)} to train on, "
                f"{grouped(data.num_validation_rows)} to validate, {labels}",
            ),
            Fact(
                "Tokens a row",
                f"{data.mean_row_tokens:.1f} on average, {data.max_row_tokens} at "
                f"most; {data.num_cut_rows} prompts were cut",
            ),
            Fact("Template", data.template, is_code=True),
        ]
    if history.provenance is not None:
        for file in history.provenance.files:
            role = "Training" if file.role == "train" else "Validation"
            found.append(Fact(f"{role} file", f"{file.path}, {number_of_bytes(file.num_bytes)}"))
            found.append(Fact("its sha256", file.sha256, is_code=True))
        found.append(Fact("sha256 of all rows in tokens", history.provenance.rows_hash, True))
    return found


def machine_facts(history: RunHistory) -> list[Fact]:
    """Hardware and versions, where the run noted them."""
    noted = history.provenance
    if noted is None:
        return []
    cores = f", {noted.num_usable_cores} cores" if noted.num_usable_cores else ""
    memory = noted.total_memory_bytes
    found = [Fact("Processor", f"{noted.processor or 'unknown'}{cores}")]
    if memory:
        found.append(Fact("Memory", number_of_bytes(memory)))
    if noted.accelerator:
        found.append(Fact("Graphics card", noted.accelerator))
    found.append(Fact("System", noted.system))
    versions = ", ".join(f"{name} {version}" for name, version in noted.versions.items())
    return [*found, Fact("Versions", versions)]


def time_facts(history: RunHistory) -> list[Fact]:
    """When and how long, and how much memory."""
    found = [Fact("Started", moment(when)) for when in history.started[:1]]
    if len(history.started) > 1:
        found.append(Fact("Resumed", f"{len(history.started) - 1} times"))
    found += [
        Fact(_STAGES[stage], duration(seconds))
        for stage, seconds in history.stage_seconds.items()
        if stage in _STAGES
    ]
    if history.steps:
        speeds = sorted(step.tokens_per_second for step in history.steps)
        peak = max(step.peak_memory_bytes for step in history.steps)
        found.append(Fact("Speed", f"{grouped(speeds[len(speeds) // 2])} tokens/s (median)"))
        found.append(Fact("Memory at most", number_of_bytes(peak)))
    return found


def remarks(history: RunHistory) -> list[Remark]:
    """What the user should know of the run, in order."""
    found = [_remark(event) for event in history.said]
    if history.num_unreadable_lines:
        text = f"{history.num_unreadable_lines} lines of the event file could not be read."
        found.append(Remark("report", text, "They are damaged, or of a newer version of ptune."))
    return found


def _remark(event: Trouble) -> Remark:
    match event:
        case Notice():
            return Remark(event.code, event.message, event.hint)
        case Diverged():
            return Remark("diverged", f"The {event.what} of step {event.step} {event.reason}.", "")
        case RolledBack():
            rate = f"with a peak rate of {event.learning_rate:.3g}"
            return Remark("rolled-back", f"Training went on from step {event.to_step} {rate}.", "")
        case Resumed():
            return Remark("resumed", f"The run was resumed behind step {event.step}.", "")
        case TaskFailed():
            return Remark("failed", event.message, event.hint)
