"""The configuration of a run: one struct a part, one documented line a field, read from TOML.

The command line, the app and the worker all speak `RunConfig`; the engine gets plain arguments.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tomli_w
from msgspec import Meta, Struct

from ptune_tui.errors import UsageError

Scheme = Literal["int4", "nf4"]
Kernel = Literal["auto", "stream", "cached", "int8"]
Device = Literal["auto", "cpu", "cuda", "mps"]
ComputeType = Literal["auto", "float32", "bfloat16", "float16"]
FloatType = Literal["float32", "bfloat16"]
PrefixType = Literal["auto", "float32", "bfloat16"]
MethodName = Literal["prompt", "residual", "lowrank", "p-tuning", "prefix"]
Initialisation = Literal["text", "labels", "vocabulary", "prompt"]
Switch = Literal["auto", "on", "off"]
Scoring = Literal["auto", "labels", "text"]

Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Which frozen model, and on which grid."""

    source: Annotated[
        str, Meta(description="`default`, a model folder, a GGUF file or a hub id")
    ] = "default"
    scheme: Annotated[
        Scheme, Meta(description="grid for float checkpoints; a GGUF file brings its own")
    ] = "int4"
    kernel: Annotated[
        Kernel,
        Meta(
            description="`stream` dequantises inside each call, `cached` keeps a float copy, "
            "`int8` trains in integer arithmetic"
        ),
    ] = "auto"
    num_outlier_channels: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="loudest input channels that `int8` keeps in float32"),
    ] = 8
    prefix_type: Annotated[
        PrefixType,
        Meta(
            description="products of the tokens before the rows beside `int8`; `auto`: bfloat16 "
            "on processors that multiply it"
        ),
    ] = "auto"
    device: Annotated[Device, Meta(description="where to train; `auto`: CUDA, else the CPU")] = (
        "auto"
    )
    compute_type: Annotated[
        ComputeType, Meta(description="of activations; `auto`: float32 on a CPU, bfloat16 on CUDA")
    ] = "auto"


class DataConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows, and how a row becomes text."""

    train: Annotated[
        str,
        Meta(description="file, folder or hub id `owner/name`, `:split` behind; or a built-in set"),
    ] = "support_inbox"
    validation: Annotated[
        str | None,
        Meta(
            description="the same; left out, the set's own split or a tenth of the different inputs"
        ),
    ] = None
    template: Annotated[
        str | None,
        Meta(
            description="text with {prompt} and optionally {response}, Jinja over columns, or "
            "`chat`; left out: auto"
        ),
    ] = None
    prompt_field: Annotated[
        str | None, Meta(description="name of the input column; left out: recognised")
    ] = None
    response_field: Annotated[
        str | None, Meta(description="name of the answer column; left out: recognised")
    ] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=8)],
        Meta(description="longest row in tokens; a longer prompt is cut from the left"),
    ] = 512
    scoring: Annotated[
        Scoring, Meta(description="`labels`: a closed set of responses; `text`: free text")
    ] = "auto"


class MethodConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What is trained."""

    name: Annotated[
        MethodName,
        Meta(
            description="`prefix` trains keys and values of every layer; the others train virtual "
            "tokens"
        ),
    ] = "prompt"
    num_virtual_tokens: Annotated[Count, Meta(description="length of the soft prompt")] = 20
    init: Annotated[Initialisation, Meta(description="where the first values come from")] = "text"
    init_text: Annotated[
        str | None, Meta(description='text for `init = "text"`; left out: made from the labels')
    ] = None
    init_prompt: Annotated[
        str | None, Meta(description='run or PEFT adapter folder for `init = "prompt"`')
    ] = None
    mlp_size: Annotated[
        Count,
        Meta(description="hidden width of `residual`, `p-tuning` and a reparametrised `prefix`"),
    ] = 128
    rank: Annotated[Count, Meta(description="of `lowrank`")] = 64
    reparametrise: Annotated[
        bool, Meta(description="whether `prefix` is trained through an MLP that is folded at save")
    ] = False


class TrainingConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How it is trained."""

    max_steps: Annotated[Count, Meta(description="optimiser steps")] = 300
    batch_size: Annotated[Count, Meta(description="rows a step")] = 32
    micro_batch_size: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="rows computed at a time, gradients are summed; 0: as memory allows"),
    ] = 0
    checkpointing: Annotated[
        Switch, Meta(description="recompute layers in the backward pass; less memory, slower")
    ] = "auto"
    bucket_width: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="rows are padded to a multiple of so many tokens; 0: chosen"),
    ] = 0
    learning_rate: Annotated[
        Positive | None,
        Meta(
            description="peak rate, in units of the standard deviation of the first values; "
            "left out: the method's own"
        ),
    ] = None
    warmup_steps: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="steps of linear warm-up; at most a tenth of all steps"),
    ] = 20
    weight_decay: Annotated[
        Annotated[float, Meta(ge=0)], Meta(description="AdamW's decoupled decay")
    ] = 0.0
    max_gradient_norm: Annotated[Positive, Meta(description="the gradient is clipped to it")] = 1.0
    evaluate_every: Annotated[Count, Meta(description="steps between validations")] = 50
    early_stopping: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="stop after so many validations without a better one; 0: never"),
    ] = 0
    save_every: Annotated[
        Count, Meta(description="steps between checkpoints that a run can be resumed from")
    ] = 25
    max_validation_rows: Annotated[
        Count, Meta(description="rows of each validation while training; the last uses all")
    ] = 400
    seed: Annotated[Annotated[int, Meta(ge=0)], Meta(description="of every random choice")] = 0
    num_threads: Annotated[
        Annotated[int, Meta(ge=0)],
        Meta(description="processor threads; 0: OMP_NUM_THREADS, else all cores"),
    ] = 0


class RunConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a run needs; also the file `config.toml` of a run folder."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    method: MethodConfig = MethodConfig()
    training: TrainingConfig = TrainingConfig()


def load(path: Path) -> RunConfig:
    """Read a configuration file.

    Args:
        path (Path): A TOML file.

    Raises:
        UsageError: The file is missing, is not TOML, or holds an unknown or impossible value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"There is no configuration file {path}.", "Check the path, or leave it out."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}", "Mend the named line.") from None
    return parse(raw, str(path))


def parse(raw: dict[str, Any], where: str) -> RunConfig:
    """Check a decoded configuration.

    Args:
        raw (dict[str, Any]): Tables as TOML gives them.
        where (str): What to name in an error.

    Raises:
        UsageError: A key is unknown or a value impossible; names the key.
    """
    try:
        return msgspec.convert(raw, RunConfig)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}", _nearest_key_hint(str(error))) from None


def dump(config: RunConfig) -> str:
    """The configuration as TOML, without the fields that are unset."""
    tables = {
        part: {key: value for key, value in fields.items() if value is not None}
        for part, fields in msgspec.to_builtins(config).items()
    }
    return tomli_w.dumps(tables)


def override(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """A copy of a configuration with some fields replaced.

    Args:
        config (RunConfig): What to start from.
        changes (dict[str, Any]): Values by dotted name (`training.seed`); None leaves a field.

    Raises:
        UsageError: A value is impossible.
    """
    raw = msgspec.to_builtins(config)
    for dotted, value in changes.items():
        if value is not None:
            part, field = dotted.split(".")
            raw[part][field] = value
    return parse(raw, "the options")


def field_names() -> list[str]:
    """Every field's dotted name, in order."""
    return [
        f"{part.name}.{field.name}"
        for part in msgspec.structs.fields(RunConfig)
        for field in msgspec.structs.fields(part.type)
    ]


def description(dotted: str) -> str:
    """What a field means, as its own documentation says it.

    Args:
        dotted (str): Its name (`training.seed`).
    """
    part, field = dotted.split(".")
    parts: Any = msgspec.inspect.type_info(RunConfig)
    kinds = {found.name: found.type for found in parts.fields}
    fields = {found.name: found.type for found in kinds[part].fields}
    text: str = fields[field].extra_json_schema["description"]
    return text


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """Dotted names of the fields in which two configurations differ."""
    raws = msgspec.to_builtins(one), msgspec.to_builtins(other)
    return [
        name
        for name in field_names()
        if len({repr(raw[name.split(".")[0]][name.split(".")[1]]) for raw in raws}) > 1
    ]


def _nearest_key_hint(message: str) -> str:
    """A hint that names the known key nearest to an unknown one."""
    if "unknown field" not in message:
        return "Change the value; `ptune train --help` describes every field."
    unknown = message.split("`")[1]
    known = [name.split(".")[1] for name in field_names()] + ["model", "data", "method", "training"]
    near = difflib.get_close_matches(unknown, known, n=1)
    return f"Did you mean `{near[0]}`?" if near else f"Known fields: {', '.join(sorted(known))}."
