"""What clients may ask: OpenAI's requests, decoded strictly.

Every field is read, ignored because it changes no answer, or refused because it would.
"""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from export.constraint import Constraint
from export.sampling import Sampling
from ptune_tui.server.job import Writing
from ptune_tui.server.refusal import Refusal
from ptune_tui.server.response_format import ResponseFormat, Text

DEFAULT_MAX_TOKENS = 256

# They tell the provider about the caller, and change no answer.
IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
# What is not built: each with the values that ask for nothing.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "audio": (),
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "suffix": ("",),
    "tool_choice": ("none",),
    "tools": ([],),
    "top_logprobs": (0,),
}
INSTEAD = {
    "frequency_penalty": " `repetition_penalty` is.",
    "presence_penalty": " `repetition_penalty` is.",
    "n": " Send the request as often as you want answers.",
}

Count = Annotated[int, Meta(ge=1)]

# Up to an escape of half a character: what is none, then whole pairs.
_HALF_CHARACTER = re.compile(
    rb"(?:[^\\]|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)*+"
    rb"(\\u[dD][89a-fA-F]\w\w)",
    re.DOTALL,
)


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """A part of a message's content."""

    text: str


class Message(Struct, frozen=True):
    """A message of a conversation; names, refusals and annotations are not read."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    tool_calls: list[None] | None = None
    function_call: None = None

    @property
    def text(self) -> str:
        """The content, its parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(Struct, frozen=True):
    """Whether a stream ends with the number of tokens."""

    include_usage: bool = False


class Asked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields that both kinds of requests have.

    Attributes:
        model: A prompt's name, or the base's.
        max_tokens: The longest answer.
        temperature: 0, the default here, takes the most likely token.
        top_p: As in `ptune run`, like the next three.
        top_k: An extension.
        min_p: An extension.
        repetition_penalty: An extension.
        seed: Left out: another one each time.
        stop: Strings that end the answer.
        stream: Whether the answer comes piece by piece.
        stream_options: For a stream only.
        response_format: Any text, or JSON.
        truncation: `auto` cuts a text that is too long for a prompt from the left, as training did.
    """

    model: str
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=0)] = 0
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Meta(ge=0.1, le=10)] = 1.0
    seed: int | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat = Text()
    truncation: Literal["disabled", "auto"] = "disabled"

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the number of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def longest(self) -> int | None:
        """The longest answer that was asked for."""
        return self.max_tokens

    def writing(self, constraint: Constraint | None = None) -> Writing:
        """How free text is written.

        Args:
            constraint (Constraint | None): What it has to look like.
        """
        # A seed may be negative in OpenAI's API, and numpy takes none that is.
        seed = secrets.randbits(32) if self.seed is None else self.seed % 2**64
        return Writing(
            self.longest or DEFAULT_MAX_TOKENS,
            Sampling(
                self.temperature,
                self.top_k,
                self.top_p,
                self.min_p,
                self.repetition_penalty,
                seed,
            ),
            (self.stop,) if isinstance(self.stop, str) else tuple(self.stop),
            constraint,
        )


class ChatRequest(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/chat/completions`; `max_completion_tokens` is the newer name of `max_tokens`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None

    @property
    def longest(self) -> int | None:
        """The longest answer that was asked for."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/completions`; a prompt is a text, a list of one text, or tokens."""

    prompt: str | list[str | int]

    @property
    def text_or_ids(self) -> str | list[int]:
        """The prompt.

        Raises:
            Refusal: There are several, or none.
        """
        if isinstance(self.prompt, str):
            return self.prompt
        ids = [token for token in self.prompt if isinstance(token, int)]
        texts = [text for text in self.prompt if isinstance(text, str)]
        if len(texts) == 1 and not ids:
            return texts[0]
        if texts or not ids:
            raise Refusal(
                400,
                "`prompt` is one text or one list of tokens; send a request for each of several.",
                param="prompt",
            )
        return ids


RequestT = TypeVar("RequestT", ChatRequest, CompletionRequest)


def decode_request(body: bytes, kind: type[RequestT]) -> RequestT:
    """The request in a body.

    Args:
        body (bytes): JSON.
        kind (type): What it should be.

    Raises:
        Refusal: It is no JSON, not of that kind, or asks for what is not built.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
        request = msgspec.convert(_without_neutral(fields), kind)
    except RecursionError:
        raise Refusal(400, "The body is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        half = _HALF_CHARACTER.match(body)
        if half is not None:
            raise Refusal(
                400,
                f"The request has `{half[1].decode()}` alone: it is half of a surrogate pair, and "
                "no character.",
            ) from None
        raise Refusal(
            400, f"The request cannot be read: {error}.", param=_place(str(error))
        ) from None
    if request.stream_options is not None and not request.stream:
        raise Refusal(400, "`stream_options` needs `stream`.", param="stream_options")
    return request


def _without_neutral(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that are read; null is the same as left out.

    Raises:
        Refusal: A field asks for what is not built.
    """
    for name, neutral in NEUTRAL.items():
        value = fields.get(name)
        if value is not None and value not in neutral:
            raise Refusal(
                400,
                f"`{name}` is not supported.{INSTEAD.get(name, ' Leave it out.')}",
                param=name,
                code="unsupported_parameter",
            )
    return {
        name: value
        for name, value in fields.items()
        if value is not None and name not in IGNORED and name not in NEUTRAL
    }


def _place(message: str) -> str | None:
    """The field that a decoder's message is about."""
    found = re.search(r"at `\$\.([^`]+)`", message) or re.search(r"field `([^`]+)`", message)
    return found.group(1) if found else None
