"""What a manifest says must be possible: one that was tampered with can be signed again.

Whatever is looked up later (a token, a label, logits) is checked here once, so that nothing
behind it has to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from export.manifest import data_files
from export.precisions import PRECISIONS

if TYPE_CHECKING:
    from export.manifest import Golden, Manifest, PromptRecord
    from export.shape import DecoderShape

_LARGEST = 2**31 - 1


def manifest_faults(manifest: Manifest) -> Iterator[str]:
    """What cannot be, each in words; nothing for a manifest that may be used.

    Args:
        manifest (Manifest): As it was read.
    """
    shape = manifest.shape
    for name, value in msgspec.structs.asdict(shape).items():
        if isinstance(value, int) and not 1 <= value <= _LARGEST:
            yield f"its {name} is {value}"
    if not manifest.graphs:
        yield "it names no graph"
    for precision in manifest.graphs:
        if precision not in PRECISIONS:
            yield f"it names a graph of the precision {precision!r}"
    yield from _file_faults(manifest)
    yield from _golden_faults(manifest.golden, manifest.graphs, shape)
    for name, record in manifest.prompts.items():
        for fault in _prompt_faults(record, shape):
            yield f"of the prompt {name!r} {fault}"


def _file_faults(manifest: Manifest) -> Iterator[str]:
    for precision in (name for name in PRECISIONS if name in manifest.graphs):
        for name in (manifest.graphs[precision], *data_files(precision)):
            if name not in manifest.files:
                yield f"it names {name!r} but has no hash for it"


def _golden_faults(golden: Golden, precisions: Iterable[str], shape: DecoderShape) -> Iterator[str]:
    if not 1 <= len(golden.ids) <= shape.context_length:
        yield f"its self-test has {len(golden.ids)} tokens"
    yield from _token_faults("its self-test", golden.ids, shape)
    for precision in precisions:
        ids = golden.top_ids.get(precision, [])
        if not ids or len(golden.top_logits.get(precision, [])) != len(ids):
            yield f"its self-test has no logits of `{precision}`"
        yield from _token_faults("its self-test", ids, shape)


def _prompt_faults(record: PromptRecord, shape: DecoderShape) -> Iterator[str]:
    labels = record.labels
    if labels is not None and not labels:
        yield "the list of labels is empty"
    if labels is not None and len(set(labels)) != len(labels):
        yield "a label is there twice"
    if not 0 <= record.num_virtual_tokens <= shape.context_length:
        yield f"{record.num_virtual_tokens} virtual tokens are said to be"
    is_possible = 1 <= record.max_prompt_tokens <= shape.context_length
    if not is_possible or not 0 <= record.max_response_tokens <= shape.context_length:
        yield (
            f"the longest text is {record.max_prompt_tokens} tokens, the longest response "
            f"{record.max_response_tokens}"
        )
    yield from _token_faults("the end", [record.end_token_id], shape)
    yield from _token_faults("the lead", record.lead_ids, shape)


def _token_faults(what: str, ids: list[int], shape: DecoderShape) -> Iterator[str]:
    wrong = next((token for token in ids if not 0 <= token < shape.vocab_size), None)
    if wrong is not None:
        yield f"{what} has the token {wrong}, of {shape.vocab_size}"
