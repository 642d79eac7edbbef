"""A training step written out: forward and backward of a Llama decoder in compiled passes."""

from __future__ import annotations
