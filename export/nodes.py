"""Collects the nodes and constants of a graph under names that never clash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper

from export.blobs import BlobFile, constant


class NodeWriter:
    """A graph in the making.

    Args:
        *blobs (BlobFile): The data files whose tensors the graph may name.
    """

    def __init__(self, *blobs: BlobFile) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self._blobs = blobs
        self._once: dict[str, str] = {}

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str] | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Append a node; returns the name of its first output.

        Args:
            operator (str): The operator's name.
            inputs (Sequence[str]): Input names; "" leaves one out.
            outputs (Sequence[str] | None): Output names; None makes one up.
            domain (str): The operator's domain.
            **attributes (Any): The operator's attributes.
        """
        name = f"{operator}_{len(self.nodes)}"
        names = list(outputs) if outputs is not None else [f"{name}.out"]
        self.nodes.append(
            helper.make_node(operator, list(inputs), names, name=name, domain=domain, **attributes)
        )
        return names[0]

    def once(self, key: str, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node unless one was appended under this key; returns its output."""
        if key not in self._once:
            self._once[key] = self.add(operator, inputs, **attributes)
        return self._once[key]

    def constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        """A small tensor inside the graph file; the same name must mean the same values."""
        if name not in self.initializers:
            self.initializers[name] = constant(name, values)
        return name

    def has(self, blob: str) -> bool:
        """Whether one of the data files has a tensor."""
        return any(blob in file.blobs for file in self._blobs)

    def external(
        self, blob: str, alias: str | None = None, shape: tuple[int, ...] | None = None
    ) -> str:
        """A tensor of a data file; returns its name in the graph."""
        name = alias or blob
        if name not in self.initializers:
            file = next(file for file in self._blobs if blob in file.blobs)
            self.initializers[name] = file.initializer(blob, alias, shape)
        return name
