"""The numbers that a runtime needs of a decoder graph, as the manifest holds them."""

from __future__ import annotations

from typing import Literal

import msgspec

CacheKind = Literal["shared", "grown"]


# A default that is left out keeps the checksum of manifests that were written without the field.
class DecoderShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """A decoder's sizes and how its cache is kept.

    Attributes:
        num_layers: Layers that keep keys and values.
        hidden_size: Width of a row of the embedding, and so of a virtual token.
        num_key_value_heads: Key and value heads of each layer.
        head_size: Width of a head.
        vocab_size: Rows of the embedding; ids from here on are virtual tokens.
        context_length: Positions that the model has.
        cache: `shared`: past and present are one memory of any capacity, and new keys and values
            are written behind each row's own; `grown`: present is past with the new columns behind
            it, so that in a batch the mask hides what lies between.
    """

    num_layers: int
    hidden_size: int
    num_key_value_heads: int
    head_size: int
    vocab_size: int
    context_length: int
    cache: CacheKind = "shared"
