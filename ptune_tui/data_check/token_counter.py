"""How many tokens rows have, by the model's own tokenizer and template, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from export.encoding import Request, RowEncoder
from export.errors import RowError, TemplateError
from export.template import RenderedPrompt
from ptune_tui.rows import Row

Counts = npt.NDArray[np.int32]
_MOST_KEPT = 1 << 14


class TokenCounter:
    """Counts tokens; the tokenizer works in Rust, on all cores.

    Args:
        encoder (RowEncoder): Template and tokenizer.
    """

    def __init__(self, encoder: RowEncoder) -> None:
        self._encoder = encoder
        # Labels recur: each is counted once.
        self._response_counts: dict[str, int] = {}

    @property
    def num_template_tokens(self) -> int:
        """Tokens of a row that has no prompt."""
        return len(self._encoder.encode_prompt("")[0])

    def prompts(self, rows: Sequence[Row]) -> tuple[Counts, dict[int, str]]:
        """Tokens in front of the responses, the template included.

        Returns:
            tuple[Counts, dict[int, str]]: The numbers [N]; and why the template does not take a
            row, by its index, whose number is then 0.
        """
        is_chat = self._encoder.renderer.is_chat
        rendered = self._rendered([self._request(row) for row in rows])
        refused = {
            index: found.message
            for index, found in enumerate(rendered)
            if isinstance(found, TemplateError)
        }
        texts = ["" if isinstance(found, TemplateError) else found.text for found in rendered]
        counts = self._count(texts, add_special_tokens=not is_chat)
        counts[list(refused)] = 0
        return counts, refused

    def why_unfit(self, row: Row, max_tokens: int) -> str | None:
        """Why a prompt cannot be cut to a number of tokens; None where it can."""
        try:
            self._encoder.encode_prompt(self._request(row), max_tokens)
        except (RowError, TemplateError) as error:
            return error.message
        return None

    def responses(self, texts: Sequence[str]) -> Counts:
        """Tokens [N] of responses, the end token included."""
        known = self._response_counts
        missing = list({text for text in texts if text not in known})
        rendered = [self._encoder.renderer.response(text) for text in missing]
        counts = self._count(rendered, add_special_tokens=False) + 1
        fresh = dict(zip(missing, counts.tolist(), strict=True))
        result = np.array([known.get(text) or fresh[text] for text in texts], np.int32)
        if len(known) + len(fresh) <= _MOST_KEPT:
            known.update(fresh)
        return result

    def _request(self, row: Row) -> Request:
        return row.request(is_chat=self._encoder.renderer.is_chat)

    def _rendered(self, requests: Sequence[Request]) -> list[RenderedPrompt | TemplateError]:
        """Single texts one by one, conversations together."""
        renderer = self._encoder.renderer
        conversations = [request for request in requests if not isinstance(request, str)]
        talks = iter(renderer.render_conversations(conversations) if conversations else ())
        return [
            renderer.render(request) if isinstance(request, str) else next(talks)
            for request in requests
        ]

    def _count(self, texts: list[str], *, add_special_tokens: bool) -> Counts:
        encodings = self._encoder.tokenizer.encode_batch_fast(
            texts, add_special_tokens=add_special_tokens
        )
        return np.fromiter(map(len, encodings), np.int32, len(texts))
