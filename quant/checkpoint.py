"""Where weights come from: safetensors folders and GGUF files behind one reader.

Legend: N output rows, K input columns, n rows of a chunk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from quant.errors import QuantError
from quant.gguf import open_gguf
from quant.packing import QuantTensor

_FLOAT_DTYPES = ("F32", "F16", "BF16")
_INDEX = "model.safetensors.index.json"


class WeightSource(Protocol):
    """A checkpoint that is read one tensor, or one chunk of rows, at a time."""

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def kind(self) -> str:
        """`safetensors` or `gguf`."""
        ...

    @property
    def names(self) -> frozenset[str]:
        """Hugging Face names of all tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """(N, K) or (N,)."""
        ...

    def dtype(self, name: str) -> str:
        """The type in the file."""
        ...

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start:stop` of a float tensor, float32 [n, K]."""
        ...

    def columns(self, name: str, start: int, stop: int) -> Tensor:
        """Columns `start:stop` of a float tensor as rows, float32 [n, K] of a stored [K, N]."""
        ...

    def read(self, name: str) -> Tensor:
        """A whole float tensor, float32."""
        ...

    def quantised(self, name: str) -> QuantTensor | None:
        """The tensor on the file's own grid, or None where it is stored in floats."""
        ...


@dataclass(frozen=True)
class SafetensorsSource:
    """The safetensors files of a Hugging Face folder, single or sharded.

    Attributes:
        path: The folder.
        files: The file of every tensor.
    """

    path: Path
    files: dict[str, Path]
    kind: str = "safetensors"

    @property
    def names(self) -> frozenset[str]:
        """Names of all tensors."""
        return frozenset(self.files)

    def shape(self, name: str) -> tuple[int, ...]:
        """(N, K) or (N,)."""
        with safe_open(self.files[name], framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """The type in the file, `BF16` for example."""
        with safe_open(self.files[name], framework="pt") as file:
            return str(file.get_slice(name).get_dtype())

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start:stop` of a float tensor, float32 [n, K].

        The file is opened anew each time: mapped pages that were read are given back on closing.
        """
        with safe_open(self.files[name], framework="pt") as file:
            rows: Tensor = file.get_slice(name)[start:stop]
            # A copy even where the file has float32: a view would keep the mapping alive.
            return rows.to(torch.float32, copy=True)

    def columns(self, name: str, start: int, stop: int) -> Tensor:
        """Columns `start:stop` of a float tensor as rows, float32 [n, K] of a stored [K, N]."""
        with safe_open(self.files[name], framework="pt") as file:
            columns: Tensor = file.get_slice(name)[:, start:stop]
            return columns.t().to(torch.float32, copy=True).contiguous()

    def read(self, name: str) -> Tensor:
        """A whole float tensor, float32."""
        with safe_open(self.files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor.to(torch.float32, copy=True)

    def quantised(self, name: str) -> QuantTensor | None:
        """None: these files hold floats.

        Args:
            name: Name of the tensor.

        Raises:
            QuantError: If the tensor is of a type that is no plain float.
        """
        dtype = self.dtype(name)
        if dtype not in _FLOAT_DTYPES:
            raise QuantError(
                f"{self.files[name].name}: tensor {name} has the type {dtype}",
                f"the types that work are {', '.join(_FLOAT_DTYPES)}; take the model's "
                "unquantised checkpoint",
            )
        return None


def open_source(path: Path) -> WeightSource:
    """Opens a checkpoint.

    Args:
        path: A folder with `*.safetensors`, or a `.gguf` file.

    Raises:
        QuantError: If there is nothing to read at the path, or it is damaged, or is a pickle.
    """
    if path.is_dir():
        return SafetensorsSource(path, _tensor_files(path))
    if path.is_file() and path.suffix == ".gguf":
        return open_gguf(path)
    raise QuantError(
        f"{path}: no model here",
        "give a folder with config.json and *.safetensors, or a .gguf file",
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Args:
        path: The file.

    Raises:
        QuantError: If the file is missing or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise QuantError(
            f"{path}: no such file", "a Hugging Face folder holds config.json and *.safetensors"
        ) from error
    except ValueError as error:
        raise QuantError(f"{path}: not valid JSON: {error}", "fetch the file again") from error
    if not isinstance(content, dict):
        raise QuantError(f"{path}: not a JSON object", "fetch the file again")
    return content


def _tensor_files(folder: Path) -> dict[str, Path]:
    index = folder / _INDEX
    if index.exists():
        shards = read_json(index).get("weight_map", {})
        files = {folder / Path(shard).name for shard in shards.values()}
    else:
        files = set(folder.glob("*.safetensors"))
    if not files:
        raise QuantError(f"{folder}: no *.safetensors file", _hint_without_weights(folder))
    return {name: file for file in sorted(files) for name in _names(file)}


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise QuantError(
            f"{file}: not a readable safetensors file: {error}",
            "fetch the file again; it may be missing or cut off",
        ) from error


def _hint_without_weights(folder: Path) -> str:
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        return (
            "its weights are pickles, which can run code and are never read; save the model as "
            "safetensors"
        )
    return "fetch the model's *.safetensors files into the folder"
