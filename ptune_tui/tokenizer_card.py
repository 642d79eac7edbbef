"""A model's tokenizer with all that its templates need, as one file: read without transformers."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ptune_tui.paths import models_folder

if TYPE_CHECKING:
    from export.encoding import RowEncoder

_TEXT_FILES = {".json", ".jinja", ".txt", ".model"}  # of a model folder, besides its weights


class TokenizerCard(Struct, frozen=True):
    """A tokenizer.

    Attributes:
        name: Of the model.
        tokenizer_json: The tokenizer as the library of that name writes it.
        chat_template: Jinja source, or None.
        bos_token: Text of the first token, or "".
        eos_token: Text of the end token.
        end_token_id: The token that ends a response.
    """

    name: str
    tokenizer_json: str
    chat_template: str | None
    bos_token: str
    eos_token: str
    end_token_id: int

    def encoder(self, template: str | None, is_free_text: bool, columns: str = "") -> RowEncoder:
        """What makes tokens of rows.

        Args:
            template (str | None): The user's template; None: the one that suits the data.
            is_free_text (bool): Whether the responses are not a closed set.
            columns (str): Jinja that made the prompts, where several columns did.

        Raises:
            TemplateError: The template cannot be used.
        """
        from tokenizers import Tokenizer

        from export.encoding import RowEncoder
        from export.template import ModelTexts

        texts = ModelTexts(self.chat_template, self.bos_token, self.eos_token)
        return RowEncoder(
            Tokenizer.from_str(self.tokenizer_json),
            texts.template(template, is_free_text, columns),
            self.end_token_id,
        )


def card_path(model: Path) -> Path:
    """Where the card of a model is kept once it was made; another state, another file.

    Args:
        model (Path): The GGUF file, or the folder.
    """
    files = [model]
    if model.is_dir():
        files = sorted(file for file in model.iterdir() if file.suffix in _TEXT_FILES)
    states = [
        (str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files
    ]
    name = hashlib.sha256(repr(states).encode()).hexdigest()[:32]
    return models_folder() / ".tokenizers" / f"{name}.json"


def read_card(path: Path) -> TokenizerCard | None:
    """The card of a file; None where there is none."""
    return msgspec.json.decode(path.read_bytes(), type=TokenizerCard) if path.is_file() else None
