"""How fast machines compute: the figures that turn counts of arithmetic into seconds.

Processors are told apart by their instruction sets. One class was measured (AVX512-VNNI, on an AMD
EPYC of family 26); the others are assumed, mostly from the width of their registers, and are marked
as not measured. Weights become floats in compiled passes; without a C++ compiler that takes longer.
Graphics cards have their makers' figures for memory bandwidth and dense bf16 products with fp32
sums, of which a training step reaches only a share; they are marked as not measured, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MEASURED = "measured on an AMD EPYC of this class; others may take twice as long"
NOT_MEASURED = "not measured"

GIGA = 1e9


@dataclass(frozen=True)
class Throughput:
    """What a machine does in a second.

    Attributes:
        name: The class of processor, or the card.
        float_gops: 1e9 operations of its float products (fp32 on a processor, bf16 on a card); a
            multiplication and an addition are two.
        int8_gops: The same of 8-bit products; 0 where it has none.
        dequantised_gweights: 1e9 weights taken from the 4-bit grid to floats.
        bandwidth_gbytes: 1e9 bytes read or written by element-wise passes.
        source: `MEASURED` or `NOT_MEASURED`.
    """

    name: str
    float_gops: float
    int8_gops: float
    dequantised_gweights: float
    bandwidth_gbytes: float
    source: str


# Figures of one thread. The first was measured: products of 128 to 2048 rows with the default
# model's matrices, and training steps for the bandwidth, which is that of freshly mapped memory.
_PROCESSORS = {
    "avx512_vnni": Throughput("AVX512-VNNI", 250, 1000, 8.0, 6, MEASURED),
    "avx512f": Throughput("AVX512", 120, 120, 4.0, 5, NOT_MEASURED),
    "avx_vnni": Throughput("AVX-VNNI", 80, 300, 1.2, 5, NOT_MEASURED),
    "avx2": Throughput("AVX2", 80, 80, 1.2, 5, NOT_MEASURED),
    "i8mm": Throughput("ARM with I8MM", 50, 200, 0.5, 5, NOT_MEASURED),
    "asimddp": Throughput("ARM with dot products", 40, 80, 0.4, 4, NOT_MEASURED),
}
_OTHER_PROCESSOR = Throughput("other processor", 20, 20, 0.2, 3, NOT_MEASURED)

# Name as nvidia-smi has it, GB/s, TFLOP/s (dense, fp32 sums; T4 and V100: fp16). A longer name goes
# before a shorter one that it begins with.
_CARDS = (
    ("RTX 3050", 224, 18),
    ("RTX 3060", 360, 25),
    ("RTX 3070", 448, 41),
    ("RTX 3080", 760, 60),
    ("RTX 3090", 936, 71),
    ("RTX 4060 Ti", 288, 44),
    ("RTX 4060", 272, 30),
    ("RTX 4070", 504, 58),
    ("RTX 4080", 717, 97),
    ("RTX 4090", 1008, 165),
    ("RTX 5070", 672, 62),
    ("RTX 5080", 960, 113),
    ("RTX 5090", 1792, 210),
    ("RTX A6000", 768, 155),
    ("T4", 320, 65),
    ("V100", 900, 125),
    ("L40S", 864, 362),
    ("L4", 300, 121),
    ("A10G", 600, 70),
    ("A10", 600, 125),
    ("A100", 1555, 312),
    ("H100", 3350, 989),
    ("H200", 4800, 989),
)
REACHED_SHARE = 0.4  # of a card's figures, assumed


def processor_throughput(flags: Sequence[str] | None, num_threads: int) -> Throughput:
    """Figures of a processor.

    Args:
        flags (Sequence[str] | None): Its instruction sets, as `hardware.Machine` has them.
        num_threads (int): Threads that compute, one a core.
    """
    one = next((_PROCESSORS[key] for key in _PROCESSORS if key in (flags or ())), _OTHER_PROCESSOR)
    return Throughput(
        f"{one.name}, {num_threads} threads" if num_threads > 1 else f"{one.name}, 1 thread",
        one.float_gops * num_threads,
        one.int8_gops * num_threads,
        one.dequantised_gweights * num_threads,
        one.bandwidth_gbytes * num_threads,
        one.source,
    )


def card_throughput(name: str | None) -> Throughput | None:
    """Figures of a graphics card, or None where the card is not in the table.

    Args:
        name (str | None): What it calls itself.
    """
    for part, bandwidth, teraflops in _CARDS:
        if name is not None and part in name:
            gbytes = REACHED_SHARE * bandwidth
            return Throughput(
                part,
                1000 * REACHED_SHARE * teraflops,
                0,
                gbytes / 2.5,  # half a byte is read and two are written for a weight
                gbytes,
                NOT_MEASURED,
            )
    return None
