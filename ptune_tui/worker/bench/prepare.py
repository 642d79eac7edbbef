"""Writes what all contenders read, in a process that ends before the first of them starts.

Legend: N output rows, K input columns.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import transformers
from accelerate import init_empty_weights
from safetensors.torch import save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from export.encoding import EncodedRow, RowEncoder
from export.errors import RowError
from ptune_tui.config import DataConfig
from ptune_tui.data import DataSet, load_data
from ptune_tui.engine.evaluate import shared_lead
from ptune_tui.engine.placement import choose_placement
from ptune_tui.errors import DataError, UsageError
from ptune_tui.rows import Row
from ptune_tui.training_speed import BenchSetting
from ptune_tui.worker.bench import ours
from ptune_tui.worker.bench.messages import Prepared
from ptune_tui.worker.bench.shared_files import PROMPT, ChildSetting, SharedFolder, SharedRows
from quant.packing import FrozenWeight

SHARD_BYTES = 1 << 30
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")


def prepare(child: ChildSetting, folder: SharedFolder) -> Prepared:
    """Write rows, first prompt and, where PEFT takes part, the dequantised base.

    Args:
        child (ChildSetting): What is measured.
        folder (SharedFolder): Where to.

    Raises:
        UsageError: The device is not there, or the row and the virtual tokens are longer than the
            model's context.
        DataError: The rows cannot be read or have no room.
    """
    setting = child.setting
    config = DataConfig(
        train=setting.data,
        template=setting.template,
        prompt_field=setting.prompt_field,
        response_field=setting.response_field,
    )
    data = load_data(config, seed=0)
    choose_placement(setting.device, "auto", "int4", "auto")
    frozen = ours.load(child, "cpu")
    _check_context(setting, frozen.context_length)
    template = frozen.text.template(data.template, data.labels is None)
    encoder = RowEncoder(frozen.text.tokenizer, template, frozen.text.end_token_id)
    rows = list(exact_rows(data.train, encoder, setting.num_rows, setting.num_tokens))
    folder.write_rows(SharedRows(rows, shared_lead(rows, encoder.lead_ids())))
    start = ours.first_prompt(frozen, setting, _init_text(data))
    save_file({PROMPT: start}, folder.prompt)
    if setting.against:
        write_float_model(frozen.config, frozen.loaded.weights, folder.float_model)
    return Prepared(frozen.loaded.report.weights_hash, dict(_versions()))


def exact_rows(
    rows: Sequence[Row], encoder: RowEncoder, num_rows: int, num_tokens: int
) -> Iterator[EncodedRow]:
    """Real rows of exactly so many tokens: short texts are repeated, then cut from the left.

    Args:
        rows (Sequence[Row]): Taken in order, and again from the first where there are too few.
        encoder (RowEncoder): Template and tokenizer.
        num_rows (int): How many.
        num_tokens (int): Of each, response and end token included.

    Raises:
        DataError: Template and response alone are longer; names the row.
    """
    for row in islice(cycle(rows), num_rows):
        limit = num_tokens - len(encoder.encode_response(row.response))
        text = " ".join([row.prompt] * num_tokens)  # a repetition has a token at least
        try:
            encoded = encoder.encode_row(text, row.response, limit)
        except RowError:
            raise DataError(
                f"{row.place}: the template and the response {row.response!r} leave no room for "
                f"the prompt in {num_tokens} tokens.",
                "Give more `--tokens`.",
            ) from None
        assert encoded.num_tokens == num_tokens, (encoded.num_tokens, num_tokens)
        yield encoded


def write_float_model(config: Any, weights: dict[str, FrozenWeight | Tensor], path: Path) -> None:
    """Write a frozen model's dequantised weights in the layout of transformers, float32.

    Args:
        config (Any): transformers' configuration.
        weights (dict[str, FrozenWeight | Tensor]): By parameter name, matrices [N, K]; a tied head
            is left out.
        path (Path): The folder; made here.
    """
    path.mkdir()
    with init_empty_weights():
        empty = transformers.AutoModelForCausalLM.from_config(config)
    config = copy.deepcopy(config)
    # A GGUF file does not name it, and GenAI's builder goes by it.
    config.architectures = [type(empty).__name__]
    config.save_pretrained(path)
    transposed = {name for name, module in empty.named_modules() if isinstance(module, Conv1D)}
    shard: dict[str, Tensor] = {}
    weight_map: dict[str, str] = {}
    num_shard_bytes = num_bytes = 0
    names = list(weights)
    for name in names:
        weight = weights[name]
        values = weight.dequantize() if isinstance(weight, FrozenWeight) else weight
        if name.removesuffix(".weight") in transposed:
            values = values.t()
        shard[name] = values.float().contiguous()
        num_shard_bytes += shard[name].nbytes
        if num_shard_bytes < SHARD_BYTES and name != names[-1]:
            continue
        file_name = f"model-{len(set(weight_map.values())) + 1:05}.safetensors"
        save_file(shard, path / file_name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file_name)
        num_bytes += num_shard_bytes
        shard, num_shard_bytes = {}, 0
    index = {"metadata": {"total_size": num_bytes}, "weight_map": weight_map}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))


def _check_context(setting: BenchSetting, context: int) -> None:
    if setting.num_virtual_tokens + setting.num_tokens > context:
        raise UsageError(
            f"{setting.num_virtual_tokens} virtual tokens and rows of {setting.num_tokens} tokens "
            f"are more than the model's context of {context}.",
            "Use fewer `--tokens` or `--num-virtual-tokens`.",
        )


def _init_text(data: DataSet) -> str:
    return f"{data.train[0].prompt} {data.train[0].response} "


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, "not installed"
