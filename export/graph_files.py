"""The graphs of a new bundle and their data files: written, opened, and reduced to what ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.blobs import BlobFile
from export.errors import UnsupportedModelError
from export.exported_model import ExportedModel
from export.gate import AskedPrecision
from export.graphs import Graphs, store_graphs
from export.manifest import DATA_FILE, INTEGERS_FILE
from export.precisions import Precision
from export.session import DecoderSession
from export.shape import DecoderShape

GRAPH_FILES: dict[Precision, str] = {
    "fast": "model.onnx",
    "exact": "exact.onnx",
    "throughput": "throughput.onnx",
}


@dataclass
class GraphFiles:
    """Graphs that were written.

    Attributes:
        folder: Where they lie.
        shape: What a runtime needs to know of them.
        refusal: Why they were traced; None where they are written node by node.
        num_nodes: Of the largest one.
        data_hashes: sha256 of the data files, by name, as they were written.
        precisions: Of the graphs.
    """

    folder: Path
    shape: DecoderShape
    refusal: str | None
    num_nodes: int
    data_hashes: dict[str, str]
    precisions: list[Precision]

    def open(self, num_threads: int) -> dict[Precision, DecoderSession]:
        """All graphs, open.

        Args:
            num_threads (int): Processor threads; 0 for the number of physical cores.
        """
        return {
            precision: DecoderSession(self.path(precision), self.shape, num_threads)
            for precision in self.precisions
        }

    def path(self, precision: Precision) -> Path:
        """The file of a graph."""
        return self.folder / GRAPH_FILES[precision]

    def drop_throughput(self) -> None:
        """Delete the graph that doubles a bundle, which answers in another one."""
        self.precisions.remove("throughput")
        del self.data_hashes[INTEGERS_FILE]
        for name in (GRAPH_FILES["throughput"], INTEGERS_FILE):
            (self.folder / name).unlink()


def num_bytes(model: ExportedModel, precision: AskedPrecision) -> int:
    """What the graphs and their data need on disk while they are made."""
    return model.num_bytes + model.num_frozen * (precision in ("auto", "throughput"))


def write_graph_files(
    folder: Path,
    model: ExportedModel,
    precision: AskedPrecision,
    on_progress: Callable[[int, int], None] | None = None,
) -> GraphFiles:
    """Write every graph that the bundle may answer in.

    Args:
        folder (Path): Where to.
        model (ExportedModel): The base.
        precision (AskedPrecision): What was asked for.
        on_progress (Callable[[int, int], None] | None): Called with parts stored and their number.

    Raises:
        UnsupportedModelError: No graph can be made of the model, or not the one asked for.
    """
    blobs = BlobFile(folder / DATA_FILE)
    try:
        graphs = store_graphs(model.network, model.weights, blobs, on_progress)
    finally:
        # Windows removes no folder with an open file in it.
        data_hash = blobs.close()
    if precision == "throughput" and graphs.build_throughput is None:
        raise UnsupportedModelError(
            f"A traced graph has no `throughput`, and this one is traced: {graphs.refusal}",
            "Use `--precision auto`, `fast` or `exact`.",
        )
    files = GraphFiles(folder, graphs.shape, graphs.refusal, 0, {DATA_FILE: data_hash}, [])
    blocks: tuple[Precision, ...] = ("fast", "exact")
    for name in blocks:
        graph = graphs.build(name)
        files.path(name).write_bytes(graph.SerializeToString())
        files.num_nodes = max(files.num_nodes, len(graph.graph.node))
        files.precisions.append(name)
    if precision in ("auto", "throughput") and graphs.build_throughput is not None:
        _write_throughput(files, graphs, model)
    return files


def _write_throughput(files: GraphFiles, graphs: Graphs, model: ExportedModel) -> None:
    assert graphs.build_throughput is not None
    blobs = BlobFile(files.folder / INTEGERS_FILE)
    try:
        graph = graphs.build_throughput(model.listen(), blobs)
    finally:
        files.data_hashes[INTEGERS_FILE] = blobs.close()
    files.path("throughput").write_bytes(graph.SerializeToString())
    files.precisions.append("throughput")
