"""Memory of this process."""

from __future__ import annotations

import psutil


def peak_memory_bytes() -> int:
    """Peak resident memory of this process; the present one where the system keeps no peak."""
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
