from __future__ import annotations
from dataclasses import dataclass
@dataclass(frozen=True)
class Setting:
    method: str = "prompt"
    num_virtual_tokens: int = 20
    batch_size: int = 32
    num_row_tokens: int = 64
    num_label_tokens: int = 2
    kernel: str = "cached"
    checkpointing: bool = False
@dataclass
class E:
    peak_bytes: int = 0
def estimate(a, b): return E()
