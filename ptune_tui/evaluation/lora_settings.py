"""How LoRA is set where a prompt is compared with it; torch-free."""

from __future__ import annotations

RANK = 8
ALPHA = 16
LEARNING_RATE = 5e-4
