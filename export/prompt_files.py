"""A trained prompt as files of a bundle: itself, and the prefix of prompt and lead behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.manifest import ParityRecord, PromptRecord
from export.ort import save_adapter
from export.precisions import Precision
from export.prompts import AnyPrompt, PrefixPrompt, TokenPrompt, save_prefix, save_prompt
from export.session import DecoderSession
from export.template import Template
from export.training_record import TrainingRecord

PROMPTS_FOLDER = "prompts"
SOFT_PROMPT = "soft_prompt"


@dataclass(frozen=True)
class ExportedPrompt:
    """The prompt of a bundle.

    Attributes:
        name: What to call it.
        prompt: Virtual tokens, or the keys and values of every layer.
        lead_ids: Template tokens behind the prompt, computed once with it.
        template: How a row becomes text.
        end_token_id: The token that ends a response.
        max_prompt_tokens: A longer prompt is cut from the left.
        labels: The closed set of responses, or None for free text.
        max_response_tokens: Longest response in training.
        scores: Measured scores by name.
        training: How it was made, for the model card.
    """

    name: str
    prompt: AnyPrompt
    lead_ids: list[int]
    template: Template
    end_token_id: int
    max_prompt_tokens: int
    labels: list[str] | None
    max_response_tokens: int
    scores: dict[str, float]
    training: TrainingRecord | None = None


def write_prompt(
    folder: Path,
    prompt: ExportedPrompt,
    sessions: Mapping[Precision, DecoderSession],
    parity: Mapping[str, ParityRecord],
    stem: str | None = None,
    chat_template: str | None = None,
) -> PromptRecord:
    """Write a prompt's files.

    Args:
        folder (Path): Of the bundle, or one whose files are moved there.
        prompt (ExportedPrompt): The prompt.
        sessions (Mapping[Precision, DecoderSession]): The base, one graph a precision.
        parity (Mapping[str, ParityRecord]): What the gate measured behind this prompt.
        stem (str | None): What its files are called; None for the prompt's name.
        chat_template (str | None): What places its virtual tokens in other programs; None where
            they get no files.
    """
    stem = stem or prompt.name
    (folder / PROMPTS_FOLDER).mkdir(exist_ok=True)
    file = f"{PROMPTS_FOLDER}/{stem}.safetensors"
    save_prompt(folder / file, prompt.prompt)
    prefix_file = file
    if not isinstance(prompt.prompt, PrefixPrompt) or prompt.lead_ids:
        exact = sessions["exact"]
        prefix_file = f"{PROMPTS_FOLDER}/{stem}.kv.safetensors"
        length = exact.begin(prompt.prompt, prompt.lead_ids)
        save_prefix(folder / prefix_file, exact.prefix(length))
    adapter, template_file = None, None
    if chat_template is not None and isinstance(prompt.prompt, TokenPrompt):
        adapter = f"{PROMPTS_FOLDER}/{stem}.onnx_adapter"
        template_file = f"{PROMPTS_FOLDER}/{stem}.jinja"
        save_adapter(folder / adapter, {SOFT_PROMPT: prompt.prompt.embeddings_PH})
        (folder / template_file).write_text(chat_template, encoding="utf-8", newline="")
    return PromptRecord(
        file=file,
        prefixes=dict.fromkeys(sessions, prefix_file),
        num_virtual_tokens=prompt.prompt.num_virtual_tokens,
        lead_ids=prompt.lead_ids,
        template=prompt.template,
        end_token_id=prompt.end_token_id,
        max_prompt_tokens=prompt.max_prompt_tokens,
        labels=prompt.labels,
        max_response_tokens=prompt.max_response_tokens,
        scores=prompt.scores,
        kind=prompt.prompt.kind,
        parity=dict(parity),
        adapter=adapter,
        chat_template_file=template_file,
        training=prompt.training,
    )
