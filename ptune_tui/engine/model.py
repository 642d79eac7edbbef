"""The frozen model with its tokenizer, as everything else in the engine sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers
from tokenizers import Tokenizer
from torch import Tensor

from export.template import ModelTexts, Template
from ptune_tui.config import Kernel, Scheme
from ptune_tui.engine.masks import device_of, shares_prefix
from ptune_tui.engine.memory import return_freed_memory
from ptune_tui.errors import ModelError
from ptune_tui.hardware import machine
from quant.checkpoint import read_json
from quant.loading import LoadedModel, load
from quant.native.passes import is_available


@dataclass(frozen=True)
class ModelTokenizer:
    """What a row needs of a model's tokenizer.

    Attributes:
        tokenizer: The tokenizer itself.
        chat_template: Jinja source, or None.
        bos_token: Text of the first token, or "".
        eos_token: Text of the end token.
        end_token_id: The token that ends a response.
    """

    tokenizer: Tokenizer
    chat_template: str | None
    bos_token: str
    eos_token: str
    end_token_id: int

    @property
    def texts(self) -> ModelTexts:
        """What templates need of it."""
        return ModelTexts(self.chat_template, self.bos_token, self.eos_token)

    def template(self, text: str | None, is_free_text: bool, columns: str = "") -> Template:
        """The template of a task, see `ModelTexts.template`."""
        return self.texts.template(text, is_free_text, columns)


@dataclass(frozen=True)
class FrozenModel:
    """A frozen causal language model on a 4-bit grid.

    Attributes:
        name: What to call it.
        loaded: The model, its weights and its report.
        text: Its tokenizer.
        kernel: The kernel of its linear layers.
    """

    name: str
    loaded: LoadedModel
    text: ModelTokenizer
    kernel: str

    @property
    def network(self) -> Any:
        """The transformers model."""
        return self.loaded.model

    @property
    def config(self) -> Any:
        """The transformers configuration."""
        return self.loaded.config

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return device_of(self.network)

    @property
    def compute_dtype(self) -> torch.dtype:
        """Of activations; what is trained stays float32 and is cast where it joins."""
        dtype: torch.dtype = self.network.get_input_embeddings().compute_dtype
        return dtype

    @property
    def context_length(self) -> int:
        """Tokens that it was made for; without limit where its configuration names none."""
        limit: int = getattr(self.config, "max_position_embeddings", sys.maxsize)
        return limit

    @cached_property
    def shares_prefix(self) -> bool:
        """Whether rows can share the keys and values of a prefix, see `masks.shares_prefix`."""
        return shares_prefix(self.network)

    @cached_property
    def vocabulary_std(self) -> float:
        """Standard deviation of the embedding's entries, from 4,096 evenly spread rows."""
        vocab_size = self.network.get_input_embeddings().num_embeddings
        rows = torch.linspace(0, vocab_size - 1, min(4096, vocab_size)).long()
        return float(self.embed(rows).std())

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings float32 [.., H] of token ids int64 [..], scaled where the model does so."""
        embedded: Tensor = self.network.get_input_embeddings()(ids.to(self.device))
        return embedded.float()


def load_tokenizer(path: Path) -> ModelTokenizer:
    """Read the tokenizer of a model folder or GGUF file.

    Args:
        path (Path): A folder in the Hugging Face layout, or a `.gguf` file.

    Raises:
        ModelError: There is no fast tokenizer, or it has no end token.
    """
    arguments = (
        {"pretrained_model_name_or_path": path}
        if path.is_dir()
        else {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    )
    try:
        wrapped: Any = transformers.AutoTokenizer.from_pretrained(
            **arguments, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        # The library below raises bare exceptions for a damaged tokenizer.json.
        raise ModelError(
            f"{path} has no tokenizer that can be read: {error}",
            "A model folder needs tokenizer.json and tokenizer_config.json.",
        ) from error
    backend = getattr(wrapped, "backend_tokenizer", None)
    if backend is None or wrapped.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {path} has {'no fast form' if backend is None else 'no end token'}.",
            "Use a model with tokenizer.json and an `eos_token`.",
        )
    # A copy through its JSON form: the very bytes that a bundle ships.
    tokenizer = Tokenizer.from_str(backend.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    chat_template = wrapped.chat_template
    return ModelTokenizer(
        tokenizer=tokenizer,
        chat_template=chat_template if isinstance(chat_template, str) else None,
        bos_token=wrapped.bos_token or "",
        eos_token=wrapped.eos_token,
        end_token_id=wrapped.eos_token_id,
    )


def choose_kernel(path: Path, kernel: Kernel, device: torch.device) -> tuple[str, str]:
    """The kernel of a loaded model's layers and why; a plan may choose another for its steps.

    Args:
        path (Path): The model, for its size.
        kernel (Kernel): What was asked for; `auto` decides by free memory.
        device (torch.device): Where the model computes.
    """
    if kernel in ("stream", "cached"):
        return kernel, "as asked"
    if device.type == "cuda":
        return "stream", "the card makes floats of the codes as they are needed"
    if is_available():
        return "stream", "a compiled pass makes floats of the codes as they are needed"
    float_bytes = _float_bytes(path)
    available = machine().available_memory_bytes or psutil.virtual_memory().available
    if 2 * float_bytes < available:
        return "cached", (
            f"its float copy takes about {float_bytes / 1e9:.1f} GB of "
            f"{available / 1e9:.1f} GB free"
        )
    return "stream", (
        f"a float copy would take about {float_bytes / 1e9:.1f} GB of "
        f"{available / 1e9:.1f} GB free; slower, least memory"
    )


def load_frozen(
    path: Path,
    name: str,
    scheme: Scheme,
    kernel: str,
    on_progress: Callable[[int, int, str], None] | None = None,
    *,
    device: torch.device | str = "cpu",
    compute_dtype: torch.dtype = torch.float32,
) -> FrozenModel:
    """Load a model, put it on the grid and read its tokenizer.

    Args:
        path (Path): A folder in the Hugging Face layout, or a `.gguf` file.
        name (str): What to call it.
        scheme (Scheme): The grid for float checkpoints.
        kernel (str): `stream` or `cached`.
        on_progress (Callable | None): Called with tensors done, their number, and the
            layer of the current one.
        device (torch.device | str): Where it computes.
        compute_dtype (torch.dtype): Of activations.
    """
    if kernel not in ("stream", "cached"):
        raise ValueError(f"no such kernel: {kernel}")
    loaded = load(
        path,
        scheme=scheme,
        kernel=kernel,  # type: ignore[arg-type]
        compute_dtype=compute_dtype,
        device=device,
        on_progress=on_progress,
    )
    tokenizer = load_tokenizer(path)
    # Reading tokenizer and checkpoint leaves freed memory that glibc would keep (56 MB here).
    return_freed_memory()
    return FrozenModel(name, loaded, tokenizer, kernel)


def _float_bytes(path: Path) -> int:
    """Bytes of a model's weights in float32, from its files alone."""
    if path.is_file():
        return path.stat().st_size * 7  # 4.5 to 5 bits a weight become 32
    config_path = path / "config.json"
    stored = sum(part.stat().st_size for part in path.glob("*.safetensors"))
    dtype = "float32"
    if config_path.is_file():
        config = read_json(config_path)
        dtype = config.get("dtype") or config.get("torch_dtype") or dtype
    return stored * (1 if dtype == "float32" else 2)
