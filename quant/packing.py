"""Frozen weights as integer codes in blocks, two 4-bit codes a byte.

Legend: N output rows, K input columns, G blocks a row (`ceil(K / block_size)`), C bytes a block
(`block_size * bits / 8`).

The byte layout is that of the ONNX Runtime operator `com.microsoft::MatMulNBits`: element `2j` of a
block is the low nibble of byte `j`, element `2j + 1` the high one; 8-bit codes are one a byte.
A weight is

- `zero_point` form: `scale * (code - zero_point)`, zero points packed like the codes;
- `symmetric` form: `scale * (code - 2 ** (bits - 1))`, no zero points stored;
- `block_offset` form: `scale * code + offset` with a float offset a block (GGUF Q4_1, Q4_K).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from quant.native import passes

Form = Literal["zero_point", "symmetric", "block_offset"]


@dataclass(frozen=True)
class QuantSpec:
    """How a weight is put on the grid.

    Attributes:
        bits: 4 or 8.
        block_size: Elements along the input dimension that share a scale.
        form: How codes become weights.
    """

    bits: Literal[4, 8] = 4
    block_size: int = 32
    form: Form = "zero_point"


@runtime_checkable
class FrozenWeight(Protocol):
    """A weight that is stored in codes and read in floats."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        ...

    @property
    def num_bytes(self) -> int:
        """Bytes of all stored tensors."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the stored tensors are."""
        ...

    def dequantize(
        self, start: int = 0, stop: int | None = None, out: Tensor | None = None
    ) -> Tensor:
        """Rows `start:stop` as float32 [n, K], or in `out`, rounded to its dtype."""
        ...

    def stored_tensors(self) -> dict[str, Tensor]:
        """The stored tensors by name, in a fixed order."""
        ...

    def to(self, device: torch.device) -> FrozenWeight:
        """The same weight on another device; dtypes never change."""
        ...


@dataclass(frozen=True)
class QuantTensor:
    """A weight [N, K] on an integer grid.

    Attributes:
        spec: The grid.
        shape: (N, K).
        codes: uint8 [N, G, C].
        scales: float32 [N, G]; every value is exact in float16 unless `scales_are_half` is False.
        zero_points: uint8 [N, ceil(G * bits / 8)] in the `zero_point` form, else None.
        offsets: float32 [N, G] in the `block_offset` form, else None.
        scales_are_half: Whether scales and offsets are exact in float16.
    """

    spec: QuantSpec
    shape: tuple[int, int]
    codes: Tensor
    scales: Tensor
    zero_points: Tensor | None = None
    offsets: Tensor | None = None
    scales_are_half: bool = True

    @property
    def num_bytes(self) -> int:
        """Bytes of codes, scales, zero points and offsets, as they are held here."""
        return sum(t.numel() * t.element_size() for t in self.stored_tensors().values())

    @property
    def device(self) -> torch.device:
        """Where the stored tensors are."""
        return self.codes.device

    @property
    def dtype(self) -> torch.dtype:
        """What `dequantize` gives; some of transformers' models cast the head's input to it."""
        return torch.float32

    def stored_tensors(self) -> dict[str, Tensor]:
        """The stored tensors by name, in a fixed order."""
        named = {
            "codes": self.codes,
            "scales": self.scales,
            "zero_points": self.zero_points,
            "offsets": self.offsets,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device) -> QuantTensor:
        """The same weight on another device; dtypes never change."""
        moved = {name: tensor.to(device) for name, tensor in self.stored_tensors().items()}
        return replace(self, **moved)  # type: ignore[arg-type]

    def dequantize(
        self, start: int = 0, stop: int | None = None, out: Tensor | None = None
    ) -> Tensor:
        """Rows `start:stop` as float32 [n, K], or rounded to the dtype of `out` where it is given.

        The arithmetic is `(code - zero_point) * scale` or `code * scale + offset` in float32, one
        rounding an operation: what the exported graph and the `gguf` package compute.
        """
        rows = slice(start, stop)
        can_write = out is None or out.dtype in (torch.float32, torch.bfloat16)
        if can_write and self._is_compiled():
            return self._dequantize_compiled(rows, out)
        weight_NK = self._dequantize_plain(rows)
        return weight_NK if out is None else out.copy_(weight_NK)

    def _is_compiled(self) -> bool:
        """Whether the compiled pass covers this grid, here."""
        is_covered = self.spec.bits == 8 or self.spec.block_size == 32
        return is_covered and self.codes.device.type == "cpu" and passes.is_available()

    def _dequantize_compiled(self, rows: slice, out: Tensor | None) -> Tensor:
        codes = self.codes[rows]
        if out is None:
            out = torch.empty((codes.shape[0], self.shape[1]))
        passes.dequantize_blocks(
            *(codes, self.spec.bits, self.spec.block_size, self.scales[rows]),
            None if self.zero_points is None else self.zero_points[rows],
            None if self.offsets is None else self.offsets[rows],
            out,
        )
        return out

    def _dequantize_plain(self, rows: slice) -> Tensor:
        codes_NGE = unpack_codes(self.codes[rows], self.spec.bits).to(torch.float32)
        scales_NG1 = self.scales[rows].unsqueeze(-1)
        if self.spec.form == "block_offset":
            assert self.offsets is not None
            weight_NGE = codes_NGE.mul_(scales_NG1).add_(self.offsets[rows].unsqueeze(-1))
        else:
            weight_NGE = codes_NGE.sub_(self._zero_points_NG1(rows)).mul_(scales_NG1)
        num_columns = self.shape[1]
        weight_NK = weight_NGE.flatten(1)
        return weight_NK if weight_NK.shape[1] == num_columns else weight_NK[:, :num_columns]

    def _zero_points_NG1(self, rows: slice) -> Tensor | float:
        if self.zero_points is None:
            return float(1 << (self.spec.bits - 1))
        num_blocks = self.scales.shape[1]
        points = unpack_codes(self.zero_points[rows], self.spec.bits)[:, :num_blocks]
        return points.to(torch.float32).unsqueeze(-1)

    def rows(self, index: Tensor) -> QuantTensor:
        """The same weight with its rows reordered or selected by an int64 index [n]."""
        return QuantTensor(
            self.spec,
            (index.numel(), self.shape[1]),
            self.codes[index],
            self.scales[index],
            None if self.zero_points is None else self.zero_points[index],
            None if self.offsets is None else self.offsets[index],
            self.scales_are_half,
        )


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """Codes one a byte, uint8 [..., E], into uint8 [..., ceil(E * bits / 8)]; odd ends get a 0."""
    if bits == 8:
        return codes.to(torch.uint8).contiguous()
    if codes.shape[-1] % 2:
        codes = torch.nn.functional.pad(codes, (0, 1))
    return (codes[..., 0::2] | (codes[..., 1::2] << 4)).to(torch.uint8).contiguous()


def unpack_codes(packed: Tensor, bits: int) -> Tensor:
    """Packed codes, uint8 [..., C], into one a byte, uint8 [..., C * 8 / bits]."""
    if bits == 8:
        return packed
    return torch.stack((packed & 0x0F, packed >> 4), dim=-1).flatten(-2)


def weights_hash(weights: dict[str, FrozenWeight | Tensor]) -> str:
    """sha256 (hex) over all frozen tensors of a model, by sorted name.

    A prompt is bound to it: the same prompt on other weights is another model.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name]
        parts = {"": weight} if isinstance(weight, Tensor) else weight.stored_tensors()
        for part, tensor in parts.items():
            digest.update(f"{name}/{part}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
