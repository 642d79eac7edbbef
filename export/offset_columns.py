"""Block offsets as a few more columns of codes, which `MatMulNBits` multiplies at full speed.

Legend: N outputs, K inputs, G blocks of a row, E blocks of columns behind them.

A weight of the `block_offset` form is `scale * code + offset`, and the operator knows only integer
zero points. With the nearest one, `scale * (code - zero_point)`, a remainder of at most half a step
is left in each block, and what it adds to a product is the sum of the input's block times the
remainder. So the input's block means are put behind its columns, twice, and the remainders, as
4-bit codes of coarse and finer scales, behind the weight's. The codes of the weight itself are the
trained ones; of weights of both signs the remainder is kept to 1/28 of a row's largest step and
better, below what quantising the activations to 8 bits costs. A block whose values lie on one side
of zero leaves more, in its row, for which the export's gate has an eye. `exact` graphs add what is
still left in floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from export.nodes import NodeWriter
from quant.packing import QuantTensor

NUM_COPIES = 2
"""How often the block means stand behind the columns: with one the remainders are too coarse, a
third costs time and changes little (docs/performance.md)."""
_LARGEST_CODE = 7
_NUM_LEVELS = 16


@dataclass(frozen=True)
class ExtendedWeight:
    """A weight with the columns of its offsets.

    Attributes:
        codes: uint8 [N, G + E, 16], two a byte.
        scales: float32 [N, G + E].
        zero_points: uint8 [N, ceil((G + E) / 2)], two a byte.
        leftovers: float32 [G, N], what a block's mean is multiplied by beyond the columns.
    """

    codes: Tensor
    scales: Tensor
    zero_points: Tensor
    leftovers: Tensor


def can_extend(weight: QuantTensor) -> bool:
    """Whether a weight has offsets, and whole blocks of 32 codes of 4 bits."""
    spec = weight.spec
    is_whole = weight.shape[1] == weight.scales.shape[1] * spec.block_size
    return weight.offsets is not None and spec.bits == 4 and spec.block_size == 32 and is_whole


def extend(weight: QuantTensor) -> ExtendedWeight:
    """The weight and its offsets' remainders, all in codes.

    Args:
        weight (QuantTensor): One that `can_extend`.
    """
    assert weight.offsets is not None
    scales_NG, size = weight.scales, weight.spec.block_size
    num_rows, num_blocks = scales_NG.shape
    steps_NG = torch.where(scales_NG == 0, torch.ones_like(scales_NG), scales_NG)
    zero_points_NG = (-weight.offsets / steps_NG).round().clamp(0, _NUM_LEVELS - 1)
    remainders_NG = weight.offsets + zero_points_NG * scales_NG
    # A column's input is the mean of a block, its weight therefore the remainder times its size.
    left_NG = remainders_NG * size
    columns = torch.arange(num_blocks).repeat(NUM_COPIES)
    blocks_of_columns = [columns[at : at + size] for at in range(0, len(columns), size)]
    codes, scales = [weight.codes], [scales_NG]
    for block_of_column in blocks_of_columns:
        column_codes_NC, scale_N = _encode(left_NG, block_of_column, weight.scales_are_half)
        padding = torch.full((num_rows, size - len(block_of_column)), _NUM_LEVELS // 2)
        codes.append(_two_a_byte(torch.cat([column_codes_NC, padding], 1))[:, None])
        scales.append(scale_N[:, None])
    middle = torch.full((num_rows, len(blocks_of_columns)), _NUM_LEVELS // 2)
    zero_points = torch.cat([zero_points_NG.long(), middle], 1)
    if zero_points.shape[1] % 2:
        zero_points = torch.nn.functional.pad(zero_points, (0, 1))
    return ExtendedWeight(
        torch.cat(codes, 1).contiguous(),
        torch.cat(scales, 1).contiguous(),
        _two_a_byte(zero_points),
        left_NG.T.contiguous(),
    )


def block_means(nodes: NodeWriter, source: str, block_size: int) -> str:
    """Means of the blocks of `source [B, S, K]`: [B, S, G]; written once."""
    return nodes.once(
        f"{source}.block_means",
        "AveragePool",
        [source],
        kernel_shape=[block_size],
        strides=[block_size],
    )


def extended_input(nodes: NodeWriter, source: str, block_size: int) -> str:
    """`source [B, S, K]` with its block means behind: [B, S, K + copies G]; written once."""
    means = block_means(nodes, source, block_size)
    return nodes.once(f"{source}.extended", "Concat", [source, *[means] * NUM_COPIES], axis=-1)


def _encode(left_NG: Tensor, block_of_column: Tensor, is_half: bool) -> tuple[Tensor, Tensor]:
    """Codes int64 [N, C] of a block of columns and its scale [N]; takes them off `left_NG`."""
    num_columns_G = torch.bincount(block_of_column, minlength=left_NG.shape[1])
    reach_G = num_columns_G * (_LARGEST_CODE + 0.4)
    is_here_G = num_columns_G > 0
    scale_N = (left_NG[:, is_here_G].abs() / reach_G[is_here_G]).amax(1)
    if is_half:
        scale_N = scale_N.half().float()
    scale_N = torch.where(scale_N == 0, torch.ones_like(scale_N), scale_N)
    codes = []
    for column, block in enumerate(block_of_column.tolist()):
        num_left = int((block_of_column[column:] == block).sum())
        share_N = (left_NG[:, block] / scale_N / num_left).round()
        code_N = share_N.clamp(-_NUM_LEVELS // 2, _LARGEST_CODE)
        left_NG[:, block] -= code_N * scale_N
        codes.append(code_N.long() + _NUM_LEVELS // 2)
    return torch.stack(codes, 1), scale_N


def _two_a_byte(codes: Tensor) -> Tensor:
    """4-bit codes int64 [.., C] as bytes uint8 [.., C / 2], the first in the low half."""
    return (codes[..., 0::2] | codes[..., 1::2] << 4).to(torch.uint8).contiguous()
