"""A folder for llama.cpp and Ollama: the 4-bit weights, with the virtual tokens as tokens.

    model.gguf      weights, tokenizer and chat template
    Modelfile       the same prompt for Ollama, which does not read chat templates
    ptune.json      what it was made of (export/folder_card.py)

The embedding has P more rows, the virtual tokens; the head its own copy of the vocabulary with P
rows that never win (export/plain_model.py). A run on a GGUF file keeps that file's header and the
bytes of every quantised tensor but the embedding's.

Legend: V rows of the embedding, P virtual tokens, N output rows, D stored bytes of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from tokenizers import Tokenizer
from torch import Tensor

from export.at_once import written_at_once
from export.errors import NotCarriedError
from export.folder_card import write_card
from export.gguf_header import ARCHITECTURE, Field, header_of, with_virtual_tokens
from export.gguf_tensors import (
    Bytes,
    Rounding,
    StoredTensor,
    fits_half,
    stored_halves,
    stored_weight,
)
from export.manifest_file import FOLDER_CARD
from export.ollama import OLLAMA_FILE, model_file
from export.plain_model import PlainModel, rows_of
from export.prompt_files import ExportedPrompt
from export.soft_tokens import add_soft_tokens, soft_chat_template
from export.space import check_space
from quant.gguf import FLOAT_TYPES
from quant.packing import FrozenWeight

MODEL_FILE = "model.gguf"
_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"
_NAMES = {"model.norm": "output_norm"}
_LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@dataclass(frozen=True)
class GGUFFolder:
    """Writes one folder.

    Attributes:
        model: The base.
        prompt: What was trained.
        quiet_token_id: Whose row of the head the virtual tokens get.
        report_progress: Called with tensors stored and their number.
    """

    model: PlainModel
    prompt: ExportedPrompt
    quiet_token_id: int
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
        if not fits_half(rows_PH):
            raise NotCarriedError(
                f"The prompt has values up to {float(rows_PH.abs().max()):.3g}, which float16 does "
                "not hold.",
                "Export a bundle.",
            )
        soft = add_soft_tokens(model.tokenizer_json, model.vocab_size, num_virtual_tokens)
        plain = Tokenizer.from_str(model.tokenizer_json)
        chat_template = soft_chat_template(soft, plain, prompt.template, num_virtual_tokens)
        rounding = Rounding({})
        header, tensors = self._contents(rows_PH, rounding)
        header = with_virtual_tokens(
            header, soft.names, model.vocab_size, chat_template, prompt.end_token_id
        )
        with written_at_once(destination, overwrite, FOLDER_CARD) as folder:
            check_space(folder, sum(tensor.num_bytes for tensor in tensors))
            self._write_file(folder / MODEL_FILE, header, tensors)
            beginning = soft.text(num_virtual_tokens)
            (folder / OLLAMA_FILE).write_text(
                model_file(MODEL_FILE, prompt, plain, beginning), encoding="utf-8"
            )
            names, ids = (model.name, model.weights_hash), (model.vocab_size, self.quiet_token_id)
            write_card(folder, "gguf", names, prompt, ids, rounding.errors)
        return rounding.errors

    def _contents(
        self, rows_PH: Tensor, rounding: Rounding
    ) -> tuple[dict[str, Field], list[StoredTensor]]:
        model = self.model
        embedding = stored_halves(
            _EMBEDDING, model.weights[model.embedding], rounding, more_rows=rows_PH
        )
        if model.gguf_file is not None:
            header, rest = self._of_file(GGUFReader(model.gguf_file), rounding)
        else:
            header = header_of(model.name, model.config, model.tokenizer_json, model.vocab_size)
            rest = self._of_weights(rounding)
        return header, [embedding, *rest]

    def _of_file(
        self, reader: GGUFReader, rounding: Rounding
    ) -> tuple[dict[str, Field], list[StoredTensor]]:
        """Header and tensors of the file that was trained on, the embedding left out.

        Matrices that the file has in floats were put on our grid at load, and are written from it.
        """
        header = {
            field.name: Field(
                field.contents(),
                field.types[0],
                field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None,
            )
            for field in reader.fields.values()
            if not field.name.startswith("GGUF.") and field.name != "general.architecture"
        }
        by_name = {tensor.name: tensor for tensor in reader.tensors}
        head = by_name.get(_HEAD, by_name[_EMBEDDING])
        is_kept = {name: not _was_put_on_our_grid(tensor) for name, tensor in by_name.items()}
        stored = {tensor.name: tensor for tensor in self._of_weights(rounding)}
        rest = [name for name in by_name if name not in (_EMBEDDING, _HEAD)]
        return header, [
            self._copied_head(head) if is_kept[head.name] else stored[_HEAD],
            *(_copied(by_name[name]) if is_kept[name] else stored[name] for name in rest),
        ]

    def _copied_head(self, head: Any) -> StoredTensor:
        """The head's bytes [V, D] with P copies of the quiet token's."""
        rows_VD, num_more = head.data, self.prompt.prompt.num_virtual_tokens
        quiet = rows_VD[self.quiet_token_id : self.quiet_token_id + 1]
        shape = (rows_VD.shape[0] + num_more, rows_VD.shape[1])

        def data() -> Bytes:
            return np.concatenate([rows_VD, np.repeat(quiet, num_more, axis=0)])

        return StoredTensor(_HEAD, head.tensor_type, shape, rows_VD.dtype, data)

    def _of_weights(self, rounding: Rounding) -> list[StoredTensor]:
        """The tensors of a model from safetensors, the embedding left out."""
        model = self.model
        head = model.head_weight()
        quiet = rows_of(head, self.quiet_token_id, self.quiet_token_id + 1)
        more_rows = quiet.repeat_interleave(self.prompt.prompt.num_virtual_tokens, dim=0)
        tensors = [stored_halves(_HEAD, head, rounding, more_rows=more_rows)]
        for name, weight in model.weights.items():
            if name not in (model.embedding, model.head):
                order = _order(name, weight, model.config)
                tensors.append(stored_weight(_name(name), weight, rounding, order))
        return tensors

    def _write_file(
        self, path: Path, header: dict[str, Field], tensors: list[StoredTensor]
    ) -> None:
        writer = GGUFWriter(path, ARCHITECTURE)
        for key, field in header.items():
            if key == "general.alignment":
                writer.data_alignment = field.value
            writer.add_key_value(key, field.value, field.type, field.item_type)
        for tensor in tensors:
            dtype = np.dtype(tensor.dtype)
            writer.add_tensor_info(
                tensor.name, tensor.shape, dtype, tensor.num_bytes, raw_dtype=tensor.type
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, tensor in enumerate(tensors, 1):
            writer.write_tensor_data(np.ascontiguousarray(tensor.data()))
            if self.report_progress is not None:
                self.report_progress(number, len(tensors))
        writer.close()


def _was_put_on_our_grid(tensor: Any) -> bool:
    return tensor.tensor_type.name in FLOAT_TYPES and len(tensor.shape) > 1


def _copied(tensor: Any) -> StoredTensor:
    data = tensor.data
    return StoredTensor(tensor.name, tensor.tensor_type, data.shape, data.dtype, lambda: data)


def _name(name: str) -> str:
    """A tensor's name in the file."""
    stem, _, kind = name.rpartition(".")
    if stem in _NAMES:
        return f"{_NAMES[stem]}.{kind}"
    _, _, number, part = stem.split(".", 3)  # model.layers.0.self_attn.q_proj
    return f"blk.{number}.{_LAYER_NAMES[part]}.{kind}"


def _order(name: str, weight: FrozenWeight | Tensor, config: Any) -> Tensor | None:
    """Rows of q and k as llama.cpp's rotation wants them: the halves of a head taken in turns."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    num_heads = heads.get(name.split(".")[-2])
    if num_heads is None:
        return None
    num_rows = weight.shape[0]
    ours = torch.arange(num_rows).view(num_heads, 2, num_rows // num_heads // 2)
    return ours.transpose(1, 2).flatten()
