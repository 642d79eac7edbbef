"""The container of a GGUF file: its keys, and its tensors as mapped bytes.

Legend: N rows, D stored bytes a row.

`gguf.GGUFReader` makes an array object of every token of the vocabulary, which takes seconds and
150 MB for 49152 of them; a model's weights need none, so arrays of the header are stepped over.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from quant.errors import QuantError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}


@dataclass(frozen=True)
class GGUFTensor:
    """One tensor of the file.

    Attributes:
        name: Its name in the file.
        shape: (N, K) or (N,); the file itself writes the fastest dimension first.
        type_name: `Q4_1`, `F32`, ...
        data_ND: uint8 [N, D], mapped; one row where the tensor is a vector.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    data_ND: np.ndarray[Any, Any]


@dataclass(frozen=True)
class GGUFFile:
    """A file's header.

    Attributes:
        keys: Numbers and strings by key; arrays are left out.
        tensors: The tensors by name.
    """

    keys: dict[str, Any]
    tensors: dict[str, GGUFTensor]


def read_gguf(path: Path) -> GGUFFile:
    """Reads the header and maps the tensors.

    Args:
        path: The file.

    Raises:
        QuantError: If it is no GGUF file of version 2 or 3, or damaged, or cut off.
    """
    try:
        content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        return _parse(content)
    except (ValueError, LookupError, ArithmeticError, struct.error, OSError) as error:
        raise QuantError(
            f"{path}: not a readable GGUF file: {error}", "fetch the file again; it may be cut off"
        ) from error


def _parse(content: np.ndarray[Any, Any]) -> GGUFFile:
    cursor = _Cursor(content.data)
    magic, version = cursor.take("4sI")
    if magic != _MAGIC or version not in _VERSIONS:
        raise ValueError(f"it begins with {magic!r}, version {version}")
    num_tensors, num_keys = cursor.take("QQ")
    keys = {}
    for _ in range(num_keys):
        key = cursor.string()
        (kind,) = cursor.take("I")
        value = cursor.value(kind)
        if kind != _ARRAY:
            keys[key] = value
    infos = [_tensor_info(cursor) for _ in range(num_tensors)]
    alignment = keys.get("general.alignment", 32)
    start = math.ceil(cursor.position / alignment) * alignment
    tensors = {info[0]: _map_tensor(content, start, *info) for info in infos}
    return GGUFFile(keys, tensors)


def _tensor_info(cursor: _Cursor) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
    name = cursor.string()
    (num_dimensions,) = cursor.take("I")
    shape = cursor.take(f"{num_dimensions}Q")[::-1]
    type_number, offset = cursor.take("IQ")
    return name, shape, GGMLQuantizationType(type_number), offset


def _map_tensor(
    content: np.ndarray[Any, Any],
    start: int,
    name: str,
    shape: tuple[int, ...],
    kind: GGMLQuantizationType,
    offset: int,
) -> GGUFTensor:
    block_size, block_bytes = GGML_QUANT_SIZES[kind]
    row_bytes = shape[-1] // block_size * block_bytes
    num_rows = math.prod(shape[:-1])
    begin = start + offset
    if shape[-1] % block_size or begin + num_rows * row_bytes > content.size:
        raise ValueError(f"tensor {name} {shape} reaches beyond the end of the file")
    data_ND = content[begin : begin + num_rows * row_bytes].reshape(num_rows, row_bytes)
    return GGUFTensor(name, shape, kind.name, data_ND)


class _Cursor:
    """Reads little-endian values one after the other; `struct.error` past the end."""

    def __init__(self, content: memoryview) -> None:
        self.content = content
        self.position = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self.content, self.position)
        self.position += struct.calcsize(f"<{layout}")
        return values

    def string(self) -> str:
        (length,) = self.take("Q")
        (text,) = self.take(f"{length}s")
        return str(text, "utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.take(_SCALARS[kind])[0]
        item_kind, length = self.take("IQ")
        if item_kind in _SCALARS:
            self.position += length * struct.calcsize(_SCALARS[item_kind])
            return None
        for _ in range(length):
            if item_kind == _STRING:
                self.position += 8 + struct.unpack_from("<Q", self.content, self.position)[0]
            else:
                self.value(item_kind)
        return None
