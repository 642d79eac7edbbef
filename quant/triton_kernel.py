"""The Triton kernel that makes floats of blocks of codes. Importing it needs triton.

Legend: N output rows, K input columns, G blocks a row, C bytes a block, E elements of a block,
B blocks of a program.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def dequantize_blocks(  # type: ignore[no-untyped-def]
    codes,  # uint8 [N, G, C]
    scales,  # float32 [N, G]
    zero_points,  # uint8 [N, num_point_bytes]; not read unless HAS_POINTS
    offsets,  # float32 [N, G]; not read unless HAS_OFFSETS
    output,  # float [N, K]
    num_blocks,  # N * G
    blocks_a_row,  # G
    num_columns,  # K
    num_point_bytes,
    BITS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    HAS_POINTS: tl.constexpr,
    HAS_OFFSETS: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Writes `(code - zero_point) * scale` or `code * scale + offset`, rounded once at the end.

    The arithmetic is float32 with one rounding an operation, as on a processor: the kernel must be
    started with `enable_fp_fusion=False`, or the second form becomes a fused multiply-add.
    """
    # Products of these can be beyond 32 bits.
    blocks_B = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    is_block_B = blocks_B < num_blocks
    rows_B = blocks_B // blocks_a_row
    columns_B = blocks_B % blocks_a_row
    scales_B1 = tl.load(scales + blocks_B, mask=is_block_B, other=0.0)[:, None]

    NUM_BYTES: tl.constexpr = BLOCK_SIZE * BITS // 8
    bytes_BC = blocks_B[:, None] * NUM_BYTES + tl.arange(0, NUM_BYTES)[None, :]
    packed_BC = tl.load(codes + bytes_BC, mask=is_block_B[:, None], other=0)
    if BITS == 4:
        codes_BE = tl.interleave(packed_BC & 0xF, packed_BC >> 4).to(tl.float32)
    else:
        codes_BE = packed_BC.to(tl.float32)

    if HAS_OFFSETS:
        offsets_B1 = tl.load(offsets + blocks_B, mask=is_block_B, other=0.0)[:, None]
        weight_BE = codes_BE * scales_B1 + offsets_B1
    elif HAS_POINTS:
        point_bytes_B = rows_B * num_point_bytes + columns_B * BITS // 8
        points_B = tl.load(zero_points + point_bytes_B, mask=is_block_B, other=0)
        if BITS == 4:
            points_B = tl.where(columns_B % 2 == 0, points_B & 0xF, points_B >> 4)
        weight_BE = (codes_BE - points_B.to(tl.float32)[:, None]) * scales_B1
    else:
        MIDDLE: tl.constexpr = 1 << (BITS - 1)
        weight_BE = (codes_BE - MIDDLE) * scales_B1

    columns_BE = columns_B[:, None] * BLOCK_SIZE + tl.arange(0, BLOCK_SIZE)[None, :]
    is_weight_BE = is_block_B[:, None] & (columns_BE < num_columns)
    places_BE = rows_B[:, None] * num_columns + columns_BE
    tl.store(output + places_BE, weight_BE.to(output.dtype.element_ty), mask=is_weight_BE)
