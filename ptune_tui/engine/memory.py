"""Memory of the device that a model computes on: of the card on CUDA, else of this process.

A card's figures are those of torch's allocator, which keeps freed memory for itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

import psutil
import torch

from ptune_tui.hardware import machine


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory so far, on CUDA since `forget_peak`; the present one where none is kept.

    Args:
        device (torch.device): Where the model computes.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    memory = psutil.Process().memory_info()
    peak: int = getattr(memory, "peak_wset", 0)
    if peak:
        return peak
    try:
        import resource
    except ImportError:
        return int(memory.rss)
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if psutil.MACOS else usage * 1024


def forget_peak(device: torch.device) -> None:
    """Let the peak begin at what a card holds now; a process keeps the peak of its life.

    Args:
        device (torch.device): Where the model computes.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def used_bytes(device: torch.device) -> int:
    """Memory in use now.

    Args:
        device (torch.device): Where the model computes.
    """
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def free_bytes(device: torch.device) -> int:
    """Memory that can still be taken, what torch keeps for itself on a card included.

    Args:
        device (torch.device): Where the model computes.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return machine().available_memory_bytes or psutil.virtual_memory().available


def finish(device: torch.device) -> None:
    """Wait for what a device still computes: a clock read before that shows too little.

    Args:
        device (torch.device): Where the model computes.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def return_freed_memory() -> None:
    """Give memory that was freed back to the system where the C library keeps it (glibc)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
