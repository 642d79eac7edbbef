"""The only place that imports onnxruntime.

Its Linux wheels write a device id and an event store into the home folder unless the environment
variable below is set before the import.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy.typing as npt
import onnxruntime

from export.errors import BundleError

VERSION: str = onnxruntime.__version__


def ort_value(values: npt.NDArray[Any]) -> Any:
    """An array as onnxruntime holds it."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(values)


def save_adapter(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as the adapter file that replaces a graph's overridable initialisers.

    Args:
        path (Path): The file; memory-mapped where it is used.
        arrays (Mapping[str, NDArray]): By the initialiser's name.
    """
    adapter = onnxruntime.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(1)
    adapter.set_parameters({name: ort_value(array) for name, array in arrays.items()})
    adapter.export_adapter(str(path))


def _has_vnni() -> bool:
    """Whether the processor is known to add up products of bytes in 32 bits."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def open_session(graph: Path, num_threads: int = 0, spin: bool = True) -> Any:
    """Open a graph on the CPU.

    Args:
        graph (Path): An ONNX file; its data file lies beside it.
        num_threads (int): Threads of one operator; 0 for the number of physical cores.
        spin (bool): Whether threads that wait for the next operator burn their core. They stop
            when the run is over, so that between two answers nothing spins.

    Raises:
        BundleError: onnxruntime does not take the graph.
    """
    return _session(str(graph), _options(num_threads, spin), graph)


def open_part(graph: bytes, folder: Path) -> Any:
    """Open a graph that lies in no file, such as a part of another one.

    Args:
        graph (bytes): An ONNX model.
        folder (Path): Where its data file lies.

    Raises:
        BundleError: onnxruntime does not take the graph.
    """
    options = _options(0, spin=False)
    key = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(key, str(folder.resolve()))
    return _session(graph, options, folder)


def run_bound(session: Any, binding: Any, where: Path) -> None:
    """Run a session on what is bound.

    Args:
        session (Any): From `open_session`.
        binding (Any): Its inputs and outputs.
        where (Path): What to call it.

    Raises:
        BundleError: onnxruntime cannot compute it.
    """
    try:
        session.run_with_iobinding(binding)
    except Exception as error:
        # As in `_session`.
        raise BundleError(
            f"onnxruntime {VERSION} cannot compute {where}: {error}", "Export the run again."
        ) from error


def _options(num_threads: int, spin: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not _has_vnni():
        # Products of unsigned and signed bytes overflow 16 bits on x64 there, but for this. With
        # VNNI it costs a fifth of the speed and a copy of the weights for nothing.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _session(graph: str | bytes, options: Any, where: Path) -> Any:
    try:
        return onnxruntime.InferenceSession(
            graph, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        # onnxruntime raises a dozen classes of its own here, with no common base but Exception.
        raise BundleError(
            f"onnxruntime {VERSION} cannot load {where}: {error}",
            "Export the run again with this version of ptune.",
        ) from error
