"""llama.cpp inside this process, through the binding `llama-cpp-python`.

pip compiles it for the processor at hand, where the wheel of `xllamacpp` is compiled for all of its
kind. Our clock counts here: the binding chooses tokens in Python, which is a few microseconds each.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence

from ptune_tui.answering_speed import Measure
from ptune_tui.worker.bench.answering.contender import Timed, import_package
from ptune_tui.worker.bench.answering.files import AnsweringFolder, ChildSetting, Inputs
from ptune_tui.worker.bench.answering.llama_cpp import (
    BATCH_TOKENS,
    BINDINGS,
    PASS_TOKENS,
    num_cells,
)
from ptune_tui.worker.bench.messages import Taken

_BINDING = BINDINGS["llama-cpp-python"]


class LlamaCppPythonAnswers:
    """llama.cpp with one file.

    Args:
        child (ChildSetting): Which model, and how many threads.
        variant (str): The file's type, or `file` for the model's own file.
        folder (AnsweringFolder): Where the others lie.
        inputs (Inputs): For the longest prompt.

    Raises:
        UsageError: The binding is not installed.
    """

    def __init__(
        self, child: ChildSetting, variant: str, folder: AnsweringFolder, inputs: Inputs
    ) -> None:
        module = import_package(_BINDING.module, _BINDING.package)
        num_threads = child.setting.num_threads
        self._file = folder.llama_cpp_file(variant)
        self._model = module.Llama(
            str(self._file),
            n_ctx=num_cells(child, inputs),
            n_batch=BATCH_TOKENS,
            n_ubatch=PASS_TOKENS,
            n_threads=num_threads,
            n_threads_batch=num_threads,
            n_gpu_layers=0,
            verbose=False,
        )
        version = importlib.metadata.version(_BINDING.package)
        compiled_for = module.llama_print_system_info().decode().strip(" |\n")
        self.computed_by = (
            f"{_BINDING.package} {version}, {self._file.name}, compiled for: {compiled_for}"
        )
        self.measures: Mapping[Measure, Callable[[], Taken]] = {}

    def answer(self, ids: Sequence[int], num_tokens: int) -> Timed:
        """Read tokens and decode so many further ones, the most likely one each time."""
        self._model.reset()
        started = time.perf_counter()
        tokens = self._model.generate(list(ids), top_k=1, temp=0.0)
        next(tokens)
        read = time.perf_counter()
        for _ in range(num_tokens):
            next(tokens)
        return Timed(read - started, time.perf_counter() - read)

    def num_bytes(self) -> int:
        """Bytes of the file."""
        return self._file.stat().st_size
