"""What an answer has to look like: JSON of a schema, or text that a regular expression matches.

llguidance (https://github.com/guidance-ai/llguidance) says which tokens may come next. It is an
optional package, so it is imported only where a constraint is made.

    from export.constraint import json_constraint
    constraint = json_constraint(tuned, {"type": "array", "items": {"enum": ["lamp", "fan"]}})
    print("".join(tuned.generate("turn the lamp on", constraint=constraint)))

Legend: V vocabulary of the logits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from export.errors import ConstraintError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

    from export.answering import Answerer

BoolArray = npt.NDArray[np.bool_]
ANY_OBJECT: Mapping[str, object] = {"type": "object"}
_SCHEMA_HINT = 'A schema is an object such as {"type": "array", "items": {"type": "boolean"}}.'
# A space, or a line with its indentation. Where any whitespace may stand, a model that is unsure
# writes nothing else until its answer is cut.
_LAYOUT: JsonCompileOptions = {"whitespace_pattern": r" |\n[ \t]{0,16}"}


class Vocabulary:
    """A model's tokens as llguidance reads them: bytes, special tokens and the end token.

    Args:
        tokenizer (Tokenizer): The model's tokenizer.
        end_token_id (int): The token that ends an answer.
        size (int): V; tokens behind the tokenizer's are padding and never allowed.

    Raises:
        ConstraintError: llguidance is not installed, or cannot read the tokenizer.
    """

    def __init__(self, tokenizer: Tokenizer, end_token_id: int, size: int) -> None:
        try:
            from llguidance import LLTokenizer
        except ModuleNotFoundError as error:
            if error.name != "llguidance":
                raise
            raise ConstraintError(
                "Answers in JSON need the JSON extra: the package `llguidance` is not installed.",
                "Install `ptune-tui[json]`: in ptune's clone, `pip install '.[json]'`.",
            ) from None
        self.size = size
        try:
            self.tokens: LLTokenizer = LLTokenizer(tokenizer.to_str(), eos_token=end_token_id)
        except ValueError as error:
            raise ConstraintError(
                f"The tokenizer of this bundle cannot be constrained: {error}",
                "Leave the constraint out; byte-level and SentencePiece tokenizers can be.",
            ) from None


@dataclass(frozen=True)
class Constraint:
    """What every answer of a request has to look like; each answer begins it anew.

    Attributes:
        vocabulary: The tokens.
        start: Where each answer starts; it is copied, never moved.
    """

    vocabulary: Vocabulary
    start: LLMatcher

    def begin(self) -> ConstrainedAnswer:
        """A new answer that has no tokens yet."""
        return ConstrainedAnswer(self.vocabulary, self.start.deep_copy())


class ConstrainedAnswer:
    """The tokens of one answer so far, and which may follow.

    Args:
        vocabulary (Vocabulary): The tokens.
        matcher (LLMatcher): Of this answer alone.
    """

    def __init__(self, vocabulary: Vocabulary, matcher: LLMatcher) -> None:
        from llguidance.numpy import allocate_token_bitmask

        self._vocabulary, self._matcher = vocabulary, matcher
        self._bits = allocate_token_bitmask(1, vocabulary.tokens.vocab_size)

    def allowed(self) -> BoolArray:
        """The tokens that may come next, bool [V]; at least one.

        Raises:
            ConstraintError: The grammar grew beyond llguidance's limits.
        """
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits)
        self._check()
        size = self._vocabulary.size
        known = np.unpackbits(self._bits[0].view(np.uint8), bitorder="little")
        allowed = np.zeros(size, np.bool_)
        num_known = min(size, self._vocabulary.tokens.vocab_size)
        allowed[:num_known] = known[:num_known]
        if not allowed.any():
            raise ConstraintError(
                "No token of this model can follow in the answer.",
                "Loosen the schema or the expression.",
            )
        return allowed

    def take(self, token: int) -> None:
        """Append a token that was allowed.

        Raises:
            ConstraintError: It was not, or the grammar grew beyond llguidance's limits.
        """
        self._matcher.consume_token(token)
        self._check()

    @property
    def is_complete(self) -> bool:
        """Whether nothing but the end token may follow."""
        return self._matcher.is_stopped()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise ConstraintError(
                f"The answer cannot be constrained any further: {self._matcher.get_error()}",
                "Simplify the schema or the expression.",
            )


def json_constraint(
    answerer: Answerer, schema: str | Mapping[str, object] = ANY_OBJECT
) -> Constraint:
    """Answers in JSON, with properties in the schema's order.

    Args:
        answerer (Answerer): What answers.
        schema (str | Mapping[str, object]): A JSON schema (draft 2020-12) or its text; left out,
            any object.

    Raises:
        ConstraintError: It is no JSON schema, holds what llguidance does not support, or llguidance
            is not installed.
    """
    vocabulary = answerer.bundle.vocabulary(answerer.record.end_token_id)
    from llguidance import LLMatcher

    try:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        grammar = LLMatcher.grammar_from_json_schema(text, overrides=_LAYOUT)
    except (ValueError, TypeError, RecursionError) as error:
        raise ConstraintError(f"The JSON schema cannot be read: {error}.", _SCHEMA_HINT) from None
    return _constraint(answerer, vocabulary, grammar, "The JSON schema cannot be kept to")


def regex_constraint(answerer: Answerer, pattern: str) -> Constraint:
    """Answers that a regular expression matches as a whole.

    Args:
        answerer (Answerer): What answers.
        pattern (str): In the syntax of Rust's `regex`, without look-around.

    Raises:
        ConstraintError: It is no such expression, or llguidance is not installed.
    """
    vocabulary = answerer.bundle.vocabulary(answerer.record.end_token_id)
    from llguidance import LLMatcher

    grammar = LLMatcher.grammar_from_regex(pattern)
    return _constraint(answerer, vocabulary, grammar, "The regular expression cannot be kept to")


def _constraint(
    answerer: Answerer, vocabulary: Vocabulary, grammar: str, complaint: str
) -> Constraint:
    from llguidance import LLMatcher, LLParserLimits

    is_wrong, problems = LLMatcher.validate_grammar_with_warnings(grammar, vocabulary.tokens)
    if is_wrong:
        raise ConstraintError(
            f"{complaint}: {' '.join(' '.join(problems).split())}.",
            "https://github.com/guidance-ai/llguidance/blob/main/docs has what is supported.",
        )
    # An answer's errors would otherwise be pages of the parser's state.
    limits = LLParserLimits(verbose_errors=False)
    whole = _behind_lead(grammar, _lead(answerer, vocabulary))
    return Constraint(vocabulary, LLMatcher(vocabulary.tokens, whole, log_level=0, limits=limits))


def _lead(answerer: Answerer, vocabulary: Vocabulary) -> str:
    """The spaces that training saw before every response: the template's, or the tokenizer's."""
    ids = answerer.encoder.encode_response("{")[:-1]
    return vocabulary.tokens.decode_bytes(ids).partition(b"{")[0].decode()


def _behind_lead(grammar: str, lead: str) -> str:
    """The grammar with a lead that may be left out; it is no part of the text that is shown."""
    if not lead:
        return grammar
    first = {"lark_grammar": f"start: {json.dumps(lead)}? @answer"}
    answer = json.loads(grammar)["grammars"][0]
    return json.dumps({"grammars": [first, {**answer, "name": "answer"}]})
