"""ptune: soft prompts on a frozen 4-bit language model, from the terminal to an offline CPU."""

from __future__ import annotations

__version__ = "0.1.0"
