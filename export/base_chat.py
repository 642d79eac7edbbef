"""How the base alone is asked in a bundle: by the model's own chat template."""

from __future__ import annotations

from collections.abc import Generator

from export.errors import TemplateError
from export.gate import Skipped
from export.template import CHAT, ModelTexts, Renderer, Template


def base_chat(texts: ModelTexts) -> Generator[Skipped, None, Template | None]:
    """The base's template; None, with the reason, where the model has none that works.

    Args:
        texts (ModelTexts): What the model brings along.
    """
    if not texts.chat_template:
        return None
    template = texts.template(CHAT, is_free_text=True)
    try:
        Renderer(template)
    except TemplateError as error:
        yield Skipped(
            "base-chat", error.message, "The bundle's base takes raw text only, no chats."
        )
        return None
    return template
