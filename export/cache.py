"""The key/value cache of an open graph: one memory that it appends to, or values that it returns.

Legend: T tokens so far, L layers, h key/value heads, D head size, M capacity.

A request says at which position it starts: everything before is kept, everything behind is
overwritten.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from export.ort import ort_value
from export.shape import DecoderShape

FloatArray = npt.NDArray[np.float32]
_FIRST_CAPACITY = 256


class KeyValueCache(Protocol):
    """What a session asks of its cache."""

    @property
    def capacity(self) -> int:
        """Positions there is memory for."""
        ...

    def bind(self, position: int, total: int) -> None:
        """Bind past and present for a run.

        Args:
            position (int): Where the new tokens start.
            total (int): Where they end.
        """
        ...

    def keep(self, total: int) -> None:
        """Take in what a run returned; the cache now ends at `total`."""
        ...

    def prefix(self, length: int) -> FloatArray:
        """A copy of the first rows, float32 [L, 2, h, length, D]."""
        ...

    def restore(self, prefix: FloatArray) -> None:
        """Put a prefix, float32 [L, 2, h, length, D], at the beginning."""
        ...


def open_cache(shape: DecoderShape, binding: Any) -> KeyValueCache:
    """The cache of the kind that a graph has.

    Args:
        shape (DecoderShape): The graph's numbers.
        binding (Any): onnxruntime's binding of its inputs and outputs.
    """
    if shape.cache == "grown":
        return GrownCache(shape, binding)
    return SharedCache(shape, binding)


class SharedCache:
    """One array that is bound as past and as present: the graph appends in place.

    That makes rewinding free, and a prompt's prefix a copy of its first rows.

    Args:
        shape (DecoderShape): The graph's numbers.
        binding (Any): onnxruntime's binding.
    """

    def __init__(self, shape: DecoderShape, binding: Any) -> None:
        self._shape, self._binding = shape, binding
        self._array = self._allocate(0)
        self._grow(_FIRST_CAPACITY)

    @property
    def capacity(self) -> int:
        """Positions there is memory for, M."""
        return int(self._array.shape[3])

    def bind(self, position: int, total: int) -> None:  # noqa: ARG002
        """Make room; past and present stay bound."""
        self._grow(total)

    def keep(self, total: int) -> None:
        """The graph wrote in place."""

    def prefix(self, length: int) -> FloatArray:
        """A copy of the first rows, float32 [L, 2, h, length, D]."""
        return self._array[:, :, :, :length].copy()

    def restore(self, prefix: FloatArray) -> None:
        """Put a prefix, float32 [L, 2, h, length, D], at the beginning."""
        length = prefix.shape[3]
        self._grow(length)
        self._array[:, :, :, :length] = prefix

    def _allocate(self, capacity: int) -> FloatArray:
        shape = self._shape
        return np.zeros(
            (shape.num_layers, 2, shape.num_key_value_heads, capacity, shape.head_size), np.float32
        )

    def _grow(self, needed: int) -> None:
        """Make room for `needed` positions, at least doubling, and bind the new array."""
        if needed <= self.capacity:
            return
        old = self._array
        limit = self._shape.context_length
        self._array = self._allocate(min(limit, max(needed, 2 * old.shape[3])))
        self._array[:, :, :, : old.shape[3]] = old
        self._bind_array()

    def _bind_array(self) -> None:
        binding = self._binding
        binding.clear_binding_inputs()
        binding.clear_binding_outputs()
        for number, (past, present) in enumerate(_names(self._shape.num_layers)):
            layer, kind = divmod(number, 2)
            part = self._array[layer : layer + 1, kind]
            place = ("cpu", 0, np.float32, part.shape, part.ctypes.data)
            binding.bind_input(past, *place)
            binding.bind_output(present, *place)


class GrownCache:
    """What a graph returned is its next past: the whole cache is copied at every token.

    The past of the last run is held beside it, so that several runs from one position (the labels
    of a row) copy nothing.

    Args:
        shape (DecoderShape): The graph's numbers.
        binding (Any): onnxruntime's binding.
    """

    def __init__(self, shape: DecoderShape, binding: Any) -> None:
        self._shape, self._binding = shape, binding
        self._values: list[Any] = []
        self._past: list[Any] = []
        self._length = self._past_length = 0
        heads, size = shape.num_key_value_heads, shape.head_size
        self.restore(np.zeros((shape.num_layers, 2, heads, 0, size), np.float32))

    @property
    def capacity(self) -> int:
        """Positions that are held, T."""
        return self._length

    def bind(self, position: int, total: int) -> None:  # noqa: ARG002
        """Bind the first `position` columns as past.

        Raises:
            ValueError: There are not so many.
        """
        if position != self._past_length:
            self._past, self._past_length = self._first(position), position
        binding = self._binding
        binding.clear_binding_outputs()
        for (past, present), value in zip(_names(self._shape.num_layers), self._past, strict=True):
            binding.bind_ortvalue_input(past, value)
            binding.bind_output(present, "cpu")

    def keep(self, total: int) -> None:
        """Take in present, 2 L values [1, h, T, D] in the order of the layers."""
        num_values = 2 * self._shape.num_layers  # whatever is bound behind them
        self._values, self._length = self._binding.get_outputs()[:num_values], total

    def prefix(self, length: int) -> FloatArray:
        """A copy of the first rows, float32 [L, 2, h, length, D]."""
        shape = self._shape
        parts = [value.numpy()[0, :, :length] for value in self._values]
        size = (shape.num_layers, 2, shape.num_key_value_heads, length, shape.head_size)
        return np.stack(parts).reshape(size)

    def restore(self, prefix: FloatArray) -> None:
        """Hold a prefix, float32 [L, 2, h, length, D], and nothing behind it."""
        self._values = [
            ort_value(np.ascontiguousarray(part)[None]) for layer in prefix for part in layer
        ]
        self._length = prefix.shape[3]
        self._past, self._past_length = self._values, self._length

    def _first(self, position: int) -> list[Any]:
        if position == self._length:
            return self._values
        if position > self._length:
            raise ValueError(f"position {position} of a cache that ends at {self._length}")
        return [
            ort_value(np.ascontiguousarray(value.numpy()[:, :, :position]))
            for value in self._values
        ]


def _names(num_layers: int) -> list[tuple[str, str]]:
    """Names of past and present, keys and values of each layer in turn."""
    return [
        (f"past_key_values.{layer}.{kind}", f"present.{layer}.{kind}")
        for layer in range(num_layers)
        for kind in ("key", "value")
    ]
