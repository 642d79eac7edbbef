"""What this machine has."""

from __future__ import annotations

import csv
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from ptune_tui.paths import runs_folder

PROBE_SECONDS = 5
SHOWN_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


@dataclass(frozen=True)
class Accelerator:
    """A graphics card.

    Attributes:
        name: What it calls itself.
        total_memory_bytes: Its memory.
        free_memory_bytes: What nobody uses.
    """

    name: str
    total_memory_bytes: int
    free_memory_bytes: int


@dataclass(frozen=True)
class Machine:
    """What this machine has; None stands for what it does not say.

    Attributes:
        num_physical_cores: Cores of the machine.
        num_usable_cores: Logical cores that this process may use.
        processor: The processor's name.
        processor_flags: Which of the instruction sets that matter it has.
        total_memory_bytes: Memory, or the container's limit where that is lower.
        available_memory_bytes: What can be taken without swapping.
        free_disk_bytes: Of the disk that holds the runs.
        accelerator: The first NVIDIA card.
    """

    num_physical_cores: int | None
    num_usable_cores: int | None
    processor: str | None
    processor_flags: tuple[str, ...] | None
    total_memory_bytes: int | None
    available_memory_bytes: int | None
    free_disk_bytes: int | None
    accelerator: Accelerator | None


def machine() -> Machine:
    """Look at this machine; takes some milliseconds, a second where there is an NVIDIA card."""
    memory = psutil.virtual_memory()
    limit, used = _container_memory()
    total = min(memory.total, limit) if limit else memory.total
    available = min(memory.available, limit - used) if limit else memory.available
    flags = _processor_flags()
    return Machine(
        num_physical_cores=psutil.cpu_count(logical=False),
        num_usable_cores=_num_usable_cores(),
        processor=_processor_name(),
        processor_flags=flags,
        total_memory_bytes=total,
        available_memory_bytes=max(available, 0),
        free_disk_bytes=free_disk_bytes(runs_folder()),
        accelerator=_accelerator(),
    )


def environment_num_threads() -> int | None:
    """What `OMP_NUM_THREADS` asks for; None where it is not set, or set to no number of threads."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # one for each level
    return int(first) if first.isdecimal() and int(first) > 0 else None


def default_num_threads() -> int:
    """What the environment asks for; else physical cores, but no more than this process may use."""
    asked = environment_num_threads()
    if asked is not None:
        return asked
    usable = _num_usable_cores() or 1
    return min(psutil.cpu_count(logical=False) or usable, usable)


def compiles_passes() -> bool:
    """Whether the fused step's passes can be compiled here; `quant.native.build` tries it."""
    if os.environ.get("PTUNE_NATIVE") == "off" or sys.platform != "linux":
        return False
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++"))


def free_disk_bytes(folder: Path) -> int | None:
    """Free bytes of the disk that a folder is on, or would be on."""
    for existing in (folder, *folder.parents):
        if existing.is_dir():
            return shutil.disk_usage(existing).free
    return None


def _num_usable_cores() -> int | None:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _container_memory() -> tuple[int | None, int]:
    """A container's memory limit and use (cgroup version 2), where there is one."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except OSError:
        return None, 0
    return (None if limit == "max" else int(limit)), used


def _processor_name() -> str | None:
    if sys.platform == "darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return _cpuinfo("model name") or platform.processor() or platform.machine() or None


def _processor_flags() -> tuple[str, ...] | None:
    line = _cpuinfo("flags") or _cpuinfo("Features")
    if line is None:
        return None
    present = set(line.split())
    return tuple(flag for flag in SHOWN_FLAGS if flag in present)


def _cpuinfo(key: str) -> str | None:
    """The first value of a key in Linux's description of the processor."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == key:
                    return value.strip()
    except OSError:
        return None
    return None


def _accelerator() -> Accelerator | None:
    if shutil.which("nvidia-smi") is None:
        return None
    query = "--query-gpu=name,memory.total,memory.free"
    text = _output(["nvidia-smi", query, "--format=csv,noheader,nounits"])
    rows = list(csv.reader((text or "").splitlines(), skipinitialspace=True))
    if not rows or len(rows[0]) != 3 or not (rows[0][1].isdigit() and rows[0][2].isdigit()):
        return None
    name, total, free = rows[0]
    return Accelerator(name, int(total) << 20, int(free) << 20)


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
