"""Writes what all answering contenders read, in a process that ends before the first of them.

Legend: P virtual tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor

from export.bundle import read_manifest
from export.encoding import RowEncoder
from export.gate import Gate, is_integer_grid
from export.prompt_files import ExportedPrompt
from export.prompts import TokenPrompt
from export.template import Template
from export.writer import BundleWriter
from ptune_tui.answering_speed import (
    MEMORY_NEW_TOKENS,
    MEMORY_TOKENS,
    SCORED_VIRTUAL_TOKENS,
    SHORT_TOKENS,
    VIRTUAL_LENGTHS,
    AnsweringSetting,
)
from ptune_tui.config import DataConfig
from ptune_tui.data import load_data
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.reference import TorchReference
from ptune_tui.errors import UsageError
from ptune_tui.worker.bench.answering.files import (
    PROMPT,
    AnsweringFolder,
    ChildSetting,
    Inputs,
)
from ptune_tui.worker.bench.answering.inputs import make_inputs
from ptune_tui.worker.bench.messages import InputsPrepared
from ptune_tui.worker.bench.prepare import write_float_model
from ptune_tui.worker.export import exported_model

_PROMPT_NAME = "bench"
_NUM_GATE_ROWS = 4


def prepare(child: ChildSetting, folder: AnsweringFolder) -> InputsPrepared:
    """Write inputs, soft prompt, and where they are needed the float model and the bundle.

    Args:
        child (ChildSetting): What is measured.
        folder (AnsweringFolder): Where to.

    Raises:
        UsageError: A prompt is longer than the model's context, or the bundle that was given is
            of other weights.
        DataError: The rows cannot be read, or have no two labels.
    """
    setting = child.setting
    torch.set_num_threads(setting.num_threads)
    data = load_data(_data_config(setting), seed=0)
    frozen = load_frozen(Path(child.model_path), child.model_name, "int4", "stream")
    _check_context(setting, frozen.context_length)
    template = frozen.text.template(data.template, is_free_text=False)
    encoder = RowEncoder(frozen.text.tokenizer, template, frozen.text.end_token_id)
    inputs = make_inputs(setting, data, encoder, frozen.context_length)
    folder.write_inputs(inputs)
    prompt_PH = _prompt(frozen, inputs.ids)
    save_file({PROMPT: prompt_PH}, folder.prompt)
    if setting.has("genai") or setting.has("transformers"):
        write_float_model(frozen.config, frozen.loaded.weights, folder.float_model)
        _write_tokenizer(frozen, folder.float_model)
    weights_hash = frozen.loaded.report.weights_hash
    precisions: list[str] = []
    if setting.has("ptune"):
        if setting.bundle is None:
            _write_bundle(frozen, prompt_PH[:SCORED_VIRTUAL_TOKENS], inputs, folder, setting)
        precisions = _precisions(folder.bundle(setting), weights_hash, child.model_name)
    num_tokens = sum(len(row.ids) for row in inputs.rows)
    mean_tokens = num_tokens / max(1, len(inputs.rows))
    return InputsPrepared(precisions, weights_hash, inputs.labels, mean_tokens)


def _data_config(setting: AnsweringSetting) -> DataConfig:
    return DataConfig(
        train=setting.data,
        template=setting.template,
        prompt_field=setting.prompt_field,
        response_field=setting.response_field,
    )


def _prompt(frozen: FrozenModel, ids: Sequence[int]) -> Tensor:
    """The longest soft prompt [P, H]: embeddings of real text, a little off, as training has them.

    A soft prompt whose vectors are those of tokens would be one that a text can have, too.
    """
    embeddings_PH = frozen.embed(torch.tensor(ids[: max(VIRTUAL_LENGTHS)])).clone()
    noise = torch.randn(embeddings_PH.shape, generator=torch.Generator().manual_seed(0))
    return embeddings_PH + 0.1 * embeddings_PH.std() * noise


def _write_tokenizer(frozen: FrozenModel, path: Path) -> None:
    """The tokenizer beside the float model: GenAI's builder wants one."""
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=frozen.text.tokenizer,
        eos_token=frozen.text.eos_token,
        bos_token=frozen.text.bos_token or None,
    )
    wrapped.save_pretrained(path)


def _write_bundle(
    frozen: FrozenModel,
    prompt_PH: Tensor,
    inputs: Inputs,
    folder: AnsweringFolder,
    setting: AnsweringSetting,
) -> None:
    """The bundle that `ptune export` would write, through the same gate."""
    shown = ExportedPrompt(
        name=_PROMPT_NAME,
        prompt=TokenPrompt(np.ascontiguousarray(prompt_PH.numpy())),
        lead_ids=inputs.lead_ids,
        template=msgspec.convert(inputs.template, Template),
        end_token_id=inputs.end_token_id,
        max_prompt_tokens=inputs.context_length - SCORED_VIRTUAL_TOKENS - SHORT_TOKENS,
        labels=inputs.labels or None,
        max_response_tokens=max(map(len, inputs.label_ids), default=SHORT_TOKENS),
        scores={},
    )
    rows = [inputs.ids[start : start + SHORT_TOKENS] for start in range(_NUM_GATE_ROWS)]
    weights = frozen.loaded.weights
    prompt = VirtualTokens(prompt_PH)
    gate = Gate(shown, TorchReference(frozen, prompt), rows, is_integer_grid(weights))
    model = exported_model(frozen, prompt, rows)
    writer = BundleWriter(model, gate, "auto", setting.num_threads, keeps_all=True)
    for _ in writer.write(folder.bundle(setting), overwrite=False):
        pass


def _precisions(bundle: Path, weights_hash: str, model_name: str) -> list[str]:
    """The graphs of a bundle.

    Raises:
        UsageError: It is of other weights than the model.
    """
    manifest = read_manifest(bundle)
    if manifest.weights_hash != weights_hash:
        raise UsageError(
            f"The bundle {bundle} is of other weights ({manifest.model_name}) than {model_name}.",
            "Name its model with `--model`: the other contenders compute with that.",
        )
    return list(manifest.graphs)


def _check_context(setting: AnsweringSetting, context: int) -> None:
    needed = max(
        *(length + 1 for length in setting.prefill_lengths),
        SHORT_TOKENS + setting.num_new_tokens + 1,
        MEMORY_TOKENS + MEMORY_NEW_TOKENS + 1,
        max(VIRTUAL_LENGTHS) + 2 * SHORT_TOKENS,
    )
    if needed > context:
        raise UsageError(
            f"The longest sequence has {needed} tokens and the model's context {context}.",
            "Use shorter `--prefill` lengths or fewer `--new-tokens`.",
        )
