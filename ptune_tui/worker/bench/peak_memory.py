"""The largest memory of this process, and how to begin to measure it anew.

On CUDA it is what torch has allocated on the card, else what is resident.

`ru_maxrss` is no use here on Linux: a child inherits the figure of the process that started it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from ptune_tui.training_speed import BenchDevice


def peak_memory_bytes(device: BenchDevice) -> int:
    """Largest memory since the process began, or since `forget_peak`.

    Args:
        device (BenchDevice): Where the contender computes.
    """
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    if sys.platform == "win32":
        peak: int = psutil.Process().memory_info().peak_wset
        return peak
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage << 10


def forget_peak(device: BenchDevice) -> bool:
    """Begin the peak anew at the memory in use now; False where the system cannot.

    Args:
        device (BenchDevice): Where the contender computes.
    """
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return True
    if sys.platform != "linux":
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
