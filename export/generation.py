"""One answer in the making: tokens chosen one by one, and the text they make.

Legend: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from export.constraint import Constraint
from export.sampling import Sampler, Sampling
from export.stopping import StopStrings

FloatArray = npt.NDArray[np.float32]
FinishReason = Literal["end", "stop", "length"]
GREEDY = Sampling()


class Decoder(Protocol):
    """Where the tokens of one request go."""

    def append(self, token: int) -> FloatArray:
        """Put a token behind the text so far; logits float32 [V] behind it."""
        ...


@dataclass(frozen=True)
class Limits:
    """When an answer ends.

    Attributes:
        end_token_id: The token that ends it.
        max_new_tokens: It has at most so many tokens.
        stop: Strings that end it; they are not part of it.
        is_cancelled: Asked before each token; true ends it, without a reason of its own.
    """

    end_token_id: int
    max_new_tokens: int
    stop: Sequence[str] = ()
    is_cancelled: Callable[[], bool] = lambda: False


class Generation:
    """An answer; iterate once over its pieces of text.

    Args:
        decoder (Decoder): Where the tokens go.
        tokenizer (Tokenizer): The model's tokenizer.
        ids (Sequence[int]): The request's tokens.
        logits (FloatArray): float32 [V] behind them.
        limits (Limits): When it ends.
        sampling (Sampling): How tokens are chosen.
        response_prefix (str): Text before the response that belongs to the template.
        constraint (Constraint | None): What it has to look like; None for any text.

    Attributes:
        finish_reason: Why it ended: the end token or nothing left to say, a stop string, or the
            longest length; None as long as it goes on, and where it was cancelled.
        num_prompt_tokens: Tokens of the request.
        tokens: The answer's tokens so far, without the end token.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        ids: Sequence[int],
        logits: FloatArray,
        limits: Limits,
        sampling: Sampling = GREEDY,
        response_prefix: str = "",
        constraint: Constraint | None = None,
    ) -> None:
        self.finish_reason: FinishReason | None = None
        self.num_prompt_tokens = len(ids)
        self.tokens: list[int] = []
        self._decoder, self._tokenizer, self._logits = decoder, tokenizer, logits
        self._limits, self._sampler = limits, Sampler(sampling, ids)
        self._response_prefix = response_prefix
        self._form = None if constraint is None else constraint.begin()

    def __iter__(self) -> Iterator[str]:
        stops = StopStrings(self._limits.stop)
        for piece in self._pieces():
            shown = stops.feed(piece)
            if shown:
                yield shown
            if stops.is_stopped:
                self.finish_reason = "stop"
                return
        rest = stops.rest()
        if rest:
            yield rest

    def ids(self) -> Iterator[int]:
        """The answer's tokens as they are chosen, without the end token.

        Raises:
            ConstraintError: The answer grew beyond what can be constrained.
        """
        for number in range(self._limits.max_new_tokens):
            if self._limits.is_cancelled():
                return
            if number:
                self._logits = self._decoder.append(self.tokens[-1])
            token = self._choose()
            if token == self._limits.end_token_id:
                self.finish_reason = "end"
                return
            self.tokens.append(token)
            yield token
            if self._form is not None and self._form.is_complete:
                self.finish_reason = "end"
                return
        self.finish_reason = "length"

    def _choose(self) -> int:
        if self._form is None:
            return self._sampler.choose(self._logits)
        token = self._sampler.choose(self._logits, self._form.allowed())
        self._form.take(token)
        return token

    def _pieces(self) -> Iterator[str]:
        """The text of the tokens, whole characters only."""
        stream = DecodeStream(skip_special_tokens=True)
        shown = ""
        for token in self.ids():
            piece = stream.step(self._tokenizer, token)
            if piece is not None:
                yield piece if shown else piece.removeprefix(self._response_prefix)
                shown += piece
        # The stream keeps the bytes of a character that the last token left incomplete.
        whole: str = self._tokenizer.decode(self.tokens)
        if len(whole) > len(shown):
            rest = whole[len(shown) :]
            yield rest if shown else rest.removeprefix(self._response_prefix)
