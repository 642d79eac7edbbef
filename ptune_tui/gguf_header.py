"""What a GGUF file says of itself before its weights: values and tensor names, without torch.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Any

# Value types and their `struct` letters.
SCALARS = {
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
STRING, ARRAY = 8, 9
MAX_TEXT_BYTES = 1 << 24


@dataclass(frozen=True)
class ArrayLength:
    """Stands for an array, of which only the length is kept."""

    length: int


@dataclass(frozen=True)
class Header:
    """The beginning of a GGUF file.

    Attributes:
        values: Numbers and texts by key; an array is an `ArrayLength`.
        tensor_names: Names of the tensors.
    """

    values: dict[str, Any]
    tensor_names: frozenset[str]


def read_header(file: IO[bytes]) -> Header:
    """Read values and tensor names.

    Args:
        file (IO[bytes]): Open at its beginning.

    Raises:
        ValueError: It is no GGUF file.
        struct.error: It is cut short.
        KeyError: It has a value of an unknown type.
    """
    if file.read(4) != b"GGUF":
        raise ValueError("it does not begin with `GGUF`")
    _, num_tensors, num_values = _unpack(file, "IQQ")
    values: dict[str, Any] = {}
    for _ in range(num_values):
        key = _string(file)
        values[key] = _value(file, _unpack(file, "I")[0])
    names = set()
    for _ in range(num_tensors):
        names.add(_string(file))
        (num_dimensions,) = _unpack(file, "I")
        file.seek(8 * num_dimensions + 4 + 8, 1)  # dimensions, type, offset
    return Header(values, frozenset(names))


def _value(file: IO[bytes], kind: int) -> Any:
    if kind == STRING:
        return _string(file)
    if kind != ARRAY:
        return _unpack(file, SCALARS[kind])[0]
    element, length = _unpack(file, "IQ")
    if element in SCALARS:
        file.seek(length * struct.calcsize(SCALARS[element]), 1)
    else:
        for _ in range(length):
            _value(file, element)
    return ArrayLength(length)


def _string(file: IO[bytes]) -> str:
    (length,) = _unpack(file, "Q")
    if length > MAX_TEXT_BYTES:
        raise ValueError(f"a text of {length} bytes in its header")
    return file.read(length).decode("utf-8", "replace")


def _unpack(file: IO[bytes], layout: str) -> tuple[Any, ...]:
    return struct.unpack("<" + layout, file.read(struct.calcsize("<" + layout)))
