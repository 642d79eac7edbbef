"""What loading did to a model, layer by layer.

Legend: N output rows, K input columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerReport:
    """One stored tensor.

    Attributes:
        name: Hugging Face parameter name.
        shape: (N, K), or (N,) for a vector.
        scheme: How it is held: `int4 zero_point`, `int8 symmetric`, `nf4`, `float32`, ...
        num_bytes: Bytes held.
        float_bytes: Bytes it would take in float32.
        relative_error: `|Q - W| / |W|` against the file, or None where it is exact.
    """

    name: str
    shape: tuple[int, ...]
    scheme: str
    num_bytes: int
    float_bytes: int
    relative_error: float | None

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class QuantReport:
    """A whole model.

    Attributes:
        layers: One report a stored tensor, in the order of the model; a tied head counts once.
        weights_hash: sha256 (hex) over the stored tensors, `packing.weights_hash`.
        family: Model type, `llama` for example.
        source: `safetensors` or `gguf`.
        scheme: Scheme that float matrices were put on, `int4` or `nf4`.
    """

    layers: tuple[LayerReport, ...]
    weights_hash: str
    family: str
    source: str
    scheme: str

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(layer.num_parameters for layer in self.layers)

    @property
    def quantised_bytes(self) -> int:
        """Bytes held, vectors included."""
        return sum(layer.num_bytes for layer in self.layers)

    @property
    def float_bytes(self) -> int:
        """Bytes of the same model in float32."""
        return sum(layer.float_bytes for layer in self.layers)

    @property
    def relative_error(self) -> float | None:
        """Root of the mean square over all weights, exact ones included; None if all are exact."""
        if all(layer.relative_error is None for layer in self.layers):
            return None
        squares = sum(
            layer.num_parameters * (layer.relative_error or 0.0) ** 2 for layer in self.layers
        )
        return math.sqrt(squares / self.num_parameters)

    def table(self) -> str:
        """The layers and the totals as plain text, one line each."""
        header = ("name", "shape", "scheme", "bytes", "error")
        rows = [header, *(_row(layer) for layer in self.layers)]
        total_error = _percent(self.relative_error)
        rows.append(("total", str(self.num_parameters), "", str(self.quantised_bytes), total_error))
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def _row(layer: LayerReport) -> tuple[str, str, str, str, str]:
    shape = "x".join(str(size) for size in layer.shape)
    return layer.name, shape, layer.scheme, str(layer.num_bytes), _percent(layer.relative_error)


def _percent(error: float | None) -> str:
    return "exact" if error is None else f"{error:.2%}"
