"""The vocabulary's embeddings as a bundle's graph computes them, scaled where the model does so.

The part of the graph between the token ids and the place where virtual tokens join is run alone, so
nothing of the base is needed but the bundle.

Legend: C token ids, V vocabulary, H hidden.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from export.bundle import verify_file
from export.errors import BundleError
from export.manifest import Manifest, data_files
from export.ort import open_part

FloatArray = npt.NDArray[np.float32]
_IDS = "input_ids"
_SOFT_PROMPT = "soft_prompt"


class VocabularyTable:
    """Looks up embeddings of real tokens.

    Args:
        graph (Path): A graph; its data file lies beside it.
        size (int): V.

    Raises:
        BundleError: The graph has no place where virtual tokens join.
    """

    def __init__(self, graph: Path, size: int) -> None:
        self.size = size
        model = onnx.load(graph, load_external_data=False)
        self._session = open_part(_lookup(model, graph).SerializeToString(), graph.parent)

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> VocabularyTable:
        """That of a bundle.

        Args:
            folder (Path): The bundle.
            manifest (Manifest): Its own.

        Raises:
            BundleError: A file was changed.
        """
        precision = manifest.default_precision
        for name in data_files(precision):
            verify_file(folder, manifest, name)
        graph = verify_file(folder, manifest, manifest.graphs[precision])
        return cls(graph, manifest.shape.vocab_size)

    def rows(self, ids: npt.NDArray[np.int64]) -> FloatArray:
        """Embeddings [C, H] of token ids [C] below V."""
        (found,) = self._session.run(None, {_IDS: ids[None]})
        rows: FloatArray = found[0]
        return rows


def _lookup(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The part of a graph that looks tokens up."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    of_prompt = {_SOFT_PROMPT}
    for node in graph.node:
        if of_prompt.isdisjoint(node.input):
            continue
        if node.op_type == "Where":
            (tokens,) = (name for name in node.input[1:] if name not in of_prompt)
            break
        of_prompt.update(node.output)
    else:
        raise BundleError(
            f"{path} has no place where virtual tokens join the others.", "Export the run again."
        )
    needed, names = [], [tokens]
    seen = set(names)
    for name in names:  # grows on the way
        if name in made_by:
            needed.append(made_by[name])
            new = [each for each in made_by[name].input if each and each not in seen]
            seen.update(new)
            names += new
    part = onnx.helper.make_graph(
        [node for node in graph.node if any(node is each for each in needed)],
        "vocabulary",
        [value for value in graph.input if value.name == _IDS],
        [onnx.helper.make_tensor_value_info(tokens, onnx.TensorProto.FLOAT, None)],
        [tensor for tensor in graph.initializer if tensor.name in seen],
    )
    return onnx.helper.make_model(
        part, opset_imports=model.opset_import, ir_version=model.ir_version
    )
