"""A child of `ptune bench run`: prepares files, or holds one contender and takes its measures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from ptune_tui.answering_speed import MEMORY_NEW_TOKENS, MEMORY_TOKENS, Measure
from ptune_tui.worker.bench.answering.contender import AnsweringContender
from ptune_tui.worker.bench.answering.files import AnsweringFolder, ChildSetting, Inputs
from ptune_tui.worker.bench.messages import (
    ModelPrepared,
    Ready,
    TakeMeasure,
    Taken,
    TakenFigure,
    decode_request,
    say,
)
from ptune_tui.worker.bench.peak_memory import forget_peak, peak_memory_bytes

PREPARE = "prepare"


def run(path: Path, role: str, replies: BinaryIO) -> None:
    """Be what the role says.

    Args:
        path (Path): The shared folder.
        role (str): See the package `bench`.
        replies (BinaryIO): Where replies go.
    """
    folder = AnsweringFolder(path)
    child = folder.read_setting()
    if role == PREPARE:
        from ptune_tui.worker.bench.answering.prepare import prepare

        say(replies, prepare(child, folder))
        return
    if role.startswith(f"{PREPARE}:"):
        _prepare_model(role.removeprefix(f"{PREPARE}:"), child, folder)
        say(replies, ModelPrepared())
        return
    inputs = folder.read_inputs()
    contender = _contender(role, child, folder, inputs)
    contender.answer(inputs.short_ids, 0)
    say(replies, Ready(contender.computed_by, list(contender.measures)))
    for line in sys.stdin.buffer:
        request = decode_request(line)
        assert isinstance(request, TakeMeasure), request
        taken = _take(cast(Measure, request.measure), contender, child, inputs)
        say(replies, msgspec.structs.replace(taken, computed_by=contender.computed_by))


def _prepare_model(role: str, child: ChildSetting, folder: AnsweringFolder) -> None:
    side, _, variant = role.partition(":")
    if side == "genai":
        from ptune_tui.worker.bench.answering import genai

        genai.build(child, folder)
    elif side in ("llama.cpp", "llama-cpp-python"):
        from ptune_tui.worker.bench.answering import llama_cpp

        llama_cpp.quantise(llama_cpp.BINDINGS[side], child, variant, folder)


def _contender(
    role: str, child: ChildSetting, folder: AnsweringFolder, inputs: Inputs
) -> AnsweringContender:
    """The contender of a role; only its own packages are imported."""
    side, _, variant = role.partition(":")
    if side == "ptune":
        from ptune_tui.worker.bench.answering.ours import OurAnswers

        return OurAnswers(child, variant, folder, inputs)
    if side == "genai":
        from ptune_tui.worker.bench.answering.genai import GenaiAnswers

        return GenaiAnswers(folder)
    if side == "llama.cpp":
        from ptune_tui.worker.bench.answering.llama_cpp import LlamaCppAnswers

        return LlamaCppAnswers(child, variant, folder, inputs)
    if side == "llama-cpp-python":
        from ptune_tui.worker.bench.answering.llama_cpp_python import LlamaCppPythonAnswers

        return LlamaCppPythonAnswers(child, variant, folder, inputs)
    from ptune_tui.worker.bench.answering.in_torch import TorchAnswers

    return TorchAnswers(child, folder, inputs)


def _take(
    measure: Measure, contender: AnsweringContender, child: ChildSetting, inputs: Inputs
) -> Taken:
    setting = child.setting
    if measure == "decode":
        done = contender.answer(inputs.short_ids, setting.num_new_tokens)
        speed = setting.num_new_tokens / done.decode_seconds
        return Taken([TakenFigure("decode", "tokens/s", speed)])
    if measure == "prefill":
        return Taken([_prefill(contender, inputs, length) for length in setting.prefill_lengths])
    if measure == "memory":
        forget_peak("cpu")
        contender.answer(inputs.ids[:MEMORY_TOKENS], MEMORY_NEW_TOKENS)
        return Taken([TakenFigure("memory", "bytes", peak_memory_bytes("cpu"))])
    if measure == "disk":
        return Taken([TakenFigure("disk", "bytes", contender.num_bytes())])
    return contender.measures[measure]()


def _prefill(contender: AnsweringContender, inputs: Inputs, length: int) -> TakenFigure:
    seconds = contender.answer(inputs.ids[:length], 0).prefill_seconds
    return TakenFigure(f"prefill {length}", "tokens/s", length / seconds)
