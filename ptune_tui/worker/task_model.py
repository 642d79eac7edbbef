"""What every task that needs the model begins with: find it, load it, say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ptune_tui.config import ModelConfig
from ptune_tui.engine.card_products import dequantisation_notice
from ptune_tui.engine.model import FrozenModel, choose_kernel, load_frozen
from ptune_tui.engine.placement import choose_placement
from ptune_tui.events import (
    Event,
    ModelReady,
    Notice,
    StageFinished,
    StageProgress,
    StageStarted,
)
from ptune_tui.hardware import default_num_threads, environment_num_threads
from ptune_tui.models import resolve
from ptune_tui.worker.channel import Channel


@dataclass
class ModelStage:
    """Loads the model of a task; `frozen` is there once `events` is through."""

    config: ModelConfig
    num_threads: int
    channel: Channel
    frozen: FrozenModel | None = None

    def events(self) -> Iterator[Event]:
        """Load the model and say how it goes.

        Raises:
            UsageError: The device that was asked for is not there.
            ModelError: The model cannot be found or read.
        """
        torch.set_num_threads(self.num_threads or default_num_threads())
        if not self.num_threads and environment_num_threads() is not None:
            yield Notice(
                "num-threads",
                f"Threads of torch: {torch.get_num_threads()}, as OMP_NUM_THREADS says.",
                "`--threads` goes before it.",
            )
        yield StageStarted("load", time.time(), self.config.source)
        started = time.perf_counter()
        config = self.config
        placement = choose_placement(
            config.device, config.compute_type, config.scheme, config.kernel
        )
        yield Notice("device", placement.sentence, placement.warning)
        found = resolve(self.config.source, self._say_download, self._say_notice)
        kernel, reason = choose_kernel(found.path, self.config.kernel, placement.device)
        verb = "read" if found.kind == "gguf" else "quantise"
        frozen = load_frozen(
            found.path,
            found.name,
            self.config.scheme,
            kernel,
            lambda done, total, place: self._say_tensors(done, total, f"{verb} {place}"),
            device=placement.device,
            compute_dtype=placement.compute_dtype,
        )
        self.frozen = frozen
        yield Notice("kernel", f"Scores and answers use the kernel `{kernel}`: {reason}.")
        dequantisation = dequantisation_notice(frozen)
        if dequantisation is not None:
            yield dequantisation
        if found.kind == "gguf" and self.config.scheme != "int4":
            yield Notice(
                "scheme",
                f"`{self.config.scheme}` was asked for, but a GGUF file brings its own grid.",
                "Use a float checkpoint to choose the grid.",
            )
        yield from _peculiarities(frozen)
        yield model_ready(frozen)
        yield StageFinished("load", time.perf_counter() - started)

    def _say_download(self, done: int, total: int) -> None:
        self.channel.progress(StageProgress("load", done, total, "bytes of the model"))

    def _say_tensors(self, done: int, total: int, what: str) -> None:
        self.channel.progress(StageProgress("load", done, total, what))

    def _say_notice(self, sentence: str) -> None:
        self.channel.say(Notice("model", sentence))


def _peculiarities(frozen: FrozenModel) -> Iterator[Event]:
    """What makes a model slower than others of its size."""
    has_attention = hasattr(frozen.config, "num_attention_heads")
    if has_attention and frozen.config._attn_implementation == "eager":
        yield Notice(
            "attention",
            f"{frozen.config.model_type} computes attention step by step (`eager`): torch's fused "
            "attention lacks something that it needs.",
        )
    if not frozen.shares_prefix:
        yield Notice(
            "prefix",
            f"{frozen.config.model_type} keeps more than keys and values in its layers or makes "
            "its positions itself, so the prompt runs again in front of every row.",
            "The result is the same; a step takes longer the longer the prompt is.",
        )


def model_ready(frozen: FrozenModel) -> ModelReady:
    """The event that describes a loaded model."""
    report, config = frozen.loaded.report, frozen.config
    return ModelReady(
        name=frozen.name,
        family=config.model_type,
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        num_parameters=report.num_parameters,
        quantised_bytes=report.quantised_bytes,
        relative_error=report.relative_error,
        scheme=report.scheme,
        kernel=frozen.kernel,
        weights_hash=report.weights_hash,
        num_threads=torch.get_num_threads(),
    )
