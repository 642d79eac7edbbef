"""ONNX artefacts: the graph, the bundle, and a runtime without torch."""

from __future__ import annotations
