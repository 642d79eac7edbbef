"""Frozen 4-bit weights. torch only; knows nothing of prompts, trainers or ONNX."""

from __future__ import annotations
