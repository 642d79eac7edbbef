"""What a prompt does to everything else: perplexity of neutral text, answers to plain questions."""

from __future__ import annotations

import math

import torch

from export.encoding import EncodedRow, RowEncoder
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.engine.model import FrozenModel
from ptune_tui.engine.prompt import Prompt
from ptune_tui.engine.step import prefix_of
from ptune_tui.evaluation.neutral import (
    MAX_ANSWER_TOKENS,
    QUESTION_PREFACE,
    QUESTION_TEMPLATE,
    QUESTIONS,
    passages,
    probes,
)
from ptune_tui.results import ForgettingProbe
from quant.linear import exact_products


@torch.no_grad()
def probe_forgetting(frozen: FrozenModel, prompt: Prompt) -> list[ForgettingProbe]:
    """Ask the model without and with a prompt.

    Args:
        frozen (FrozenModel): The model.
        prompt (Prompt): What was trained.
    """
    tokenizer = frozen.text.tokenizer
    end = frozen.text.end_token_id
    encoder = RowEncoder(tokenizer, QUESTION_TEMPLATE, end, QUESTION_PREFACE)
    evaluator = Evaluator(frozen, encoder, None, MAX_ANSWER_TOKENS)
    asked = [encoder.encode_prompt(question)[0] for question in QUESTIONS]
    texts = [tokenizer.encode(passage).ids for passage in passages()]
    # The first token has nothing before it in the base, so it is predicted in neither.
    rows = [EncodedRow(ids[:1], ids[1:]) for ids in texts]
    perplexities = []
    answers = []
    with exact_products(frozen.network):
        for one in (None, prompt):
            prefix = prefix_of(frozen, one, [])
            perplexities.append(math.exp(evaluator.loss(prefix, rows, 0)))
            said = evaluator.generated(prefix, asked)
            answers.append([text.strip().partition("\n")[0].strip() for text in said])
    return probes((perplexities[0], perplexities[1]), (answers[0], answers[1]))
