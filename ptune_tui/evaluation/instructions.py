"""The instruction that stands for a prompt written by hand."""

from __future__ import annotations

from collections.abc import Sequence

NO_INSTRUCTION = "No instruction line: for free text, give one with `--instruction`."


def propose_instruction(labels: Sequence[str]) -> str:
    """An instruction that names the labels.

    Args:
        labels (Sequence[str]): The closed set.
    """
    return f"Classify the text. Answer with exactly one of these labels: {', '.join(labels)}."
