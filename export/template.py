"""How a row becomes text: torch-free, the same for training, scoring and answering.

A template is either text with `{prompt}` and optionally `{response}` (left out: at the end), or the
model's own chat template. Rendered, a row is two texts: what comes before the response, and the
response. They are tokenised apart, so that the boundary of the label mask is always a token's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from export.errors import TemplateError
from export.preface import NO_PREFACE, Preface
from export.rendering import render

CHAT = "chat"
PLAIN = "{prompt}\n"
_MARKER = "\x02ptune\x03"

Messages = list[dict[str, str]]  # of `role` and `content`, as chat templates take them


class Template(msgspec.Struct, frozen=True):
    """A template and what it needs of the model.

    Attributes:
        text: Text with `{prompt}`, or `chat`.
        chat_template: Jinja source of the model's chat template, where `text` is `chat`.
        bos_token: Text of the model's first token, for the chat template; may be empty.
        eos_token: Text of the model's end token, for the chat template.
        columns: Jinja that made the prompts of training of a row's columns. Unset where one column
            held them, so that manifests of older versions keep their checksum. Who answers is asked
            with the prompt itself.
    """

    text: str = PLAIN
    chat_template: str | None = None
    bos_token: str = ""
    eos_token: str = ""
    columns: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def column_template(self) -> str:
        """The Jinja over a row's columns, or "" for none."""
        return "" if self.columns is msgspec.UNSET else self.columns


class ModelTexts(msgspec.Struct, frozen=True):
    """What a model brings along for templates.

    Attributes:
        chat_template: Jinja source, or None.
        bos_token: Text of the first token, or "".
        eos_token: Text of the end token.
    """

    chat_template: str | None
    bos_token: str
    eos_token: str

    def template(self, text: str | None, is_free_text: bool, columns: str = "") -> Template:
        """The template of a task; left out, the chat template for free text, else plain.

        Args:
            text (str | None): The user's template.
            is_free_text (bool): Whether the responses are not a closed set.
            columns (str): Jinja that made the prompts, where several columns did.
        """
        if text is None:
            text = CHAT if is_free_text and self.chat_template else PLAIN
        return Template(
            text=text,
            chat_template=self.chat_template if text == CHAT else None,
            bos_token=self.bos_token,
            eos_token=self.eos_token,
            columns=columns or msgspec.UNSET,
        )


@dataclass(frozen=True)
class RenderedPrompt:
    """A rendered row up to the response.

    Attributes:
        text: Everything before the response.
        start: First character of the prompt in `text`.
        stop: One past its last character.
    """

    text: str
    start: int
    stop: int


class Renderer:
    """Renders rows by one template.

    Args:
        template (Template): What to render by.
        preface (Preface): What stands before every row: in a text template as lines above it, each
            example followed by a line break; in a chat the instruction begins the first message and
            examples are earlier turns.

    Raises:
        TemplateError: The template has no `{prompt}`, or the chat template is missing or broken.
    """

    def __init__(self, template: Template, preface: Preface = NO_PREFACE) -> None:
        self.template = template
        self.preface = preface
        self.is_chat = template.text == CHAT
        if self.is_chat:
            self.lead, self.tail, self.response_prefix = self._split_chat()
        else:
            self.lead, self.tail, self.response_prefix = split_text(template.text)
            self.lead = self._above() + self.lead

    def render(self, prompt: str) -> RenderedPrompt:
        """The text before the response, and where the prompt lies in it."""
        start = len(self.lead)
        return RenderedPrompt(self.lead + prompt + self.tail, start, start + len(prompt))

    def render_messages(self, messages: Messages) -> RenderedPrompt:
        """The same for a conversation that ends in a question: the last message is the prompt.

        Raises:
            TemplateError: The template is not `chat`, or does not take the conversation.
        """
        (rendered,) = self.render_conversations([messages])
        if isinstance(rendered, TemplateError):
            raise rendered
        return rendered

    def render_conversations(
        self, conversations: Sequence[Messages]
    ) -> list[RenderedPrompt | TemplateError]:
        """The same for many conversations in less time; an error in the place of one not taken.

        Raises:
            TemplateError: The template is not `chat`.
        """
        marked = [
            self._told([*messages[:-1], {**messages[-1], "content": _MARKER}])
            for messages in conversations
        ]
        return [
            _around_marker(text, messages[-1]["content"]) if isinstance(text, str) else text
            for text, messages in zip(self._chats(marked), conversations, strict=True)
        ]

    def response(self, response: str) -> str:
        """The response as it is tokenised."""
        return self.response_prefix + response

    def _above(self) -> str:
        """The preface as text above a row."""
        preface = self.preface
        instruction = f"{preface.instruction}\n\n" if preface.instruction else ""
        examples = (
            f"{self.render(example.prompt).text}{self.response(example.response)}\n"
            for example in preface.examples
        )
        return instruction + "".join(examples)

    def _told(self, messages: Messages) -> Messages:
        """A conversation with the preface in it, behind what the system says."""
        start = 1 if messages[0]["role"] == "system" else 0
        told = []
        for example in self.preface.examples:
            told.append({"role": "user", "content": example.prompt})
            told.append({"role": "assistant", "content": example.response})
        told += messages[start:]
        if self.preface.instruction:
            content = f"{self.preface.instruction}\n\n{told[0]['content']}"
            told[0] = {**told[0], "content": content}
        return [*messages[:start], *told]

    def _split_chat(self) -> tuple[str, str, str]:
        """Lead and tail of the chat template around one user message."""
        rendered = self.chat(self._told([{"role": "user", "content": _MARKER}]))
        lead, marker, tail = rendered.partition(_MARKER)
        if not marker or _MARKER in tail:
            raise TemplateError(
                "The model's chat template does not place the user's message exactly once.",
                'Use a text template, for example `--template "{prompt}\\n"`.',
            )
        return lead, tail, ""

    def chat(self, messages: Messages) -> str:
        """A whole conversation by the chat template, ending where the assistant answers.

        Raises:
            TemplateError: There is no chat template, or it does not render.
        """
        (text,) = self._chats([messages])
        if isinstance(text, TemplateError):
            raise text
        return text

    def _chats(self, conversations: Sequence[Messages]) -> list[str | TemplateError]:
        source = self.template.chat_template
        if not source:
            raise TemplateError(
                "The template is `chat`, but this model has no chat template.",
                'Use a text template, for example `--template "{prompt}\\n"`.',
            )
        return render(
            source,
            [
                {
                    "messages": messages,
                    "add_generation_prompt": True,
                    "bos_token": self.template.bos_token,
                    "eos_token": self.template.eos_token,
                }
                for messages in conversations
            ],
        )


def _around_marker(text: str, prompt: str) -> RenderedPrompt | TemplateError:
    """A rendered conversation with the prompt in the place of its marker."""
    lead, marker, tail = text.partition(_MARKER)
    if not marker or _MARKER in tail:
        return TemplateError(
            "The model's chat template does not place the last message exactly once.",
            'Use a text template, for example `--template "{prompt}\\n"`.',
        )
    return RenderedPrompt(lead + prompt + tail, len(lead), len(lead) + len(prompt))


def split_text(text: str) -> tuple[str, str, str]:
    """Cut a text template into what stands before the prompt, after it, and before the response.

    Spaces that would end the text before the response move to the response: tokenisers glue a
    space to the word behind it. A template that ends in a word gets one such space.

    Raises:
        TemplateError: `{prompt}` is missing or there twice, or text follows `{response}`.
    """
    if text.count("{prompt}") != 1:
        raise TemplateError(
            f"A template needs {{prompt}} exactly once; this one has it "
            f"{text.count('{prompt}')} times: {text!r}",
            'For example "Review: {prompt}\\nSentiment:".',
        )
    lead, _, rest = text.partition("{prompt}")
    tail, marker, behind = rest.partition("{response}")
    if behind.strip() or "{response}" in lead:
        raise TemplateError(
            f"In a template {{response}} comes last: {text!r}",
            "The response ends with the model's end token; text behind it is never learned.",
        )
    stripped = tail.rstrip(" ")
    prefix = tail[len(stripped) :]
    if not marker and not prefix and stripped and not stripped[-1].isspace():
        prefix = " "
    return lead, stripped, prefix
