"""A prefix at the beginning of an open bundle's cache, and the requests that are put behind it.

A prefix is the keys and values of a prompt and of the template's lead, computed once. A bundle has
one cache, so prefixes take turns in it, and so do requests: each takes the place of the one before.

Legend: P virtual tokens, L layers, D head size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.generation import Decoder
from export.prompts import AnyPrompt

if TYPE_CHECKING:
    from export.runtime import Bundle

FloatArray = npt.NDArray[np.float32]


class HeldPrefix:
    """A prefix that the cache of a bundle holds whenever something is read behind it.

    Args:
        bundle (Bundle): Whose cache.
        key (str): What the bundle tells its prefixes apart by.
        prompt (AnyPrompt | None): What it begins with; None for no prompt.
        lead_ids (list[int]): Template tokens behind that.
        keys_values (FloatArray | None): float32 [L, 2, heads, P + lead, D], as it was stored; None
            to compute it now.

    Attributes:
        num_virtual_tokens: P, or 0 without a prompt.
        keys_values: float32 [L, 2, heads, P + lead, D].
    """

    def __init__(
        self,
        bundle: Bundle,
        key: str,
        prompt: AnyPrompt | None,
        lead_ids: list[int],
        keys_values: FloatArray | None = None,
    ) -> None:
        self._bundle, self._key, self._lead_ids = bundle, key, lead_ids
        self.num_virtual_tokens = 0 if prompt is None else prompt.num_virtual_tokens
        self.keys_values = self._computed(prompt) if keys_values is None else keys_values

    @property
    def length(self) -> int:
        """Tokens of the prefix."""
        return int(self.keys_values.shape[3])

    def hold(self) -> None:
        """Make it the beginning of the cache unless it is there already."""
        self._bundle.hold(self._key, self.keys_values)

    def read(self, ids: list[int]) -> tuple[FloatArray, int]:
        """Put a request behind it.

        Args:
            ids (list[int]): The whole request, template included, without the virtual tokens.

        Returns:
            tuple[FloatArray, int]: Logits float32 [V] behind the request, and the next position.
        """
        self._bundle.begin_request()
        lead = self._lead_ids
        shared = 0
        while shared < min(len(lead), len(ids) - 1) and ids[shared] == lead[shared]:
            shared += 1
        start = self.num_virtual_tokens + shared
        self.hold()
        if shared < len(lead):
            # The request overwrites the end of the prefix, so the next one must restore it.
            self._bundle.release()
        logits = self._bundle.session.forward(ids[shared:], start)
        return logits[0], start + len(ids) - shared

    def decoder(self, position: int) -> Decoder:
        """Where the tokens of an answer go, for as long as no other request takes the cache.

        Args:
            position (int): Behind the request that was read.
        """
        return _Behind(self._bundle, position, self._bundle.begin_request())

    def _computed(self, prompt: AnyPrompt | None) -> FloatArray:
        """Run the prompt and the template's lead once."""
        session = self._bundle.session
        self._bundle.release()
        return session.prefix(session.begin(prompt, self._lead_ids))


@dataclass
class _Behind:
    """The cache behind a request, for as long as no other request takes it."""

    bundle: Bundle
    position: int
    request: int

    def append(self, token: int) -> FloatArray:
        """Put a token behind the text so far; logits float32 [V] behind it."""
        self.bundle.check_request(self.request)
        logits: FloatArray = self.bundle.session.forward([token], self.position)[0]
        self.position += 1
        return logits
