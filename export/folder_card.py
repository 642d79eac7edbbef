"""`ptune.json`: what a folder for another program was made of, and the hashes of its files.

It also marks the folder as one of ours: nothing else is ever replaced.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import msgspec

from export.bundle import hash_file
from export.manifest import FileRecord
from export.manifest_file import FOLDER_CARD
from export.prompt_files import ExportedPrompt
from export.template import Template


class RowText(msgspec.Struct, frozen=True):
    """How a text becomes a row of tokens, for programs without templates.

    Attributes:
        before: What stands in front of the text.
        after: What stands behind it.
        adds_special_tokens: Whether the tokenizer adds its own.
        num_lead_tokens: First tokens of the row that are in the cache already.
        end_token_id: What ends an answer.
        max_response_tokens: Longest answer in training, with its end.
    """

    before: str
    after: str
    adds_special_tokens: bool
    num_lead_tokens: int
    end_token_id: int
    max_response_tokens: int


class FolderCard(msgspec.Struct, frozen=True):
    """`ptune.json`.

    Attributes:
        format: `gguf`, `onnx` or `transformers`.
        model_name: What the base model was called.
        weights_hash: sha256 of the frozen weights the prompt was trained on.
        prompt: The prompt's name.
        num_virtual_tokens: P.
        first_virtual_id: Their first token id; None where they are no tokens.
        quiet_token_id: Whose row of the head theirs are copies of.
        template: How a row became text in training.
        labels: The closed set of responses, or None for free text.
        scores: Measured scores, by name.
        rounding: Error of every tensor that the format does not hold exactly, over its norm.
        files: Every other file.
        versions: Of the packages that wrote the folder.
        row: What stands around a text; None where a chat template says it.
    """

    format: str
    model_name: str
    weights_hash: str
    prompt: str
    num_virtual_tokens: int
    first_virtual_id: int | None
    quiet_token_id: int | None
    template: Template
    labels: list[str] | None
    scores: dict[str, float]
    rounding: dict[str, float]
    files: dict[str, FileRecord]
    versions: dict[str, str]
    row: RowText | None = None


def write_card(
    folder: Path,
    kind: str,
    model: tuple[str, str],
    prompt: ExportedPrompt,
    ids: tuple[int, int] | None,
    rounding: dict[str, float],
    row: RowText | None = None,
) -> None:
    """Write the card of a folder that is otherwise complete.

    Args:
        folder (Path): The folder.
        kind (str): `gguf`, `onnx` or `transformers`; also the package that wrote it.
        model (tuple[str, str]): The model's name and the hash of its weights.
        prompt (ExportedPrompt): The prompt.
        ids (tuple[int, int] | None): The first virtual token's, and the quiet token's.
        rounding (dict[str, float]): Errors of tensors that were rounded.
        row (RowText | None): What stands around a text.
    """
    card = FolderCard(
        format=kind,
        model_name=model[0],
        weights_hash=model[1],
        prompt=prompt.name,
        num_virtual_tokens=prompt.prompt.num_virtual_tokens,
        first_virtual_id=None if ids is None else ids[0],
        quiet_token_id=None if ids is None else ids[1],
        template=prompt.template,
        labels=prompt.labels,
        scores=prompt.scores,
        rounding=rounding,
        files={
            path.relative_to(folder).as_posix(): hash_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
        versions={name: importlib.metadata.version(name) for name in ("ptune-tui", kind)},
        row=row,
    )
    (folder / FOLDER_CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2))
