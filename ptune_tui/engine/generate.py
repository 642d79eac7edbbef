"""Greedy answers in torch, several rows at a time.

Legend: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ptune_tui.engine.batches import sorted_batches
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prefix import Prefix
from ptune_tui.engine.scoring import continue_rows, read_rows

_MAX_BATCH_TOKENS = 1024


def generate_greedily(
    frozen: FrozenModel,
    prefix: Prefix,
    rows: Sequence[list[int]],
    max_new_tokens: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """Each row's most likely continuation, without the end token.

    Args:
        frozen (FrozenModel): The model.
        prefix (Prefix): What every row attends to.
        rows (Sequence[list[int]]): Tokens of each row behind the prefix, up to the response.
        max_new_tokens (int): At most so many tokens a row.
        on_progress (Callable[[int, int], None] | None): Called with rows done and their number.
    """
    answers: list[list[int]] = [[] for _ in rows]
    num_done = 0
    for numbers in sorted_batches(list(map(len, rows)), _MAX_BATCH_TOKENS, prefix.length):
        for number, answer in zip(
            numbers,
            _generate_batch(frozen, prefix, [rows[number] for number in numbers], max_new_tokens),
            strict=True,
        ):
            answers[number] = answer
        num_done += len(numbers)
        if on_progress:
            on_progress(num_done, len(rows))
    return answers


def _generate_batch(
    frozen: FrozenModel, prefix: Prefix, rows: list[list[int]], max_new_tokens: int
) -> list[list[int]]:
    read = read_rows(frozen, prefix, rows, max_new_tokens)
    end = frozen.text.end_token_id
    answers: list[list[int]] = [[] for _ in rows]
    is_open = [True] * len(rows)
    following = read.log_probabilities.argmax(-1)
    for step in range(max_new_tokens):
        for row, token in enumerate(following.tolist()):
            is_open[row] &= token != end
            if is_open[row]:
                answers[row].append(token)
        if not any(is_open) or step + 1 == max_new_tokens:
            break
        last = torch.zeros(len(rows), dtype=torch.int64)
        behind = continue_rows(frozen, prefix, read, step, following.unsqueeze(1), last)
        read.cache.position += 1
        following = behind.argmax(-1)
    return answers
