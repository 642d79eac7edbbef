"""Ollama's `Modelfile`: it has a template language of its own and reads no Jinja.

One message after the other is asked; a conversation's earlier turns are not in the template.
"""

from __future__ import annotations

from tokenizers import Tokenizer

from export.errors import NotCarriedError
from export.prompt_files import ExportedPrompt
from export.soft_tokens import special_beginning
from export.template import Renderer

OLLAMA_FILE = "Modelfile"


def model_file(weights: str, prompt: ExportedPrompt, plain: Tokenizer, beginning: str) -> str:
    """The file that `ollama create -f` reads.

    Args:
        weights (str): The GGUF file beside it.
        prompt (ExportedPrompt): The prompt.
        plain (Tokenizer): The tokenizer of training.
        beginning (str): The virtual tokens as text.

    Raises:
        NotCarriedError: The template has quotes or braces that mean something there.
    """
    renderer = Renderer(prompt.template)
    if not renderer.is_chat:
        beginning += special_beginning(plain)
    lead, tail = renderer.lead, renderer.tail
    if any(mark in lead + tail for mark in ('"""', "{{")):
        raise NotCarriedError(
            f"The template holds {{{{ or three quotes, which Ollama's template cannot: {lead!r}.",
            "Train with another template, or export a bundle.",
        )
    return (
        f"FROM ./{weights}\n"
        f'TEMPLATE """{beginning}{lead}{{{{ .Prompt }}}}{tail}"""\n'
        "PARAMETER temperature 0\n"
        f'PARAMETER stop "{plain.id_to_token(prompt.end_token_id)}"\n'
    )
