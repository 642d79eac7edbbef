"""What a bundle's prompt does to texts and questions that it was not trained for.

Legend: N tokens, V vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ptune_tui.results import ForgettingProbe

if TYPE_CHECKING:
    from export.answering import Answerer
    from export.runtime import Bundle


def probe_forgetting(bundle: Bundle, name: str | None) -> list[ForgettingProbe]:
    """Ask the base and the prompt what neither was trained for.

    Args:
        bundle (Bundle): Open.
        name (str | None): The prompt.
    """
    from ptune_tui.evaluation.neutral import probes

    tuned = bundle.tuned(name)
    perplexities = _perplexity(bundle, None), _perplexity(bundle, tuned)
    return probes(perplexities, (_answers(bundle, name, None), _answers(bundle, name, tuned)))


def _perplexity(bundle: Bundle, tuned: Answerer | None) -> float:
    from export.sampling import log_sum_exp
    from ptune_tui.evaluation.neutral import passages

    bundle.begin_request()
    bundle.release()
    start = bundle.session.begin(tuned.prompt if tuned else None, [])
    total, count = 0.0, 0
    for passage in passages():
        ids = bundle.tokenizer.encode(passage).ids
        logits_NV = bundle.session.forward(ids[:-1], start, range(len(ids) - 1))
        log_probabilities_NV = logits_NV - log_sum_exp(logits_NV)
        total -= float(log_probabilities_NV[np.arange(len(ids) - 1), ids[1:]].sum())
        count += len(ids) - 1
    return math.exp(total / count)


def _answers(bundle: Bundle, name: str | None, tuned: Answerer | None) -> list[str]:
    from export.answering import Answerer
    from export.encoding import RowEncoder
    from ptune_tui.evaluation.neutral import (
        MAX_ANSWER_TOKENS,
        QUESTION_PREFACE,
        QUESTION_TEMPLATE,
        QUESTIONS,
    )

    record = bundle.record(name)
    encoder = RowEncoder(bundle.tokenizer, QUESTION_TEMPLATE, record.end_token_id, QUESTION_PREFACE)
    record = msgspec.structs.replace(
        record, template=QUESTION_TEMPLATE, lead_ids=encoder.lead_ids(), labels=None
    )
    prompt = tuned.prompt if tuned else None
    answerer = Answerer(bundle, f"question:{tuned is None}", record, prompt, None, QUESTION_PREFACE)
    said = ("".join(answerer.generate(question, MAX_ANSWER_TOKENS)) for question in QUESTIONS)
    return [text.strip().partition("\n")[0].strip() for text in said]
