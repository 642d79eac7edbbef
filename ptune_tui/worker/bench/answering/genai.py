"""ONNX Runtime GenAI: its own model builder's int4 model of the same base, in its own runtime."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from ptune_tui.answering_speed import Measure
from ptune_tui.errors import ModelError
from ptune_tui.worker.bench.answering.contender import Timed, import_package
from ptune_tui.worker.bench.answering.files import AnsweringFolder, ChildSetting, folder_bytes
from ptune_tui.worker.bench.messages import Taken

_MODULE, _PACKAGE = "onnxruntime_genai", "onnxruntime-genai"
_BUILDER = "onnxruntime_genai.models.builder"


def build(child: ChildSetting, folder: AnsweringFolder) -> None:
    """Let GenAI's builder make its int4 model of the float one.

    Args:
        child (ChildSetting): How many threads it will compute with.
        folder (AnsweringFolder): Where the float model lies.

    Raises:
        UsageError: GenAI is not installed.
        ModelError: The builder does not take the model.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import_package(_MODULE, _PACKAGE)
    for needed in ("onnx_ir", "torch", "transformers"):
        import_package(needed, needed.replace("_", "-"))
    # Logits of the last token alone, as every other contender has them; the rest is the default.
    command = [
        *(sys.executable, "-P", "-m", _BUILDER, "-i", str(folder.float_model)),
        *("-o", str(folder.genai_model), "-p", "int4", "-e", "cpu"),
        *("-c", str(folder.path / "genai-cache"), "--extra_options", "prune_lm_head=true"),
    ]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=offline, cwd=folder.path)
    sys.stderr.write(done.stdout + done.stderr)  # the worker's log
    config = folder.genai_model / "genai_config.json"
    if done.returncode != 0 or not config.is_file():
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise ModelError(
            f"GenAI's model builder does not take {child.model_name}: {said[-1]}",
            "It builds what its own documentation lists.",
        )
    content = json.loads(config.read_text(encoding="utf-8"))
    options = content["model"]["decoder"]["session_options"]
    options["intra_op_num_threads"] = child.setting.num_threads
    config.write_text(json.dumps(content), encoding="utf-8")


class GenaiAnswers:
    """GenAI's runtime.

    Args:
        folder (AnsweringFolder): Where its model lies.
    """

    def __init__(self, folder: AnsweringFolder) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        self._genai = import_package(_MODULE, _PACKAGE)
        self._folder = folder.genai_model
        self._model = self._genai.Model(str(self._folder))
        self.computed_by = (
            f"onnxruntime-genai {importlib.metadata.version(_PACKAGE)}, its builder's int4 with "
            "logits of the last token"
        )
        self.measures: Mapping[Measure, Callable[[], Taken]] = {}

    def answer(self, ids: Sequence[int], num_tokens: int) -> Timed:
        """Read tokens and decode so many further ones; the generator is made beforehand."""
        parameters = self._genai.GeneratorParams(self._model)
        length = len(ids) + 1 + num_tokens
        # A shortest length that is the longest one lets no end token end it.
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = self._genai.Generator(self._model, parameters)
        started = perf_counter()
        generator.append_tokens(list(ids))
        generator.generate_next_token()
        read = perf_counter()
        for _ in range(num_tokens):
            generator.generate_next_token()
        done = Timed(read - started, perf_counter() - read)
        if len(generator.get_sequence(0)) != length:
            raise ModelError(
                f"GenAI made {len(generator.get_sequence(0)) - len(ids)} of {num_tokens + 1} "
                "tokens.",
                "Another version may do otherwise.",
            )
        return done

    def num_bytes(self) -> int:
        """Bytes of its folder."""
        return folder_bytes(self._folder)
