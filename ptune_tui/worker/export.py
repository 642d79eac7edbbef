"""The task that exports a run to a bundle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from export.addition import PromptAddition
from export.bundle import read_manifest, total_bytes
from export.exported_model import ExportedModel
from export.gate import CONTINUATION_TOKENS, Built, Gate, Measured, Skipped, Traced, is_integer_grid
from export.gguf_folder import GGUFFolder
from export.manifest import read_bytes
from export.onnx_folder import OnnxFolder
from export.pace import Timed
from export.parity import MAX_KL_DIVERGENCE
from export.plain_model import PlainModel, quietest_token
from export.prompt_files import ExportedPrompt
from export.prompts import AnyPrompt, PrefixPrompt, TokenPrompt, virtual_tokens
from export.rowwise import Loudness
from export.transformers_folder import TransformersFolder
from export.writer import BundleWriter, Step
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.outliers import input_loudness
from ptune_tui.engine.prompt import LayerPrefix, Prompt
from ptune_tui.engine.reference import TorchReference
from ptune_tui.events import (
    Event,
    ExportDone,
    Notice,
    ParityMeasured,
    StageFinished,
    StageProgress,
    StageStarted,
    TaskFinished,
)
from ptune_tui.model_cards import with_table
from ptune_tui.models import resolve
from ptune_tui.tasks import PROBES_FILE, ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.train import NUM_PROBES, table_notice
from ptune_tui.worker.tuned_model import TunedModel, TunedModelStage

_NUM_HEARD_ROWS = 4  # to find the loud input channels by; the gate asks many more


def export(task: ExportTask, channel: Channel) -> Iterator[Event]:
    """Export a run.

    Args:
        task (ExportTask): Which run, and where to.
        channel (Channel): Where progress is said.
    """
    started = time.perf_counter()
    stage = TunedModelStage(Path(task.run), channel, task.force, is_reference=True)
    yield from stage.events()
    yield from table_notice(Path(task.run))
    if task.format in ("bundle", "onnx"):
        yield from _export_graphs(task, stage.tuned, channel)
    else:
        yield from _export_folder(task, stage.tuned, channel)
    yield TaskFinished(time.perf_counter() - started, False, {task.format: task.destination})


def _export_graphs(task: ExportTask, tuned: TunedModel, channel: Channel) -> Iterator[Event]:
    """Write a bundle, add to one, or write a graph of one prompt: behind the parity gate."""
    yield StageStarted("build", time.time())

    def say_layers(done: int, total: int) -> None:
        channel.progress(StageProgress("build", done, total, "layers"))

    gate = Gate(
        prompt=_exported_prompt(tuned, task.prompt_name, Path(task.run)),
        reference=TorchReference(tuned.frozen, tuned.prompt),
        rows=_probes(tuned, Path(task.run)),
        is_integer_grid=is_integer_grid(tuned.frozen.loaded.weights),
    )
    destination, num_threads = Path(task.destination), tuned.config.training.num_threads
    steps: Iterator[Step]
    if task.is_addition:
        weights_hash = tuned.frozen.loaded.report.weights_hash
        texts = tuned.frozen.text.texts
        addition = PromptAddition(
            destination, weights_hash, gate, texts, task.precision, num_threads
        )
        steps = addition.write(overwrite=task.overwrite)
    else:
        model = exported_model(tuned.frozen, tuned.prompt, gate.rows)
        kind = BundleWriter if task.format == "bundle" else OnnxFolder
        writer = kind(model, gate, task.precision, num_threads, say_layers)
        steps = writer.write(destination, overwrite=task.overwrite)
    building = time.perf_counter()
    seconds: dict[str, float] = {}
    for step in steps:
        if isinstance(step, Measured):
            yield _parity_event(step)
            yield from _failed_notice(step)
        elif isinstance(step, Timed):
            seconds[step.precision] = step.seconds
        elif isinstance(step, Traced):
            yield _traced_notice(step)
        elif isinstance(step, Skipped):
            yield Notice(f"no-{step.what}", step.reason, step.hint)
        else:
            yield from _built(step, time.perf_counter() - building)
    done = ExportDone(task.destination, total_bytes(destination), "", seconds)
    if task.format == "bundle":
        manifest = read_manifest(destination)
        done = msgspec.structs.replace(
            done, precision=manifest.default_precision, read_bytes=read_bytes(manifest)
        )
    yield done


def _export_folder(task: ExportTask, tuned: TunedModel, channel: Channel) -> Iterator[Event]:
    """Write a folder for another program."""
    yield StageStarted("build", time.time(), f"for {task.format}")
    building = time.perf_counter()

    def say_tensors(done: int, total: int) -> None:
        channel.progress(StageProgress("build", done, total, "tensors"))

    prompt = _exported_prompt(tuned, task.prompt_name, Path(task.run))
    virtual_tokens(prompt.prompt)  # refuses a prompt before the model is asked
    model = plain_model(tuned)
    reference = TorchReference(tuned.frozen, tuned.prompt)
    quiet = quietest_token(reference, _probes(tuned, Path(task.run)))
    writer: GGUFFolder | TransformersFolder
    if task.format == "gguf":
        writer = GGUFFolder(model, prompt, quiet, say_tensors)
    else:
        writer = TransformersFolder(model, prompt, quiet, task.float_type, say_tensors)
    rounding = writer.write(Path(task.destination), overwrite=task.overwrite)
    yield from _rounding_notice(rounding)
    yield StageFinished("build", time.perf_counter() - building)
    yield ExportDone(task.destination, total_bytes(Path(task.destination)))


def _rounding_notice(rounding: dict[str, float]) -> Iterator[Event]:
    if rounding:
        name, error = max(rounding.items(), key=lambda item: item[1])
        yield Notice(
            "rounded",
            f"{len(rounding)} tensors are rounded, {name} most: by {error:.2g} of its norm.",
            "The rest holds the very values that were trained on.",
        )


def plain_model(tuned: TunedModel) -> PlainModel:
    """What writers for other programs are told of a model.

    Args:
        tuned (TunedModel): The model.
    """
    frozen = tuned.frozen
    network = frozen.network
    embedding = network.get_input_embeddings()
    names = {module: name for name, module in network.named_modules()}
    found = resolve(tuned.config.model.source)
    return PlainModel(
        name=frozen.name,
        config=frozen.config,
        weights=frozen.loaded.weights,
        weights_hash=frozen.loaded.report.weights_hash,
        tokenizer_json=frozen.text.tokenizer.to_str(),
        embedding=f"{names[embedding]}.weight",
        head=f"{names[network.get_output_embeddings()]}.weight",
        embedding_scale=1.0 if embedding.scale is None else float(embedding.scale),
        gguf_file=found.path if found.kind == "gguf" else None,
    )


def _built(step: Built, seconds: float) -> Iterator[Event]:
    if step.what == "graphs":
        yield StageFinished("build", seconds)
        yield StageStarted("parity", time.time(), f"{NUM_PROBES} rows in torch")
    elif step.what == "manifest":
        yield StageFinished("parity", seconds)


def _parity_event(step: Measured) -> ParityMeasured:
    record = step.record
    return ParityMeasured(
        precision=step.precision,
        relative_error=record.relative_error,
        kl_divergence=record.kl_divergence,
        top1_agreement=record.top1_agreement,
        identical_texts=record.identical_texts,
        num_texts=record.num_texts,
        passed=record.passed,
    )


def _failed_notice(step: Measured) -> Iterator[Event]:
    if step.precision != "exact" and not step.record.passed:
        yield Notice(
            f"{step.precision}-failed",
            f"`{step.precision}` is at KL {step.record.kl_divergence:.3g}, above the gate of "
            f"{MAX_KL_DIVERGENCE}; the bundle does not answer in it by itself.",
        )


def _traced_notice(step: Traced) -> Notice:
    return Notice(
        "traced-graph",
        f"The graph was traced: {step.refusal} It has {step.num_nodes} nodes, and plain attention "
        "(no GroupQueryAttention) that copies all keys and values at every token.",
        "The gate is the same; decoding is slower, the more so the longer the text.",
    )


def exported_model(
    frozen: FrozenModel, prompt: Prompt | None, rows: Sequence[list[int]]
) -> ExportedModel:
    """What the graph writer is told of a model.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt | None): What is heard behind it.
        rows (Sequence[list[int]]): Rows of tokens to find its loud channels with.
    """
    heard = rows[:_NUM_HEARD_ROWS]

    def listen() -> Loudness:
        reference = TorchReference(frozen, prompt)
        return input_loudness(frozen, lambda: [reference.logits(ids) for ids in heard])

    return ExportedModel(
        name=frozen.name,
        network=frozen.network,
        weights=frozen.loaded.weights,
        weights_hash=frozen.loaded.report.weights_hash,
        tokenizer_json=frozen.text.tokenizer.to_str(),
        texts=frozen.text.texts,
        listen=listen,
    )


def _exported_prompt(tuned: TunedModel, name: str, run: Path) -> ExportedPrompt:
    card = tuned.card
    return ExportedPrompt(
        name=name,
        prompt=_shipped(tuned.prompt),
        lead_ids=tuned.encoder().lead_ids(),
        template=card.template,
        end_token_id=card.end_token_id,
        max_prompt_tokens=card.max_prompt_tokens,
        labels=card.labels,
        max_response_tokens=card.max_response_tokens,
        scores={"validation_accuracy_torch": card.accuracy},
        training=with_table(card.training, run),
    )


def _shipped(prompt: Prompt) -> AnyPrompt:
    """The prompt as the runtime holds it, without torch."""
    if isinstance(prompt, LayerPrefix):
        return PrefixPrompt(np.ascontiguousarray(prompt.keys_values.numpy()))
    return TokenPrompt(np.ascontiguousarray(prompt.embeddings_PH.numpy()))


def _probes(tuned: TunedModel, run: Path) -> list[list[int]]:
    """Rows of the run's own validation data, up to the response, with room for a continuation."""
    prompts = msgspec.json.decode((run / PROBES_FILE).read_bytes(), type=list[str])
    context = tuned.frozen.context_length
    room = context - tuned.prompt.num_virtual_tokens - CONTINUATION_TOKENS
    limit = min(tuned.card.max_prompt_tokens, room)
    encoder = tuned.encoder()
    return [encoder.encode_prompt(prompt, limit)[0] for prompt in prompts]
