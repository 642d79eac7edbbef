"""Runs the kernel in Triton's interpreter or its compiler; a process of its own, see the test.

Triton decides at its import whether it interprets, by TRITON_INTERPRET.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import torch
from torch import Tensor

from quant.int4 import quantize
from quant.packing import Form, QuantSpec, QuantTensor
from quant.triton_dequantize import launch

SHAPES = [(7, 64), (40, 88), (3, 4096), (130, 33)]
GRIDS: list[tuple[int, int, Form]] = [
    (4, 32, "zero_point"),
    (4, 32, "symmetric"),
    (4, 32, "block_offset"),
    (8, 32, "zero_point"),
    (8, 64, "symmetric"),
    (4, 16, "zero_point"),
]
TYPES = {"output": "*bf16", "codes": "*u8", "zero_points": "*u8", "scales": "*fp32"}


def weight_of(shape: tuple[int, int], bits: int, block_size: int, form: Form) -> QuantTensor:
    torch.manual_seed(0)
    spec = QuantSpec(bits, block_size, "zero_point")  # type: ignore[arg-type]
    weight = quantize(torch.randn(shape), spec)
    if form == "zero_point":
        return weight
    # Scales as a GGUF file may have them, of which float16 knows nothing.
    scales = torch.randn_like(weight.scales)
    offsets = torch.randn_like(scales) if form == "block_offset" else None
    spec = QuantSpec(bits, block_size, form)  # type: ignore[arg-type]
    return QuantTensor(spec, shape, weight.codes, scales, None, offsets, scales_are_half=False)


def rounded(weight_NK: Tensor, dtype: torch.dtype) -> Tensor:
    """As the interpreter rounds: to bfloat16 it cuts the bits off, to others it rounds."""
    if dtype != torch.bfloat16:
        return weight_NK.to(dtype)
    return (weight_NK.view(torch.int32) & -(1 << 16)).view(torch.float32).to(dtype)


def interpret() -> None:
    for shape in SHAPES:
        for grid in GRIDS:
            weight = weight_of(shape, *grid)
            for dtype in (torch.float32, torch.float16, torch.bfloat16):
                for start, stop in ((0, None), (1, 3), (2, 2)):
                    expected = rounded(weight.dequantize(start, stop).contiguous(), dtype)
                    found = launch(weight, dtype, start, stop)
                    assert found.dtype == dtype
                    assert torch.equal(found, expected), (shape, grid, dtype, start, stop)


def compile_for(capability: int, bits: int, form: Form, *, fusion: bool) -> str:
    """PTX of the kernel for a card, which need not be here."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from quant.triton_kernel import dequantize_blocks

    constants = {
        "BITS": bits,
        "BLOCK_SIZE": 32,
        "HAS_POINTS": form == "zero_point",
        "HAS_OFFSETS": form == "block_offset",
        "BLOCKS": 64,
    }
    kernel: Any = dequantize_blocks
    signature = {
        name: "constexpr" if name in constants else TYPES.get(name, "i32")
        for name in kernel.arg_names
    } | {"offsets": "*fp32"}
    # Pointers and sizes are multiples of 16, as those of real layers are.
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if name not in constants
    }
    made = triton.compile(
        ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"enable_fp_fusion": fusion},
    )
    assert made.asm["cubin"]
    ptx: str = made.asm["ptx"]
    return ptx


def compile_all() -> None:
    for bits, form in ((4, "zero_point"), (4, "block_offset"), (8, "zero_point")):
        ptx = compile_for(80, bits, form, fusion=False)  # type: ignore[arg-type]
        assert not re.search(r"\b(fma|mad)\.rn", ptx), (bits, form)
        assert "cvt.rn.bf16" in ptx
        assert "st.global.v4" in ptx  # 16 bytes at a time
    assert "fma.rn" in compile_for(80, 4, "block_offset", fusion=True)


if __name__ == "__main__":
    {"interpret": interpret, "compile": compile_all}[sys.argv[1]]()
