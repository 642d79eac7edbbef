"""A folder that transformers loads like any model: dequantised weights, virtual tokens as tokens.

    config.json, generation_config.json, model*.safetensors
    tokenizer.json, tokenizer_config.json, chat_template.jinja
    ptune.json                       what it was made of (export/folder_card.py)

The vocabulary has P more tokens, `<|soft_0|>` and so on, and the chat template writes them first.
The head is untied from the embedding: its rows for them are copies of a quiet token's, and
`generation_config.json` suppresses them besides.

Legend: V rows of the embedding, P virtual tokens, H hidden, N output rows, K input columns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
import transformers
from accelerate import init_empty_weights
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from export.at_once import written_at_once
from export.errors import NotCarriedError
from export.folder_card import write_card
from export.manifest_file import FOLDER_CARD
from export.plain_model import PlainModel, floats, rounding_error, rows_of
from export.prompt_files import ExportedPrompt
from export.soft_tokens import SoftTokenizer, add_soft_tokens, soft_chat_template
from export.space import check_space

FloatType = Literal["float32", "bfloat16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_SHARD_BYTES = 2 << 30


@dataclass(frozen=True)
class TransformersFolder:
    """Writes one folder.

    Attributes:
        model: The base.
        prompt: What was trained.
        quiet_token_id: Whose row of the head the virtual tokens get.
        float_type: What the weights are stored in; bfloat16 rounds them and the prompt.
        report_progress: Called with tensors stored and their number.
    """

    model: PlainModel
    prompt: ExportedPrompt
    quiet_token_id: int
    float_type: FloatType = "float32"
    report_progress: Callable[[int, int], None] | None = None

    def write(self, destination: Path, *, overwrite: bool) -> dict[str, float]:
        """Write the folder; nothing is left behind where it fails.

        Args:
            destination (Path): The folder.
            overwrite (bool): Whether one of ours that is there may be replaced.

        Returns:
            dict[str, float]: The error of every tensor that was rounded, over its norm.

        Raises:
            NotCarriedError: The prompt, the tokenizer or the model cannot be carried.
            BundleError: The destination is taken.
            ExportError: The disk is too full.
        """
        model, prompt = self.model, self.prompt
        num_virtual_tokens = prompt.prompt.num_virtual_tokens
        rows_PH = model.embedding_rows(prompt)
        soft = add_soft_tokens(model.tokenizer_json, model.vocab_size, num_virtual_tokens)
        plain = Tokenizer.from_str(model.tokenizer_json)
        chat_template = soft_chat_template(soft, plain, prompt.template, num_virtual_tokens)
        config = self._config()
        empty = _empty_model(config)
        with written_at_once(destination, overwrite, FOLDER_CARD) as folder:
            sizes = {name: tensor.numel() for name, tensor in _parameters(empty)}
            check_space(folder, sum(sizes.values()) * self._dtype.itemsize)
            rounding = self._write_weights(folder, empty, rows_PH)
            config.save_pretrained(folder)
            self._write_generation_config(folder)
            self._write_tokenizer(folder, soft, chat_template)
            names = (model.name, model.weights_hash)
            ids = (model.vocab_size, self.quiet_token_id)
            write_card(folder, "transformers", names, prompt, ids, rounding)
        return rounding

    @property
    def _dtype(self) -> torch.dtype:
        return _DTYPES[self.float_type]

    def _config(self) -> Any:
        config = copy.deepcopy(self.model.config)
        config.vocab_size = self.model.vocab_size + self.prompt.prompt.num_virtual_tokens
        config.tie_word_embeddings = False
        config.eos_token_id = self.prompt.end_token_id
        config.dtype = self._dtype
        return config

    def _write_weights(self, folder: Path, empty: Any, rows_PH: Tensor) -> dict[str, float]:
        """Write the weights in shards, one tensor in floats at a time beside the shard's."""
        wanted = _parameters(empty)
        shards = _shards([(name, tensor.numel()) for name, tensor in wanted], self._dtype.itemsize)
        rounding: dict[str, float] = {}
        files: dict[str, str] = {}
        num_done = 0
        for number, names in enumerate(shards, 1):
            file = "model.safetensors"
            if len(shards) > 1:
                file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            tensors: dict[str, Tensor] = {}
            for name in names:
                tensors[name] = self._tensor(name, empty, rows_PH, rounding)
                num_done += 1
                if self.report_progress is not None:
                    self.report_progress(num_done, len(wanted))
            save_file(tensors, folder / file, metadata={"format": "pt"})
            files |= dict.fromkeys(names, file)
        if len(shards) > 1:
            total = sum(tensor.numel() for _, tensor in wanted) * self._dtype.itemsize
            index = {"metadata": {"total_size": total}, "weight_map": files}
            (folder / "model.safetensors.index.json").write_bytes(msgspec.json.encode(index))
        return rounding

    def _tensor(self, name: str, empty: Any, rows_PH: Tensor, rounding: dict[str, float]) -> Tensor:
        """One parameter of the enlarged model in floats; what rounding cost it is noted."""
        model = self.model
        weight = model.head_weight() if name == model.head else model.weights[name]
        more_rows = None
        if name == model.embedding:
            more_rows = rows_PH
        elif name in (model.head, f"{model.head.rpartition('.')[0]}.bias"):
            quiet = rows_of(weight, self.quiet_token_id, self.quiet_token_id + 1)
            more_rows = quiet.repeat_interleave(len(rows_PH), dim=0)
        stored = floats(weight, self._dtype, more_rows)
        if self.float_type != "float32":
            error = rounding_error(weight, stored)
            if error:
                rounding[name] = error
        is_transposed = isinstance(empty.get_submodule(name.rpartition(".")[0]), Conv1D)
        return stored.t().contiguous() if is_transposed and stored.dim() == 2 else stored

    def _write_generation_config(self, folder: Path) -> None:
        first, end = self.model.vocab_size, self.prompt.end_token_id
        num_virtual_tokens = self.prompt.prompt.num_virtual_tokens
        transformers.GenerationConfig(
            eos_token_id=end,
            pad_token_id=end,
            do_sample=False,
            suppress_tokens=list(range(first, first + num_virtual_tokens)),
        ).save_pretrained(folder)

    def _write_tokenizer(self, folder: Path, soft: SoftTokenizer, chat_template: str) -> None:
        template = self.prompt.template
        wrapped = transformers.PreTrainedTokenizerFast(
            tokenizer_object=soft.tokenizer,
            bos_token=template.bos_token or None,
            eos_token=template.eos_token,
            pad_token=template.eos_token,
            clean_up_tokenization_spaces=False,
        )
        wrapped.chat_template = chat_template
        wrapped.save_pretrained(folder)


def _empty_model(config: Any) -> Any:
    """The enlarged model without memory behind its weights.

    Raises:
        NotCarriedError: Its head is the embedding, whatever the configuration says.
    """
    with init_empty_weights(include_buffers=False):
        model = transformers.AutoModelForCausalLM.from_config(config)
    if model.all_tied_weights_keys:
        raise NotCarriedError(
            f"A model of the type `{config.model_type}` ties {sorted(model.all_tied_weights_keys)} "
            "in its code, so that virtual tokens could be answered with.",
            "Export a bundle.",
        )
    return model


def _parameters(empty: Any) -> list[tuple[str, Tensor]]:
    """Names and shapes of what the folder stores."""
    state = empty.state_dict()
    return [(name, tensor) for name, tensor in state.items() if tensor.is_floating_point()]


def _shards(sizes: list[tuple[str, int]], item_bytes: int) -> list[list[str]]:
    """Names in groups of at most `_SHARD_BYTES`, or of one."""
    groups: list[list[str]] = [[]]
    num_bytes = 0
    for name, num_elements in sizes:
        if groups[-1] and num_bytes + num_elements * item_bytes > _SHARD_BYTES:
            groups.append([])
            num_bytes = 0
        groups[-1].append(name)
        num_bytes += num_elements * item_bytes
    return groups
