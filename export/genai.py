"""What ONNX Runtime GenAI needs of a bundle, so that its programs answer with the prompt unchanged.

    genai.onnx            the bundle's default graph; its `soft_prompt` is the first prompt's
    genai_config.json     names and numbers
    tokenizer.json        with the virtual tokens; `plain_tokenizer.json` is the one of training
    tokenizer_config.json, chat_template.jinja   of the first prompt
    prompts/NAME.onnx_adapter, prompts/NAME.jinja   of every prompt of virtual tokens

Two tokenizers, because one cannot serve both: GenAI finds virtual tokens by their text, and in our
runtime a user who types `<|soft_0|>` must get these ten characters. A graph of its own, because
GenAI hands out memory for the logits of every new token unless the graph says that it returns one
position, and because it can be replaced without touching what our runtime opens. A generator has
one prompt: the graph's own, or an adapter's with its chat template.

Legend: P virtual tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx
from onnx import numpy_helper
from tokenizers import Tokenizer

from export.errors import NotCarriedError
from export.manifest import PLAIN_TOKENIZER_FILE, TOKENIZER_FILE, ParityRecord, PromptRecord
from export.precisions import Precision
from export.prompt_files import SOFT_PROMPT, ExportedPrompt
from export.prompts import FloatArray, load_prompt, virtual_tokens
from export.shape import DecoderShape
from export.soft_tokens import SoftTokenizer, add_soft_tokens, soft_chat_template
from export.template import Template

GRAPH_FILE = "genai.onnx"
CONFIG_FILE = "genai_config.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
DEFAULT_FILES = frozenset((GRAPH_FILE, CONFIG_FILE, CHAT_TEMPLATE_FILE))
_TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
# Later prompts may be longer than the first, and the tokenizer is written once.
_NUM_NAMES = 128


@dataclass(frozen=True)
class GenaiTokens:
    """The two tokenizers of a bundle.

    Attributes:
        soft: With the virtual tokens.
        plain: That of training.
    """

    soft: SoftTokenizer
    plain: Tokenizer

    def chat_template(self, prompt: ExportedPrompt) -> str:
        """The chat template that places a prompt.

        Raises:
            NotCarriedError: The prompt is longer than there are names, is no virtual tokens, or
                its texts would be cut otherwise.
        """
        num_virtual_tokens = virtual_tokens(prompt.prompt).num_virtual_tokens
        if num_virtual_tokens > len(self.soft.names):
            raise NotCarriedError(
                f"The bundle's tokenizer names {len(self.soft.names)} virtual tokens, the prompt "
                f"has {num_virtual_tokens}.",
                "Export it to a bundle of its own with `--out`.",
            )
        return soft_chat_template(self.soft, self.plain, prompt.template, num_virtual_tokens)


@dataclass(frozen=True)
class GenaiBase:
    """What `genai_config.json` says of the model.

    Attributes:
        shape: The decoder's numbers.
        num_attention_heads: Of a layer.
    """

    shape: DecoderShape
    num_attention_heads: int


def genai_tokens(plain_json: str, vocab_size: int, num_virtual_tokens: int) -> GenaiTokens:
    """The tokenizers of a new bundle.

    Args:
        plain_json (str): The tokenizer of training.
        vocab_size (int): V.
        num_virtual_tokens (int): P of the first prompt.

    Raises:
        NotCarriedError: The tokenizer leaves no ids for virtual tokens.
    """
    soft = add_soft_tokens(plain_json, vocab_size, max(_NUM_NAMES, num_virtual_tokens))
    return GenaiTokens(soft, Tokenizer.from_str(plain_json))


def write_tokenizers(
    folder: Path, tokens: GenaiTokens, plain_json: str, template: Template
) -> None:
    """Write GenAI's tokenizer with its configuration, and that of training beside it."""
    (folder / TOKENIZER_FILE).write_text(
        tokens.soft.tokenizer.to_str(), encoding="utf-8", newline=""
    )
    (folder / PLAIN_TOKENIZER_FILE).write_text(plain_json, encoding="utf-8", newline="")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": template.eos_token,
        "pad_token": template.eos_token,
        "add_bos_token": False,  # the chat template writes it behind the virtual tokens
    }
    if template.bos_token:
        config["bos_token"] = template.bos_token
    _write_json(folder / _TOKENIZER_CONFIG_FILE, config)


def write_default(
    folder: Path, graph: Path, base: GenaiBase, record: PromptRecord, files: Path
) -> None:
    """Write what makes a prompt the one that GenAI answers with when no adapter is named.

    Args:
        folder (Path): Where to.
        graph (Path): The bundle's graph of the precision to answer in.
        base (GenaiBase): The model.
        record (PromptRecord): The prompt; it has an adapter.
        files (Path): The folder that the record's files lie in.
    """
    assert record.chat_template_file is not None
    prompt = virtual_tokens(load_prompt(files / record.file, record.kind))
    (folder / GRAPH_FILE).write_bytes(_graph_with(graph, prompt.embeddings_PH))
    content = (files / record.chat_template_file).read_bytes()
    (folder / CHAT_TEMPLATE_FILE).write_bytes(content)
    _write_json(folder / CONFIG_FILE, _config(base, record.end_token_id))


def genai_graph(default: Precision, parity: Mapping[str, ParityRecord]) -> Precision:
    """The graph that GenAI gets: what the bundle answers in, but for the one with a layout."""
    if default != "throughput":
        return default
    return "fast" if parity["fast"].passed else "exact"


def read_base(config: Path, shape: DecoderShape) -> GenaiBase:
    """What `genai_config.json` says of the model, read back.

    Args:
        config (Path): The file, verified.
        shape (DecoderShape): The bundle's numbers.
    """
    decoder = msgspec.json.decode(config.read_bytes())["model"]["decoder"]
    return GenaiBase(shape, decoder["num_attention_heads"])


def _graph_with(graph: Path, soft_prompt_PH: FloatArray) -> bytes:
    """A decoder graph with another default of `soft_prompt`, that says it returns one position."""
    model = onnx.load(graph, load_external_data=False)
    for initializer in model.graph.initializer:
        if initializer.name == SOFT_PROMPT:
            initializer.CopyFrom(numpy_helper.from_array(soft_prompt_PH, SOFT_PROMPT))
    for output in model.graph.output:
        if output.name == "logits":
            num_positions = output.type.tensor_type.shape.dim[1]
            num_positions.Clear()
            num_positions.dim_value = 1
    content: bytes = model.SerializeToString()
    return content


def _config(base: GenaiBase, end_token_id: int) -> dict[str, Any]:
    shape = base.shape
    decoder = {
        "filename": GRAPH_FILE,
        "head_size": shape.head_size,
        "hidden_size": shape.hidden_size,
        "num_attention_heads": base.num_attention_heads,
        "num_hidden_layers": shape.num_layers,
        "num_key_value_heads": shape.num_key_value_heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
        # onnxruntime warns of every initialiser that may be overridden.
        "session_options": {"log_severity_level": 3, "provider_options": []},
    }
    model = {
        "type": "decoder",
        "vocab_size": shape.vocab_size,
        "context_length": shape.context_length,
        "eos_token_id": end_token_id,
        "pad_token_id": end_token_id,
        "decoder": decoder,
    }
    search = {
        "do_sample": False,
        "max_length": shape.context_length,
        "past_present_share_buffer": True,
    }
    return {"model": model, "search": search}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
