"""llama.cpp inside this process, through the binding `xllamacpp`.

Its server runs in a thread; a request is a function call, and the server's own clock counts. One
sequence at a time, nothing kept from one request to the next; the rest is as llama.cpp has it:
weights mapped and repacked, flash attention where it takes it, batches of 2048 in passes of 512.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptune_tui.answering_speed import Measure
from ptune_tui.errors import ModelError, UsageError
from ptune_tui.worker.bench.answering.contender import Timed, import_package
from ptune_tui.worker.bench.answering.files import (
    AS_IT_IS,
    AnsweringFolder,
    ChildSetting,
    Inputs,
)
from ptune_tui.worker.bench.messages import Taken

_PACKAGE = "xllamacpp"
_CONTEXT_STEP = 256  # llama.cpp rounds a context up to it
# What llama.cpp takes by itself.
BATCH_TOKENS = 2048
PASS_TOKENS = 512
_ERRORS_ONLY = 1


def num_cells(child: ChildSetting, inputs: Inputs) -> int:
    """Tokens that the cache must hold, as llama.cpp rounds them.

    Args:
        child (ChildSetting): How many tokens are decoded.
        inputs (Inputs): The longest prompt, and what the model takes.
    """
    longest = len(inputs.ids) + child.setting.num_new_tokens + 1
    return min(inputs.context_length, -(-longest // _CONTEXT_STEP) * _CONTEXT_STEP)


@dataclass(frozen=True)
class Binding:
    """A Python package around llama.cpp.

    Attributes:
        module: What is imported.
        package: What pip installs.
        libraries: Where in the module's folder llama.cpp's own libraries lie.
    """

    module: str
    package: str
    libraries: str


BINDINGS: Mapping[str, Binding] = {
    "llama.cpp": Binding(_PACKAGE, _PACKAGE, "."),
    "llama-cpp-python": Binding("llama_cpp", "llama-cpp-python", "lib"),
}


def quantise(
    binding: Binding, child: ChildSetting, type_name: str, folder: AnsweringFolder
) -> None:
    """Write the model's file in a type, unless it is taken as it is or is there.

    Args:
        binding (Binding): Whose library quantises; all have one recipe.
        child (ChildSetting): Which model.
        type_name (str): The type, or `file`.
        folder (AnsweringFolder): Where to.

    Raises:
        UsageError: The binding is not installed, or the model is no GGUF file.
    """
    module = import_package(binding.module, binding.package)
    path = Path(child.model_path)
    if path.suffix != ".gguf":
        raise UsageError(
            f"{path} is not a GGUF file, and llama.cpp reads nothing else.",
            "Name a GGUF file of the same model with `--model`.",
        )
    if type_name != AS_IT_IS and not folder.gguf(type_name).exists():
        from ptune_tui.worker.bench.answering.gguf_types import Quantiser, write_type

        libraries = Path(module.__path__[0]) / binding.libraries
        write_type(path, folder.gguf(type_name), type_name, Quantiser(libraries))


class LlamaCppAnswers:
    """llama.cpp with one file.

    Args:
        child (ChildSetting): Which model, and how many threads.
        variant (str): The file's type, or `file` for the model's own file.
        folder (AnsweringFolder): Where the others lie.
        inputs (Inputs): For the longest prompt.
    """

    def __init__(
        self, child: ChildSetting, variant: str, folder: AnsweringFolder, inputs: Inputs
    ) -> None:
        module = import_package(_PACKAGE, _PACKAGE)
        self._file = folder.llama_cpp_file(variant)
        self._server = module.Server(_parameters(module, self._file, child, inputs))
        self.computed_by = (
            f"xllamacpp {importlib.metadata.version(_PACKAGE)}, {self._file.name}, compiled for: "
            f"{module.get_system_info().strip(' |')}"
        )
        self.measures: Mapping[Measure, Callable[[], Taken]] = {}

    def answer(self, ids: Sequence[int], num_tokens: int) -> Timed:
        """Read tokens and decode so many further ones, by the server's own clock."""
        said = self._server.handle_completions(
            {
                "prompt": list(ids),
                "max_tokens": num_tokens + 1,
                "ignore_eos": True,
                "cache_prompt": False,
                # The most likely token, and no other sampler's work.
                "samplers": ["temperature"],
                "temperature": 0,
            }
        )
        timings = said.get("timings")
        if timings is None:
            raise ModelError(f"llama.cpp answered {said}.", "Another version may do otherwise.")
        counts = (timings["prompt_n"], timings["predicted_n"])
        if counts != (len(ids), num_tokens + 1):
            raise ModelError(
                f"llama.cpp read {counts[0]} of {len(ids)} tokens and decoded {counts[1]} of "
                f"{num_tokens + 1}.",
                "Another version may do otherwise.",
            )
        # Its clock of decoding starts when the first token is chosen.
        return Timed(timings["prompt_ms"] / 1e3, timings["predicted_ms"] / 1e3)

    def num_bytes(self) -> int:
        """Bytes of the file."""
        return self._file.stat().st_size


def _parameters(module: Any, file: Path, child: ChildSetting, inputs: Inputs) -> Any:
    setting = child.setting
    parameters = module.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx = num_cells(child, inputs)
    parameters.n_batch = BATCH_TOKENS
    parameters.n_ubatch = PASS_TOKENS
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = setting.num_threads
    parameters.cpuparams_batch.n_threads = setting.num_threads
    parameters.cache_ram_mib = 0
    parameters.cache_idle_slots = False
    parameters.fit_params = False  # there is no card to fit anything to
    parameters.ui = False
    parameters.port = 0  # a free one: several of these run at once
    parameters.verbosity = _ERRORS_ONLY
    return parameters
