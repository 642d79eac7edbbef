"""Compiles the sources for this processor, keeps the result in the user's cache, and loads it.

The object is linked without an OpenMP runtime of its own: its calls resolve to the one that torch
has loaded, so that both share one pool of threads and `torch.set_num_threads` holds for both.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs
import torch

_FOLDER = Path(__file__).parent
# Flags of each source; what is read as floats must round as torch does.
_SOURCES = {
    "rows.cpp": "-ffp-contract=fast",
    "attention.cpp": "-ffp-contract=fast",
    "dequantize.cpp": "-ffp-contract=off",
}
_HEADER = "vectors.h"
_FLAGS = ("-O3", "-fno-math-errno", "-fPIC", "-std=c++17")
_SECONDS = 120


@dataclass(frozen=True)
class Build:
    """The compiled kernels, or why there are none.

    Attributes:
        library: The loaded library, or None.
        reason: A sentence for a plan or a report.
    """

    library: ctypes.CDLL | None
    reason: str


@cache
def build() -> Build:
    """The kernels of this process; compiled at the first call on a machine (about two seconds).

    `PTUNE_NATIVE=off` does without them.
    """
    if os.environ.get("PTUNE_NATIVE") == "off":
        return Build(None, "PTUNE_NATIVE is off")
    if sys.platform != "linux":
        return Build(None, f"compiled kernels were not tried on {sys.platform}")
    return build_for("native")


def build_for(processor: str) -> Build:
    """The kernels for a processor.

    Args:
        processor (str): As the compiler's `-march` has it.
    """
    compiler = shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++")
    if compiler is None:
        return Build(None, "there is no C++ compiler (`c++`) here")
    try:
        path = _compiled(compiler, (*_FLAGS, f"-march={processor}"))
        return Build(ctypes.CDLL(str(path)), f"compiled by {Path(compiler).name}")
    except subprocess.CalledProcessError as error:
        first = (error.stderr or "no message").strip().splitlines()[:1]
        return Build(None, f"the C++ compiler failed: {''.join(first)}")
    except (OSError, subprocess.TimeoutExpired) as error:
        return Build(None, f"the compiled kernels cannot be used: {error}")


def _compiled(compiler: str, flags: tuple[str, ...]) -> Path:
    """The library's path; its name says source, compiler and processor."""
    macros = _output([compiler, *flags, "-dM", "-E", "-x", "c++", os.devnull])
    sources = [(_FOLDER / name).read_text(encoding="utf-8") for name in (*_SOURCES, _HEADER)]
    text = "".join([*sources, *_SOURCES.values(), *flags, macros, torch.__version__])
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = Path(platformdirs.user_cache_dir("ptune")) / "native"
    path = folder / f"kernels-{digest}.so"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        compiled, linked = [], Path(work) / "kernels.so"
        for name, flag in _SOURCES.items():
            compiled.append(str(Path(work) / f"{name}.o"))
            source = str(_FOLDER / name)
            _output([compiler, *flags, flag, "-fopenmp", "-c", source, "-o", compiled[-1]])
        _output([compiler, "-shared", *compiled, "-o", str(linked)])
        linked.replace(path)
    return path


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=True
    )
    return done.stdout
