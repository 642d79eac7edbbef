"""`ptune estimate`: memory and time of a training step, from a model's sizes alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ptune_tui.cli.talk import say
from ptune_tui.config import MethodName
from ptune_tui.errors import ModelError, UsageError

if TYPE_CHECKING:
    from ptune_tui.estimate import Estimate
    from ptune_tui.hardware import Machine
    from ptune_tui.model_numbers import ModelNumbers
    from ptune_tui.step_setting import Setting, TrainingKernel
    from ptune_tui.throughput import Throughput

CARD_GIGABYTES = (6, 8, 12)
_UNITS = {"mb": 10**6, "gb": 10**9, "mib": 1 << 20, "gib": 1 << 30}


def estimate(
    model: Annotated[
        str,
        typer.Option(
            help="`default`, a config.json or its folder, a GGUF file, a cached model, or a "
            "well-known name such as Llama-3.2-1B."
        ),
    ] = "default",
    method: Annotated[MethodName, typer.Option(help="What is trained.")] = "prompt",
    num_virtual_tokens: Annotated[int, typer.Option(help="Length of the prompt.", min=1)] = 20,
    batch_size: Annotated[int, typer.Option(help="Rows a step.", min=1)] = 32,
    micro_batch_size: Annotated[
        int, typer.Option(help="Rows computed at a time; 0: as memory allows.", min=0)
    ] = 0,
    tokens: Annotated[int, typer.Option(help="Tokens of a row, padding included.", min=1)] = 64,
    label_tokens: Annotated[
        int, typer.Option(help="Tokens of a row that the loss is taken on.", min=1)
    ] = 2,
    mlp_size: Annotated[
        int, typer.Option(help="Of `residual`, `p-tuning`, reparametrised `prefix`.", min=1)
    ] = 128,
    rank: Annotated[int, typer.Option(help="Of `lowrank`.", min=1)] = 64,
    reparametrise: Annotated[
        bool, typer.Option("--reparametrise", help="Train `prefix` through an MLP.")
    ] = False,
    kernel: Annotated[
        Literal["auto", "stream", "cached", "int8"],
        typer.Option(help="How products are computed; `auto`: the first that fits."),
    ] = "auto",
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute layers again in the backward pass.")
    ] = False,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
    memory: Annotated[
        str | None, typer.Option(help="Such as `8GB`; left out: what is free here.")
    ] = None,
    threads: Annotated[int, typer.Option(help="Processor threads; 0: all cores.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """Say what a training step takes, and the largest settings that fit."""
    from ptune_tui.hardware import compiles_passes, machine
    from ptune_tui.step_setting import Setting

    numbers = _numbers(model)
    here = machine()
    available = _bytes_of(memory) if memory else _free_bytes(here, device)
    wanted = Setting(
        method=method,
        num_virtual_tokens=num_virtual_tokens,
        batch_size=batch_size,
        micro_batch_size=micro_batch_size,
        num_row_tokens=tokens,
        num_label_tokens=label_tokens,
        checkpointing=checkpointing,
        device=device,
        mlp_size=mlp_size,
        rank=rank,
        reparametrise=reparametrise,
        has_compiled_passes=compiles_passes(),
    )
    report = _Report(model, numbers, wanted, kernel, available, _throughput(here, device, threads))
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        for line in report.lines():
            typer.echo(line)
    if numbers.assumption:
        say(f"note: {numbers.assumption}")
    if device == "cuda":
        say(
            "note: on CUDA memory was seen in two runs of the default model (docs/models.md); "
            "time was not measured."
        )
    if available is None:
        say("note: no NVIDIA card was found here; `--memory 8GB` says what a card has.")


class _Report:
    """One estimate, in lines and as JSON."""

    def __init__(
        self,
        model: str,
        numbers: ModelNumbers,
        wanted: Setting,
        kernel: Literal["auto", "stream", "cached", "int8"],
        available: int | None,
        throughput: Throughput | None,
    ) -> None:
        from ptune_tui import estimate as estimating
        from ptune_tui.limits import auto_kernels, first_that_fits, limits

        kernels = auto_kernels(throughput) if kernel == "auto" else (kernel,)
        self.model = model
        self.numbers = numbers
        self.available = available
        self.throughput = throughput
        # Where it is not known what is free, the kernel that is fastest is taken.
        room = 1 << 60 if available is None else available
        self.setting = first_that_fits(numbers, wanted, room, kernels)
        self.estimate: Estimate = estimating.estimate(numbers, self.setting, throughput)
        self.verdict = None if available is None else estimating.fit(self.peak, available)
        self.limits = None if available is None else limits(numbers, self.setting, available)
        self.cards = _largest_models(wanted, kernels) if wanted.device == "cuda" else None

    @property
    def peak(self) -> int:
        return self.estimate.peak_bytes

    def as_json(self) -> dict[str, object]:
        from ptune_tui import estimate as estimating
        from ptune_tui.step_setting import is_fused

        return {
            "model": self.model,
            "num_parameters": self.numbers.num_parameters,
            "setting": asdict(self.setting),
            "is_fused": is_fused(self.numbers, self.setting),
            "parts": self.estimate.parts,
            "peak_bytes": self.peak,
            "available_bytes": self.available,
            "verdict": self.verdict,
            "memory_source": estimating.coefficients(self.numbers, self.setting).source,
            "seconds": self.estimate.seconds,
            "tokens_per_second": self.estimate.tokens_per_second,
            "speed_of": self.throughput.name if self.throughput else None,
            "speed_source": self.estimate.speed_source,
            "largest": None if self.limits is None else asdict(self.limits),
            "largest_model_by_card": self.cards,
            "assumption": self.estimate.assumption,
        }

    def lines(self) -> list[str]:
        from ptune_tui.step_setting import is_fused
        from ptune_tui.tui.wording import bytes_text, seconds_text

        setting, width = self.setting, 18
        rows = f"{setting.batch_size} x {setting.num_row_tokens} tokens"
        if setting.num_micro_batches > 1:
            rows += f" ({setting.num_rows} rows at a time)"
        kernel = setting.kernel + (", checkpointing" if setting.checkpointing else "")
        kernel += ", fused" if is_fused(self.numbers, setting) else ""
        lines = [
            f"{self.model}, {self.numbers.num_parameters / 1e6:,.0f} M weights; {setting.method}, "
            f"{setting.num_virtual_tokens} virtual tokens; {rows}; {kernel}; {setting.device}"
        ]
        for name, num_bytes in self.estimate.parts.items():
            if num_bytes:
                lines.append(f"{name:{width}}{bytes_text(num_bytes):>10}")
        lines.append(f"{'peak':{width}}{bytes_text(self.peak):>10}")
        if self.available is not None:
            lines.append(f"{self.verdict}: {bytes_text(self.peak)} of {bytes_text(self.available)}")
        seconds, speed = self.estimate.seconds, self.estimate.tokens_per_second
        if seconds is None or speed is None or self.throughput is None:
            lines.append("time: this machine's speed is not known")
        else:
            lines.append(
                f"{seconds_text(seconds)} a step, {speed:,.0f} tokens/s "
                f"({self.throughput.name}: {self.throughput.source})"
            )
        if self.limits is not None:
            lines.append(
                f"largest that fits, one at a time: {self.limits.num_rows:,} rows, "
                f"{self.limits.num_row_tokens:,} tokens a row, "
                f"{self.limits.num_virtual_tokens:,} virtual tokens"
            )
        for card, largest in (self.cards or {}).items():
            lines.append(f"largest model in {card}: {largest or 'none of the known ones'}")
        return lines


def _largest_models(wanted: Setting, kernels: Sequence[TrainingKernel]) -> dict[str, str | None]:
    """By card, the largest well-known model that trains in its memory, and its rows at a time."""
    from ptune_tui.known_models import KNOWN_MODELS
    from ptune_tui.limits import first_that_fits

    largest: dict[str, str | None] = {f"{size} GB": None for size in CARD_GIGABYTES}
    for size in CARD_GIGABYTES:
        for name, numbers in KNOWN_MODELS.items():
            setting = first_that_fits(numbers, wanted, size << 30, kernels)
            if _fits(numbers, setting, size << 30):
                rows = "row" if setting.num_rows == 1 else "rows"
                largest[f"{size} GB"] = f"{name} ({setting.num_rows} {rows} at a time)"
    return largest


def _fits(numbers: ModelNumbers, setting: Setting, num_bytes: int) -> bool:
    from ptune_tui.estimate import estimate, fit

    return fit(estimate(numbers, setting).peak_bytes, num_bytes) == "fits"


def _numbers(model: str) -> ModelNumbers:
    from ptune_tui.known_models import KNOWN_MODELS, numbers_of

    numbers = numbers_of(model)
    if numbers is None:
        raise ModelError(
            f"There is no model `{model}` on this disk.",
            "Name a config.json, a model folder, a GGUF file, or one of "
            f"{', '.join(KNOWN_MODELS)}.",
        )
    return numbers


def _free_bytes(here: Machine, device: str) -> int | None:
    if device == "cuda":
        return here.accelerator.free_memory_bytes if here.accelerator else None
    return here.available_memory_bytes


def _throughput(here: Machine, device: str, num_threads: int) -> Throughput | None:
    from ptune_tui.hardware import default_num_threads
    from ptune_tui.throughput import card_throughput, processor_throughput

    if device == "cuda":
        return card_throughput(here.accelerator.name if here.accelerator else None)
    return processor_throughput(here.processor_flags, num_threads or default_num_threads())


def _bytes_of(text: str) -> int:
    """Bytes of a size such as `8GB` or `512 MiB`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", text)
    unit = _UNITS.get(match[2].lower()) if match else None
    num_bytes = int(float(match[1]) * unit) if match and unit else 0
    if num_bytes == 0:
        raise UsageError(
            f"`--memory {text}` is no amount of memory.", "Write it as `8GB` or `7.5GiB`."
        )
    return num_bytes
