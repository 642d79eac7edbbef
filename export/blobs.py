"""The data file of a bundle: every frozen tensor once, at an offset that several graphs name.

`model.onnx` and `exact.onnx` are two programs over these same bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

_ALIGNMENT = 4096  # onnxruntime maps blobs into memory by pages


@dataclass(frozen=True)
class Blob:
    """One tensor in the data file.

    Attributes:
        data_type: ONNX element type.
        shape: Its shape.
        offset: First byte.
        length: Bytes.
    """

    data_type: int
    shape: tuple[int, ...]
    offset: int
    length: int


@dataclass
class BlobFile:
    """Writes tensors into a data file, one after the other.

    Attributes:
        path: The data file.
        blobs: What was written, by name.
    """

    path: Path
    blobs: dict[str, Blob] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._file: IO[bytes] = self.path.open("wb")
        self._digest = hashlib.sha256()
        self._offset = 0

    def add(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Append a tensor.

        Args:
            name (str): What the graphs call it.
            array (npt.NDArray[np.generic]): Any shape that is not empty.
        """
        self._write(b"\0" * (-self._offset % _ALIGNMENT))
        content = np.ascontiguousarray(array)
        data_type = helper.np_dtype_to_tensor_dtype(content.dtype)
        self.blobs[name] = Blob(data_type, content.shape, self._offset, content.nbytes)
        self._write(content.data.cast("B"))

    def close(self) -> str:
        """Finish the file and return its sha256."""
        self._file.close()
        return self._digest.hexdigest()

    def initializer(
        self, name: str, alias: str | None = None, shape: tuple[int, ...] | None = None
    ) -> TensorProto:
        """A tensor of a graph that points into the data file.

        Args:
            name (str): A blob's name.
            alias (str | None): The tensor's name in the graph; None for the blob's.
            shape (tuple[int, ...] | None): Another shape over the same bytes.
        """
        blob = self.blobs[name]
        tensor = TensorProto(name=alias or name, data_type=blob.data_type, dims=shape or blob.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (
            ("location", self.path.name),
            ("offset", str(blob.offset)),
            ("length", str(blob.length)),
        ):
            tensor.external_data.add(key=key, value=value)
        return tensor

    def _write(self, content: bytes | memoryview) -> None:
        self._file.write(content)
        self._digest.update(content)
        self._offset += len(content)


def constant(name: str, values: npt.NDArray[np.generic]) -> TensorProto:
    """A small tensor inside the graph file."""
    data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
    return helper.make_tensor(name, data_type, values.shape, values.tobytes(), raw=True)
