"""`ptune bench`: speed beside other programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ptune_tui.cli.bench_run import run
from ptune_tui.cli.work import make_display, work
from ptune_tui.command_line import read_template
from ptune_tui.errors import UsageError
from ptune_tui.jobs import new_task_folder
from ptune_tui.tasks import RESULT_FILE, BenchTrainTask
from ptune_tui.training_speed import (
    CARD_KERNELS,
    KERNELS,
    PRECISIONS,
    REFERENCE,
    BenchDevice,
    BenchMethod,
    BenchSetting,
    ContenderSpeed,
    TrainingSpeed,
)

bench = typer.Typer(name="bench", help="Measure speed beside other programs.")
_DEFAULT = BenchSetting()
bench.command()(run)


@bench.callback()
def measure() -> None:
    """Measure speed beside other programs."""


@bench.command()
def train(
    model: Annotated[
        str, typer.Option(help="A folder, GGUF file, hub id, or `default`.")
    ] = _DEFAULT.model,
    data: Annotated[
        str, typer.Option(help="Rows, repeated and cut to exactly `--tokens` tokens.")
    ] = _DEFAULT.data,
    rows: Annotated[int, typer.Option(help="Rows a step.", min=1)] = _DEFAULT.num_rows,
    tokens: Annotated[
        int, typer.Option(help="Each row's own tokens, response included.", min=2)
    ] = _DEFAULT.num_tokens,
    num_virtual_tokens: Annotated[
        int, typer.Option(help="Length of the prompt.", min=1)
    ] = _DEFAULT.num_virtual_tokens,
    method: Annotated[
        BenchMethod, typer.Option(help="Virtual tokens, or keys and values of every layer.")
    ] = _DEFAULT.method,
    rounds: Annotated[
        int, typer.Option(help="Steps of each that count.", min=1)
    ] = _DEFAULT.num_rounds,
    threads: Annotated[
        int, typer.Option(help="Processor threads; 0: all cores.", min=0)
    ] = _DEFAULT.num_threads,
    device: Annotated[
        BenchDevice, typer.Option(help="Where all compute; memory is the card's on `cuda`.")
    ] = _DEFAULT.device,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Ours, of {', '.join(KERNELS)}; may be given several times.",
            show_default=f"{', '.join(_DEFAULT.kernels)}; on cuda {', '.join(CARD_KERNELS)}",
        ),
    ] = None,
    against: Annotated[
        str, typer.Option(help=f"PEFT's, of {', '.join(PRECISIONS)}; `none` for ours alone.")
    ] = ",".join(_DEFAULT.against),
    template: Annotated[str | None, typer.Option(help="How a row becomes text.")] = None,
    prompt_field: Annotated[
        str | None, typer.Option(help="Name of the input column; left out: recognised.")
    ] = None,
    response_field: Annotated[str, typer.Option(help="Name of the answer column.")] = "response",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure our training step beside that of PEFT and transformers.

    Same base, rows, threads and first prompt; the contenders take turns, step by step, each in a
    process of its own, and the median counts. Tokens are the rows' own.
    """
    from ptune_tui.data import builtin_names

    usual_kernels = CARD_KERNELS if device == "cuda" else _DEFAULT.kernels
    is_builtin = data in builtin_names()
    setting = BenchSetting(
        model=model,
        data=data if is_builtin else str(Path(data).absolute()),
        method=method,
        num_rows=rows,
        num_tokens=tokens,
        num_virtual_tokens=num_virtual_tokens,
        num_rounds=rounds,
        num_threads=threads,
        device=device,
        kernels=_checked("--kernel", kernel or usual_kernels, KERNELS),
        against=_checked("--against", [] if against == "none" else against.split(","), PRECISIONS),
        template=None if template is None else read_template(template),
        prompt_field=prompt_field,
        response_field=response_field,
    )
    folder = new_task_folder("bench-train")
    work(folder, BenchTrainTask(setting), make_display("none" if as_json else "plain"))
    content = (folder / RESULT_FILE).read_bytes()
    if as_json:
        typer.echo(content.decode())
        return
    for line in table(msgspec.json.decode(content, type=TrainingSpeed)):
        typer.echo(line)


def table(speed: TrainingSpeed) -> list[str]:
    """The figures as lines of text.

    Args:
        speed (TrainingSpeed): What was measured.
    """
    setting = speed.setting
    columns = ("tokens/s", "s/step", "memory", "speed", "memory", "cosine")
    lines = [
        f"{setting.model}, {setting.method}, {setting.device}: {setting.num_rows} rows of "
        f"{setting.num_tokens} tokens, {setting.num_virtual_tokens} virtual tokens, "
        f"{setting.num_threads} threads, medians of {setting.num_rounds} alternating steps",
        f"{'':16}" + "".join(f"{column:>10}" for column in columns),
        *(_line(contender) for contender in speed.contenders),
    ]
    if speed.fastest:
        lines.append(f"speed and the second memory: ratios to {speed.fastest}, PEFT's fastest")
    if REFERENCE in setting.against:
        lines.append(f"cosine: of the prompt's gradient with that of peft {REFERENCE}")
    lines += [
        f"{contender.name} was computed by {contender.computed_by}"
        for contender in speed.contenders
        if contender.side == "ptune" and contender.computed_by
    ]
    lines += [
        f"note: the steps of {contender.name} took {min(contender.step_seconds):.2f} to "
        f"{max(contender.step_seconds):.2f} s; measure again on a quiet machine"
        for contender in speed.contenders
        if contender.is_unsteady
    ]
    return lines


def _line(contender: ContenderSpeed) -> str:
    if contender.unavailable is not None:
        return f"{contender.name:16}  cannot run: {contender.unavailable}"
    cells = (
        _cell(contender.tokens_per_second, ".0f"),
        _cell(contender.seconds_per_step, ".3f"),
        _cell((contender.peak_memory_bytes or 0) / 1e9, ".2f", " GB"),
        _cell(contender.speed_ratio, ".2f", "x"),
        _cell(contender.memory_ratio, ".2f", "x"),
        _cell(contender.gradient_cosine, ".5f"),
    )
    return f"{contender.name:16}" + "".join(f"{cell:>10}" for cell in cells)


def _cell(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _checked(option: str, names: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        UsageError: One of them is not known.
    """
    chosen = tuple(dict.fromkeys(name.strip() for name in names))
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"`{option}` is one of {', '.join(known)}, not {name!r}.", "See `--help`."
            )
    return chosen
