"""Training and scoring without a terminal: a library over torch, `quant` and transformers."""

from __future__ import annotations
