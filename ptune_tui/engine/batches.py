"""Encoded rows in batches: right-padded, in buckets of similar length.

Legend: B rows, T tokens of the longest row, N label positions of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from export.encoding import EncodedRow

# Widths are rounded up to a multiple: fresh shapes at every step fragment memory on a CPU.
BUCKET_WIDTH = 8
_POOL_BATCHES = 8
_MAX_BATCH_KEYS = 16384  # tokens in the caches of a batch that is scored, copies of a prefix too


@dataclass(frozen=True)
class Batch:
    """Rows behind the shared lead.

    Attributes:
        input_ids: int64 [B, T], right-padded with 0.
        lengths: Each row's own tokens, int64 [B].
        label_rows: Row of each label position, int64 [N].
        label_columns: Column whose logits predict the label, int64 [N].
        labels: Token to predict, int64 [N].
    """

    input_ids: Tensor
    lengths: Tensor
    label_rows: Tensor
    label_columns: Tensor
    labels: Tensor

    @property
    def num_tokens(self) -> int:
        """The rows' own tokens, padding not counted."""
        return int(self.lengths.sum())


def collate(rows: Sequence[EncodedRow], num_lead: int, bucket_width: int = BUCKET_WIDTH) -> Batch:
    """Rows to one batch, without the lead that the prefix holds.

    Args:
        rows (Sequence[EncodedRow]): At least one row; each has a token behind the lead.
        num_lead (int): Leading tokens that the prefix holds.
        bucket_width (int): T is a multiple of it.
    """
    sequences = [(row.prompt_ids + row.response_ids[:-1])[num_lead:] for row in rows]
    width = -(-max(map(len, sequences)) // bucket_width) * bucket_width
    input_ids = torch.zeros((len(rows), width), dtype=torch.int64)
    label_rows: list[int] = []
    label_columns: list[int] = []
    labels: list[int] = []
    for index, (row, sequence) in enumerate(zip(rows, sequences, strict=True)):
        input_ids[index, : len(sequence)] = torch.tensor(sequence)
        first = len(row.prompt_ids) - num_lead - 1
        label_rows += [index] * len(row.response_ids)
        label_columns += range(first, first + len(row.response_ids))
        labels += row.response_ids
    return Batch(
        input_ids,
        torch.tensor([len(sequence) for sequence in sequences]),
        torch.tensor(label_rows),
        torch.tensor(label_columns),
        torch.tensor(labels),
    )


def training_order(
    lengths: Sequence[int], batch_size: int, generator: torch.Generator
) -> Iterator[list[int]]:
    """Row numbers of batch after batch, without end; no batch has a row twice.

    Each epoch is shuffled, then sorted by length within pools of a few batches, so that little is
    padded and the order stays random. The rows that do not fill an epoch's last batch sit that
    epoch out; the next shuffle leaves out others.

    Args:
        lengths (Sequence[int]): Each row's tokens.
        batch_size (int): Rows a batch; fewer where there are fewer rows.
        generator (torch.Generator): Of the shuffles.
    """
    size = min(batch_size, len(lengths))
    pool_size = _POOL_BATCHES * size
    while True:
        epoch = torch.randperm(len(lengths), generator=generator).tolist()
        epoch = epoch[: len(epoch) // size * size]
        for first in range(0, len(epoch), pool_size):
            pool = sorted(epoch[first : first + pool_size], key=lambda row: lengths[row])
            batches = [pool[start : start + size] for start in range(0, len(pool), size)]
            for choice in torch.randperm(len(batches), generator=generator).tolist():
                yield batches[choice]


def sorted_batches(
    lengths: Sequence[int], max_tokens: int, prefix_length: int = 0
) -> Iterator[list[int]]:
    """Row numbers in batches of similar length for scoring, longest first.

    Args:
        lengths (Sequence[int]): Each row's tokens.
        max_tokens (int): Padded tokens a batch may have; one row is always taken.
        prefix_length (int): Tokens of the prefix, of which every row may hold a copy.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        longest = max(1, lengths[order[0]])
        size = max(1, min(max_tokens // longest, _MAX_BATCH_KEYS // (prefix_length + longest)))
        yield order[:size]
        order = order[size:]
