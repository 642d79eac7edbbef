"""The names that can be asked: each prompt of a bundle, and the base without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from export.answering import Answerer
from export.constraint import Constraint
from export.errors import RowError, TemplateError
from export.preface import NO_PREFACE
from export.runtime import Bundle
from export.template import Renderer, Template
from ptune_tui.server.job import Work, Writing, labelled, written
from ptune_tui.server.refusal import Refusal
from ptune_tui.server.requests import Message
from ptune_tui.server.response_format import FIELD, ResponseFormat, Text, constraint_of


@dataclass(frozen=True)
class ServedModel:
    """One name.

    Attributes:
        name: What clients call it.
        answerer: What answers.
        is_base: Whether it is the base without a prompt.
        chat_fault: What is wrong with the base's chat template, in a sentence; "" for nothing.
    """

    name: str
    answerer: Answerer
    is_base: bool
    chat_fault: str = ""

    @property
    def has_labels(self) -> bool:
        """Whether the answers are a closed set."""
        return not self.is_base and self.answerer.record.labels is not None

    def work(self, ids: list[int], writing: Writing) -> Work:
        """What the answering thread does for a request; labels need no `writing`."""
        if self.has_labels:
            return labelled(self.answerer, ids)
        return written(self.answerer, ids, writing)

    def constraint(self, asked: ResponseFormat) -> Constraint | None:
        """What holds the answer to a format; None for any text.

        Args:
            asked (ResponseFormat): The format.

        Raises:
            Refusal: The answers are labels, or no answer can be held to the format here.
        """
        if self.has_labels and not isinstance(asked, Text):
            raise Refusal(
                400,
                f"`{self.name}` answers with one of its labels; leave `{FIELD}` out.",
                param=FIELD,
            )
        return constraint_of(self.answerer, asked)

    def chat_ids(self, messages: Sequence[Message], may_cut: bool) -> list[int]:
        """The tokens of a conversation.

        Args:
            messages (Sequence[Message]): The conversation.
            may_cut (bool): Whether a text that is too long is cut from the left.

        Raises:
            Refusal: The template takes no such conversation, or it is too long.
        """
        renderer = self.answerer.encoder.renderer
        if len(messages) == 1 and messages[0].role == "user" and self._takes_messages:
            return self._row_ids(messages[0].text, may_cut)
        if not renderer.is_chat:
            raise Refusal(400, self._why_no_conversation, param="messages")
        try:
            text = renderer.chat(
                [
                    # The models' templates know the older word for the same role.
                    {"role": message.role.replace("developer", "system"), "content": message.text}
                    for message in messages
                ]
            )
        except TemplateError as error:
            # The hints of a template are for training; a client has only its conversation.
            raise Refusal(400, error.message, param="messages") from None
        encoding = self.answerer.encoder.tokenizer.encode(text, add_special_tokens=False)
        return self._checked(encoding.ids, "messages")

    def completion_ids(self, prompt: str | list[int], may_cut: bool) -> list[int]:
        """The tokens of a prompt: in the template of a prompt, as they are for the base.

        Args:
            prompt (str | list[int]): A text, or tokens.
            may_cut (bool): Whether a text that is too long is cut from the left.

        Raises:
            Refusal: The tokens are none, or it is too long.
        """
        if isinstance(prompt, str):
            if not self.is_base:
                return self._row_ids(prompt, may_cut)
            encoding = self.answerer.encoder.tokenizer.encode(prompt)
            return self._checked(encoding.ids, "prompt")
        if not self.is_base:
            raise Refusal(
                400,
                f"The prompt `{self.name}` takes a text, which it fills into its template.",
                param="prompt",
            )
        # Ids behind the vocabulary name virtual tokens.
        size = self.answerer.bundle.manifest.shape.vocab_size
        wrong = next((token for token in prompt if not 0 <= token < size), None)
        if wrong is not None:
            raise Refusal(
                400, f"`prompt` has the token {wrong}; tokens go from 0 to {size - 1}.",
                param="prompt",
            )  # fmt: skip
        return self._checked(prompt, "prompt")

    @property
    def _takes_messages(self) -> bool:
        return not self.is_base or self.answerer.encoder.renderer.is_chat

    @property
    def _why_no_conversation(self) -> str:
        if self.is_base and self.chat_fault:
            return f"{self.chat_fault} Send the base raw text at `/v1/completions`."
        if self.is_base and self.answerer.bundle.manifest.base_template is None:
            return (
                "The model has no chat template that works here. Send the base raw text at "
                "`/v1/completions`."
            )
        if self.is_base:
            return (
                "An older version of ptune exported this bundle, without the model's chat "
                "template. Export it again, or send the base raw text at `/v1/completions`."
            )
        return (
            f"The prompt `{self.name}` was trained on single texts. Send exactly one message, "
            "with the role `user`."
        )

    def _row_ids(self, text: str, may_cut: bool) -> list[int]:
        """The tokens of one text in the template that the prompt was trained on."""
        limit = None if self.is_base else self.answerer.record.max_prompt_tokens
        try:
            ids, was_cut = self.answerer.encoder.encode_prompt(text, limit)
        except RowError as error:
            raise Refusal(400, error.message, code="context_length_exceeded") from None
        if was_cut and not may_cut:
            raise Refusal(
                400,
                f"The text is longer than the {limit} tokens, template included, that "
                f"`{self.name}` takes. Shorten it, or cut it from the left with "
                '`"truncation": "auto"`.',
                code="context_length_exceeded",
            )
        return self._checked(ids, None)

    def _checked(self, ids: list[int], param: str | None) -> list[int]:
        """The same tokens, if they leave room for an answer."""
        if not ids:
            raise Refusal(400, "The request has no tokens. Send some text.", param=param)
        answerer = self.answerer
        longest = max(map(len, answerer.label_trie.labels)) if self.has_labels else 1
        limit = answerer.bundle.manifest.shape.context_length
        needed = answerer.num_virtual_tokens + len(ids) + longest
        if needed > limit:
            raise Refusal(
                400,
                f"The request has {len(ids)} tokens; with the {answerer.num_virtual_tokens} of the "
                f"prompt and {longest} for the answer, {needed} do not fit into the model's "
                f"context of {limit}. Shorten it.",
                param=param,
                code="context_length_exceeded",
            )
        return ids


def serve_bundle(bundle: Bundle) -> dict[str, ServedModel]:
    """Every name of a bundle, ready to answer.

    Args:
        bundle (Bundle): An open bundle with at least one prompt.

    Raises:
        BundleError: A prompt's files are missing or changed.
    """
    base = bundle.manifest.model_name
    served = {base: _served_base(bundle)}
    for name in bundle.manifest.prompts:
        # A prompt of the base's name takes it: prompts are what a bundle is asked for.
        served[name] = ServedModel(name, bundle.tuned(name), is_base=False)
    return served


def _served_base(bundle: Bundle) -> ServedModel:
    """The base; a chat template that is broken takes its chats only, not the prompts."""
    model_name, template = bundle.manifest.model_name, bundle.manifest.base_template
    if isinstance(template, Template):
        try:
            Renderer(template)
        except TemplateError as error:
            answerer = _raw_answerer(bundle)
            return ServedModel(model_name, answerer, is_base=True, chat_fault=error.message)
    return ServedModel(model_name, _base_answerer(bundle), is_base=True)


def _base_answerer(bundle: Bundle) -> Answerer:
    """The base behind the model's chat template where the bundle has it, else behind nothing."""
    prompts, template = bundle.manifest.prompts, bundle.manifest.base_template
    name, record = next(iter(prompts.items()))
    if isinstance(template, Template):
        context = bundle.manifest.shape.context_length
        return bundle.told(name, template, NO_PREFACE, record.end_token_id, context)
    # Older versions kept it only with the prompts that were trained on it.
    for name, record in prompts.items():
        if record.template.chat_template is not None:
            return bundle.base(name)
    return _raw_answerer(bundle)


def _raw_answerer(bundle: Bundle) -> Answerer:
    """The base behind nothing."""
    record = next(iter(bundle.manifest.prompts.values()))
    raw = msgspec.structs.replace(record, template=Template("{prompt}"), lead_ids=[])
    return Answerer(bundle, "base:", raw, None, None)
