"""The options of `ptune train`; what each means is said once, in the configuration.

`with_settings` gives another command those that set a field of the configuration.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ptune_tui.command_line import read_template
from ptune_tui.config import (
    ComputeType,
    Device,
    Initialisation,
    Kernel,
    MethodName,
    PrefixType,
    RunConfig,
    Scheme,
    Scoring,
    Switch,
    description,
    override,
)
from ptune_tui.errors import UsageError
from ptune_tui.presets import PresetName

DisplayName = Literal["full", "plain", "json", "none"]


def _about(dotted: str, *names: str) -> Any:
    """An option for a field of the configuration."""
    text = description(dotted)
    return typer.Option(*names, help=f"{text[0].upper()}{text[1:]}.")


ConfigArgument = Annotated[Path | None, typer.Argument(help="A configuration file (TOML).")]
Model = Annotated[str | None, _about("model.source", "--model")]
SchemeOption = Annotated[Scheme | None, _about("model.scheme")]
KernelOption = Annotated[Kernel | None, _about("model.kernel")]
NumOutlierChannels = Annotated[int | None, _about("model.num_outlier_channels")]
PrefixTypeOption = Annotated[PrefixType | None, _about("model.prefix_type")]
DeviceOption = Annotated[Device | None, _about("model.device")]
ComputeTypeOption = Annotated[ComputeType | None, _about("model.compute_type")]
Data = Annotated[str | None, _about("data.train", "--data")]
Validation = Annotated[str | None, _about("data.validation")]
TemplateOption = Annotated[str | None, _about("data.template")]
PromptField = Annotated[str | None, _about("data.prompt_field")]
ResponseField = Annotated[str | None, _about("data.response_field")]
MaxTokens = Annotated[int | None, _about("data.max_tokens")]
ScoringOption = Annotated[Scoring | None, _about("data.scoring")]
Method = Annotated[MethodName | None, _about("method.name", "--method")]
NumVirtualTokens = Annotated[int | None, _about("method.num_virtual_tokens")]
Init = Annotated[Initialisation | None, _about("method.init")]
InitText = Annotated[str | None, _about("method.init_text")]
InitPrompt = Annotated[str | None, _about("method.init_prompt")]
MlpSize = Annotated[int | None, _about("method.mlp_size")]
Rank = Annotated[int | None, _about("method.rank")]
Reparametrise = Annotated[
    bool | None, _about("method.reparametrise", "--reparametrise/--no-reparametrise")
]
MaxSteps = Annotated[int | None, _about("training.max_steps")]
BatchSize = Annotated[int | None, _about("training.batch_size")]
MicroBatchSize = Annotated[int | None, _about("training.micro_batch_size")]
Checkpointing = Annotated[Switch | None, _about("training.checkpointing")]
BucketWidth = Annotated[int | None, _about("training.bucket_width")]
LearningRate = Annotated[float | None, _about("training.learning_rate")]
WarmupSteps = Annotated[int | None, _about("training.warmup_steps")]
WeightDecay = Annotated[float | None, _about("training.weight_decay")]
MaxGradientNorm = Annotated[float | None, _about("training.max_gradient_norm")]
EvaluateEvery = Annotated[int | None, _about("training.evaluate_every")]
MaxValidationRows = Annotated[int | None, _about("training.max_validation_rows")]
EarlyStopping = Annotated[int | None, _about("training.early_stopping")]
SaveEvery = Annotated[int | None, _about("training.save_every")]
Seed = Annotated[int | None, _about("training.seed")]
Threads = Annotated[int | None, _about("training.num_threads", "--threads")]
Preset = Annotated[
    PresetName | None,
    typer.Option(help="Method, length and steps from the data's size; other options win over it."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder.")]
Resume = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="Go on with a run from its last checkpoint, bit for bit."),
]
FindRate = Annotated[
    bool,
    typer.Option(
        "--find-lr",
        help="Try rising learning rates, draw loss against rate, print the rate to use; "
        "no run is made.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="With `--find-lr`: every rate and loss as JSON on stdout.")
]
Display = Annotated[
    DisplayName, typer.Option(help="`full` opens the app; `json` writes the events to stdout.")
]

_IMPOSSIBLE = re.compile(r"^the options: (.+) - at `\$\.(\w+\.\w+)`$")
FIELDS = {
    "model": "model.source",
    "scheme": "model.scheme",
    "kernel": "model.kernel",
    "num_outlier_channels": "model.num_outlier_channels",
    "prefix_type": "model.prefix_type",
    "device": "model.device",
    "compute_type": "model.compute_type",
    "data": "data.train",
    "validation": "data.validation",
    "template": "data.template",
    "prompt_field": "data.prompt_field",
    "response_field": "data.response_field",
    "max_tokens": "data.max_tokens",
    "scoring": "data.scoring",
    "method": "method.name",
    "num_virtual_tokens": "method.num_virtual_tokens",
    "init": "method.init",
    "init_text": "method.init_text",
    "init_prompt": "method.init_prompt",
    "mlp_size": "method.mlp_size",
    "rank": "method.rank",
    "reparametrise": "method.reparametrise",
    "max_steps": "training.max_steps",
    "batch_size": "training.batch_size",
    "micro_batch_size": "training.micro_batch_size",
    "checkpointing": "training.checkpointing",
    "bucket_width": "training.bucket_width",
    "learning_rate": "training.learning_rate",
    "warmup_steps": "training.warmup_steps",
    "weight_decay": "training.weight_decay",
    "max_gradient_norm": "training.max_gradient_norm",
    "evaluate_every": "training.evaluate_every",
    "max_validation_rows": "training.max_validation_rows",
    "early_stopping": "training.early_stopping",
    "save_every": "training.save_every",
    "seed": "training.seed",
    "threads": "training.num_threads",
}
"""The field that each option sets, by the parameter of `train`."""


def changes(options: Mapping[str, Any]) -> dict[str, Any]:
    r"""What a command line asks for, by the configuration's dotted names; None where it does not.

    Args:
        options (Mapping[str, Any]): Values by parameter, others among them. `\n` in a template
            means a line break.
    """
    asked = {field: options[name] for name, field in FIELDS.items()}
    template: str | None = asked["data.template"]
    asked["data.template"] = None if template is None else read_template(template)
    return asked


def with_changes(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A configuration with what a command line asks for.

    Args:
        config (RunConfig): What to start from.
        changes (Mapping[str, Any]): Values by dotted name; None where it asks for nothing.

    Raises:
        UsageError: A value is impossible; names the option.
    """
    try:
        return override(config, dict(changes))
    except UsageError as error:
        found = _IMPOSSIBLE.search(error.message)
        if found is None:
            raise
        reason, field = found.groups()
        name = next(name for name, dotted in FIELDS.items() if dotted == field)
        option = f"--{name.replace('_', '-')}"
        raise UsageError(
            f"`{option} {changes[field]}` is impossible: {reason[0].lower()}{reason[1:]}.",
            "`ptune train --help` describes every option.",
        ) from None


def with_settings(
    like: Callable[..., None], without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command every option of another one that sets a field; it gets them as `asked`.

    Args:
        like (Callable[..., None]): The command that has them, `train`.
        without (Collection[str]): Parameters that mean nothing to the new command.
    """
    settings = [
        parameter
        for parameter in inspect.signature(like, eval_str=True).parameters.values()
        if parameter.name in FIELDS and parameter.name not in without
    ]

    def give(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != "asked"
        ]

        def run(**options: Any) -> None:
            command(
                asked=changes(dict.fromkeys(FIELDS) | options),
                **{parameter.name: options[parameter.name] for parameter in own},
            )

        run.__doc__ = command.__doc__
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                for parameter in (*own, *settings)
            ]
        )
        return run

    return give
