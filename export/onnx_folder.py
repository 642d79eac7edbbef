"""Model and prompt as one ONNX graph that runs wherever onnxruntime does.

    model.onnx, model.data   the graph; the prompt's keys and values are its cache's default
    tokenizer.json           that of training
    answer.py                answers with it, without ptune (export/standalone_answer.py)
    ptune.json               what it was made of, and what stands around a text

It carries every kind of prompt, because all of them end as keys and values.

Legend: S new tokens, T all tokens so far, L layers, P positions of the prompt and the lead behind
it, D head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper
from tokenizers import Tokenizer

from export.at_once import written_at_once
from export.encoding import RowEncoder
from export.errors import ParityError
from export.exported_model import ExportedModel
from export.folder_card import RowText, write_card
from export.gate import AskedPrecision, Built, Gate, Measured, Traced, check_parity
from export.graph_files import GRAPH_FILES, GraphFiles, num_bytes, write_graph_files
from export.manifest import TOKENIZER_FILE
from export.manifest_file import FOLDER_CARD
from export.ort import open_session
from export.precisions import Precision
from export.prompt_files import SOFT_PROMPT
from export.prompts import FloatArray
from export.session import DecoderSession
from export.space import check_space

GRAPH_FILE = "model.onnx"
ANSWER_FILE = "answer.py"
_MASK = "attention_mask"
_MARK = "\ue000"  # stands for the text; of no language
# The same nodes over the same numbers.
_MAX_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class OnnxFolder:
    """Writes one folder.

    Attributes:
        model: The base.
        gate: The prompt, and what it is measured against.
        precision: `fast` or `exact`; `auto` takes `fast` where it passes the gate.
        num_threads: Processor threads.
        report_progress: Called with layers stored and their number.
    """

    model: ExportedModel
    gate: Gate
    precision: AskedPrecision = "auto"
    num_threads: int = 0
    report_progress: Callable[[int, int], None] | None = None

    def write(self, destination: Path, *, overwrite: bool) -> Iterator[Measured | Built | Traced]:
        """Write the folder; nothing is left behind where it fails.

        Args:
            destination (Path): The folder.
            overwrite (bool): Whether one of ours that is there may be replaced.

        Raises:
            ExportError: The disk is too full.
            ParityError: The graph does not compute what torch computes.
            UnsupportedModelError: No graph can be made of the model.
            BundleError: The destination is taken.
        """
        with written_at_once(destination, overwrite, FOLDER_CARD) as folder:
            check_space(folder, num_bytes(self.model, "exact"))
            files = write_graph_files(folder, self.model, "exact", self.report_progress)
            if files.refusal is not None:
                yield Traced(files.refusal, files.num_nodes)
            yield Built("graphs", 1, 3)
            sessions = files.open(self.num_threads)
            parity = yield from self.gate.measure(sessions)
            check_parity(parity, self.precision)
            is_fast = self.precision != "exact" and parity["fast"].passed
            precision: Precision = "fast" if is_fast else "exact"
            self._write_graph(files, sessions, precision)
            # Windows renames no folder whose files are mapped.
            sessions.clear()
            self._write_rest(folder)
            yield Built("manifest", 3, 3)

    def _write_graph(
        self, files: GraphFiles, sessions: dict[Precision, DecoderSession], precision: Precision
    ) -> None:
        """Put the prompt into the graph, compare, and drop the other graph."""
        prompt = self.gate.prompt
        begins = sessions["exact"]
        start = begins.begin(prompt.prompt, prompt.lead_ids)
        prefix = begins.prefix(start)
        ids = self.gate.rows[0][len(prompt.lead_ids) :] or [prompt.end_token_id]
        session = sessions[precision]
        session.restore(prefix)
        expected = [session.forward(ids, start)[0]]
        following = int(expected[0].argmax())
        expected.append(session.forward([following], start + len(ids))[0])
        graph = standalone_graph(onnx.load(files.path(precision), load_external_data=False), prefix)
        for name in GRAPH_FILES.values():
            (files.folder / name).unlink(missing_ok=True)
        path = files.folder / GRAPH_FILE
        path.write_bytes(graph.SerializeToString())
        got = _two_steps(open_session(path, self.num_threads), ids, following)
        difference = max(
            float(np.abs(mine - theirs).max() / np.abs(theirs).max())
            for mine, theirs in zip(got, expected, strict=True)
        )
        if not difference < _MAX_DIFFERENCE:
            raise ParityError(
                f"The graph with the prompt inside is {difference:.2g} away from the one without.",
                "Nothing was written. This is a fault of ptune; please report it.",
            )

    def _write_rest(self, folder: Path) -> None:
        prompt = self.gate.prompt
        (folder / TOKENIZER_FILE).write_text(
            self.model.tokenizer_json, encoding="utf-8", newline=""
        )
        source = resources.files("export").joinpath("standalone_answer.py")
        (folder / ANSWER_FILE).write_bytes(source.read_bytes())
        tokenizer = Tokenizer.from_str(self.model.tokenizer_json)
        renderer = RowEncoder(tokenizer, prompt.template, prompt.end_token_id).renderer
        rendered = renderer.render(_MARK)
        row = RowText(
            before=rendered.text[: rendered.start],
            after=rendered.text[rendered.stop :],
            adds_special_tokens=not renderer.is_chat,
            num_lead_tokens=len(prompt.lead_ids),
            end_token_id=prompt.end_token_id,
            max_response_tokens=prompt.max_response_tokens,
        )
        names = (self.model.name, self.model.weights_hash)
        write_card(folder, "onnx", names, prompt, None, {}, row)


def _two_steps(session: Any, ids: list[int], following: int) -> list[FloatArray]:
    """Logits float32 [V] behind the tokens, and behind one more with the cache that came out."""
    first, *cache = session.run(None, {"input_ids": np.array([ids], np.int64)})
    names = [output.name for output in session.get_outputs()[1:]]
    feeds = {
        name.replace("present", "past_key_values"): values
        for name, values in zip(names, cache, strict=True)
    }
    feeds["input_ids"] = np.array([[following]], np.int64)
    return [first[0, -1], session.run(["logits"], feeds)[0][0, -1]]


def standalone_graph(model: ModelProto, prefix: FloatArray) -> ModelProto:
    """A decoder graph that needs nothing but tokens.

    Its mask is computed, and its cache has a default. One row at a time.

    Args:
        model (ModelProto): A graph with the names of `export.interface`; it is changed.
        prefix (FloatArray): Keys and values, float32 [L, 2, heads, P, D].
    """
    graph = model.graph
    # No virtual token is asked for, so the graph folds what would look one up.
    kept = [value for value in graph.input if value.name not in (_MASK, SOFT_PROMPT)]
    del graph.input[:]
    graph.input.extend(kept)
    for layer, pair in enumerate(prefix):
        for kind, values in zip(("key", "value"), pair, strict=True):
            name = f"past_key_values.{layer}.{kind}"
            graph.initializer.append(numpy_helper.from_array(values[None].copy(), name))
    nodes = [*_mask_nodes(), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.array([2]), "standalone.length_axis"))
    graph.initializer.append(numpy_helper.from_array(np.array([1]), "standalone.new_axis"))
    return model


def _mask_nodes() -> list[NodeProto]:
    """Ones, int64 [1, T]: every token is seen."""
    ones = numpy_helper.from_array(np.array([1], np.int64))
    shapes = ["standalone.cache_shape", "standalone.ids_shape"]
    return [
        helper.make_node("Shape", ["past_key_values.0.key"], [shapes[0]]),
        helper.make_node("Shape", ["input_ids"], [shapes[1]]),
        helper.make_node("Gather", [shapes[0], "standalone.length_axis"], ["standalone.past"]),
        helper.make_node("Gather", [shapes[1], "standalone.new_axis"], ["standalone.new"]),
        helper.make_node("Add", ["standalone.past", "standalone.new"], ["standalone.total"]),
        helper.make_node(
            "Concat", ["standalone.new_axis", "standalone.total"], ["standalone.mask"], axis=0
        ),
        helper.make_node("ConstantOfShape", ["standalone.mask"], [_MASK], value=ones),
    ]
