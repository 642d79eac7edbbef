"""Where a prompt starts: a text, the labels, common tokens, or an earlier prompt.

A random start from N(0, 1) is 7 times larger than the entries of SmolLM2's vocabulary, whose
standard deviation is 0.135. So every start here is made of rows of the vocabulary, or of an earlier
prompt.

Legend: P virtual tokens, L layers, h key/value heads, D head size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ptune_tui.config import Initialisation
from ptune_tui.engine.adapter import other_weights
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.peft_adapter import adapter_folder, check_shape, read_peft_adapter
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.errors import UsageError
from ptune_tui.prompt_card import read_card

NUM_COMMON_TOKENS = 5000


@dataclass(frozen=True)
class Start:
    """What a method starts from.

    Attributes:
        prompt: Of the length asked for; gradients do not flow into it.
        remark: A sentence the user should hear, or None.
    """

    prompt: Prompt
    remark: str | None = None


def make_start(
    frozen: FrozenModel,
    num_virtual_tokens: int,
    init: Initialisation,
    *,
    init_text: str,
    init_prompt: Path | None,
    labels: Sequence[str] | None,
    token_counts: Counter[int],
    seed: int,
) -> Start:
    """The prompt that a method starts from.

    `text` repeats the text's tokens to length P. `vocabulary` samples from the 5,000 tokens that
    are most common in the training rows, each at most once (Lester et al. 2021, who count them in
    the pre-training corpus, which is not at hand). `labels` puts the labels' tokens last and
    samples the rest. `prompt` takes the first P tokens of an earlier prompt, repeated where it is
    shorter; keys keep the positions they were trained at.

    Args:
        frozen (FrozenModel): The model.
        num_virtual_tokens (int): P.
        init (Initialisation): Where the first values come from.
        init_text (str): The text of `text`.
        init_prompt (Path | None): The run's or PEFT adapter's folder of `prompt`.
        labels (Sequence[str] | None): The closed set of responses.
        token_counts (Counter[int]): How often each token occurs in the training rows.
        seed (int): Of the samples.

    Raises:
        DataError: The earlier prompt is missing, damaged or of another model's shape.
        UsageError: The text is empty, no earlier prompt is named, one is named that nothing asks
            for, or `labels` is asked for where the responses are free text.
    """
    if init == "prompt":
        return _earlier_start(frozen, num_virtual_tokens, init_prompt)
    if init_prompt is not None:
        raise UsageError(
            f'`init_prompt` names {init_prompt}, but init = "{init}" starts elsewhere.',
            'Set init = "prompt", or leave `init_prompt` out.',
        )
    generator = torch.Generator().manual_seed(seed)
    if init == "text":
        ids = _text_ids(frozen, init_text)
    elif init == "labels":
        ids = _label_ids(frozen, num_virtual_tokens, labels, token_counts, generator)
    else:
        ids = _common_ids(frozen, num_virtual_tokens, token_counts, generator)
    with torch.no_grad():
        return Start(VirtualTokens(frozen.embed(fitted(ids, num_virtual_tokens, 0))))


def fitted(values: Tensor, length: int, dim: int) -> Tensor:
    """The first `length` slices of a dimension, repeated from the beginning where there are fewer.

    Args:
        values (Tensor): Any shape and dtype, at least one slice.
        length (int): How many.
        dim (int): Of which dimension.
    """
    return values.index_select(dim, torch.arange(length, device=values.device) % values.shape[dim])


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


def _text_ids(frozen: FrozenModel, text: str) -> Tensor:
    """The text's tokens, int64."""
    ids = frozen.text.tokenizer.encode(text, add_special_tokens=False).ids
    if not ids:
        raise UsageError(
            f"The text that the prompt starts from is empty: {text!r}.", "Give `--init-text`."
        )
    return torch.tensor(ids)


def _label_ids(
    frozen: FrozenModel,
    num_virtual_tokens: int,
    labels: Sequence[str] | None,
    token_counts: Counter[int],
    generator: torch.Generator,
) -> Tensor:
    """Common tokens and behind them the labels', int64 [P]."""
    if labels is None:
        raise UsageError(
            'init = "labels" needs a closed set of responses, but these are free text.',
            'Use init = "text" or "vocabulary".',
        )
    tokenizer = frozen.text.tokenizer
    words = [tokenizer.encode(f" {label}", add_special_tokens=False).ids for label in labels]
    kept = torch.tensor([token for word in words for token in word])[:num_virtual_tokens]
    others = _common_ids(frozen, num_virtual_tokens - len(kept), token_counts, generator)
    return torch.cat([others, kept])


def _common_ids(
    frozen: FrozenModel, num_ids: int, token_counts: Counter[int], generator: torch.Generator
) -> Tensor:
    """Sampled tokens, int64 [num_ids]; rows with too few kinds are filled by vocabulary order.

    A tokenizer's merges are learnt most frequent first, so its order is nearly one of frequency.
    """
    common = [token for token, _ in token_counts.most_common(NUM_COMMON_TOKENS)]
    tokenizer = frozen.text.tokenizer
    if len(common) < num_ids:
        special = tokenizer.get_added_tokens_decoder()
        known = {*common, *special}
        unused = (token for token in range(tokenizer.get_vocab_size()) if token not in known)
        common += list(unused)[: num_ids - len(common)]
    chosen = torch.randperm(len(common), generator=generator)
    return torch.tensor(common)[fitted(chosen, num_ids, 0)]


def _earlier_start(frozen: FrozenModel, num_virtual_tokens: int, init_prompt: Path | None) -> Start:
    """The beginning of an earlier prompt, with a remark where it was trained elsewhere."""
    if init_prompt is None:
        raise UsageError(
            'init = "prompt" starts from an earlier prompt, but none is named.',
            "Give `--init-prompt` a run's or a PEFT adapter's folder.",
        )
    earlier = read_peft_adapter(init_prompt)
    check_shape(frozen, earlier.prompt, str(init_prompt))
    card = read_card(adapter_folder(init_prompt))
    remark = None
    if card is not None:
        remark = other_weights(frozen, card.weights_hash, str(init_prompt))
    elif earlier.base != frozen.name:
        remark = (
            f"The adapter in {init_prompt} says that it was trained on {earlier.base!r}; whether "
            f"those are the weights of {frozen.name} cannot be checked."
        )
    if isinstance(earlier.prompt, LayerPrefix):
        values = fitted(earlier.prompt.keys_values, num_virtual_tokens, 3)
        return Start(LayerPrefix(values.to(frozen.device)), remark)
    values = fitted(earlier.prompt.embeddings_PH, num_virtual_tokens, 0)
    return Start(VirtualTokens(values.to(frozen.device)), remark)
