"""A GGUF file in another type, quantised by llama.cpp's own code in the binding's library.

The recipe is that of llama.cpp's `llama-quantize` for dense models with a tied head: which tensor
gets which type, and what takes the place of a type whose blocks do not divide a row.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from ptune_tui.errors import ModelError

FloatArray = npt.NDArray[np.float32]
_FILE_TYPES = {
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
    "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M,
}
# By the type whose blocks do not divide a row.
_FALLBACKS = {
    GGMLQuantizationType.Q4_K: GGMLQuantizationType.Q5_0,
    GGMLQuantizationType.Q6_K: GGMLQuantizationType.Q8_0,
}
_ARCHITECTURE = "general.architecture"
_FILE_TYPE = "general.file_type"
_CONTAINER_KEYS = "GGUF."  # how the package calls what every file has
_FUNCTION = "ggml_quantize_chunk"


class Quantiser:
    """llama.cpp's quantisation.

    Args:
        folder (Path): Where the binding lies.

    Raises:
        ModelError: The binding's library does not offer it.
    """

    def __init__(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.so")) + sorted(folder.glob("*.pyd")):
            library = ctypes.CDLL(str(path))
            if hasattr(library, _FUNCTION):
                self._function = getattr(library, _FUNCTION)
                break
        else:
            raise ModelError(
                f"The libraries in {folder} have no `{_FUNCTION}`, so no file can be quantised.",
                "`llama.cpp:file` takes the model's own file.",
            )
        self._function.restype = ctypes.c_size_t
        self._function.argtypes = [
            *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
            *(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
        ]

    def blocks(self, values_NK: FloatArray, kind: GGMLQuantizationType) -> npt.NDArray[np.uint8]:
        """A matrix in blocks of a type, uint8 [N, bytes of a row]."""
        num_rows, num_columns = values_NK.shape
        block_size, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = np.empty((num_rows, num_columns // block_size * block_bytes), np.uint8)
        values_NK = np.ascontiguousarray(values_NK, np.float32)
        num_bytes = self._function(
            *(int(kind), values_NK.ctypes.data, blocks.ctypes.data, 0, num_rows, num_columns, None)
        )
        assert num_bytes == blocks.nbytes, (kind, num_bytes, blocks.nbytes)
        return blocks


@dataclass(frozen=True)
class Recipe:
    """Which tensor gets which type.

    Attributes:
        type_name: `Q4_0` or `Q4_K_M`.
        num_layers: Of the model.
        is_tied: Whether the embedding is the head.
    """

    type_name: str
    num_layers: int
    is_tied: bool

    def kind(self, name: str, num_columns: int) -> GGMLQuantizationType:
        """The type of a matrix.

        Args:
            name (str): Its name in the file.
            num_columns (int): Length of its rows.
        """
        kind = self._wanted(name)
        if num_columns % GGML_QUANT_SIZES[kind][0]:
            kind = _FALLBACKS[kind]
        return kind

    def _wanted(self, name: str) -> GGMLQuantizationType:
        if name == ("token_embd.weight" if self.is_tied else "output.weight"):
            return GGMLQuantizationType.Q6_K
        if self.type_name == "Q4_0":
            return GGMLQuantizationType.Q4_0
        parts = name.split(".")
        is_refined = parts[0] == "blk" and parts[2] in ("attn_v", "ffn_down")
        if is_refined and self._gets_more_bits(int(parts[1])):
            return GGMLQuantizationType.Q6_K
        return GGMLQuantizationType.Q4_K

    def _gets_more_bits(self, layer: int) -> bool:
        """The first and the last eighth of the layers, and every third between."""
        eighth = self.num_layers // 8
        is_at_an_end = layer < eighth or layer >= 7 * self.num_layers // 8
        return is_at_an_end or (layer - eighth) % 3 == 2


def write_type(source: Path, target: Path, type_name: str, quantiser: Quantiser) -> None:
    """Write a GGUF file in a type.

    Args:
        source (Path): A GGUF file; what is quantised in it becomes floats first.
        target (Path): The file to write.
        type_name (str): `Q4_0` or `Q4_K_M`.
        quantiser (Quantiser): Makes the blocks.
    """
    reader = gguf.GGUFReader(source)
    architecture = reader.fields[_ARCHITECTURE].contents()
    num_layers = reader.fields[f"{architecture}.block_count"].contents()
    is_tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    recipe = Recipe(type_name, num_layers, is_tied)
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name in (_ARCHITECTURE, _FILE_TYPE) or name.startswith(_CONTAINER_KEYS):
            continue
        element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=element)
    writer.add_file_type(_FILE_TYPES[type_name])
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if len(tensor.shape) == 1:
            writer.add_tensor(tensor.name, values)
            continue
        kind = recipe.kind(tensor.name, int(tensor.shape[0]))
        writer.add_tensor(tensor.name, quantiser.blocks(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
