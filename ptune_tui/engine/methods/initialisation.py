"""Where a prompt starts: tokens of a text, of the labels, or common ones.

A random start from N(0, 1) is some fifty times larger than the vocabulary's rows, so every start
here is made of rows of the vocabulary.

Legend: P virtual tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ptune_tui.config import Initialisation
from ptune_tui.engine.model import FrozenModel
from ptune_tui.errors import UsageError

NUM_COMMON_TOKENS = 5000


def start_ids(
    frozen: FrozenModel,
    num_virtual_tokens: int,
    init: Initialisation,
    init_text: str,
    labels: Sequence[str] | None,
    token_counts: Counter[int],
    generator: torch.Generator,
) -> Tensor:
    """Tokens whose embeddings the prompt starts from, int64 [P].

    Args:
        frozen (FrozenModel): The model.
        num_virtual_tokens (int): P.
        init (Initialisation): `text` repeats the text to length P; `labels` puts the labels' tokens
            last and samples the rest; `vocabulary` samples common tokens.
        init_text (str): The text of `text`.
        labels (Sequence[str] | None): The closed set of responses.
        token_counts (Counter[int]): How often each token occurs in the training rows.
        generator (torch.Generator): Of the samples.

    Raises:
        UsageError: The text is empty, or `labels` is asked for where the responses are free text.
    """
    tokenizer = frozen.text.tokenizer
    if init == "text":
        ids = tokenizer.encode(init_text, add_special_tokens=False).ids
        if not ids:
            raise UsageError(
                "The text that the prompt starts from is empty.", "Give `--init-text`."
            )
        repeated = ids * -(-num_virtual_tokens // len(ids))
        return torch.tensor(repeated[:num_virtual_tokens])
    common = [token for token, _ in token_counts.most_common(NUM_COMMON_TOKENS)]
    chosen = torch.randint(len(common), (num_virtual_tokens,), generator=generator)
    sampled = torch.tensor(common)[chosen]
    if init == "vocabulary":
        return sampled
    if labels is None:
        raise UsageError(
            'init = "labels" needs a closed set of responses, but these are free text.',
            'Use init = "text" or "vocabulary".',
        )
    words = [tokenizer.encode(f" {label}", add_special_tokens=False).ids for label in labels]
    label_ids = [token for word in words for token in word]
    kept = torch.tensor(label_ids[:num_virtual_tokens])
    return torch.cat([sampled[: num_virtual_tokens - len(kept)], kept])


def default_init_text(labels: Sequence[str] | None, responses: Iterable[str]) -> str:
    """A sentence about the task, for the start from a text.

    Args:
        labels (Sequence[str] | None): The closed set of responses.
        responses (Iterable[str]): Some responses, where there is no closed set.
    """
    if labels is not None:
        return f"Classify the text as one of: {', '.join(labels)}. The text belongs to the class"
    examples = "\n".join(responses)
    return f"Answer in exactly this form:\n{examples}\n"
