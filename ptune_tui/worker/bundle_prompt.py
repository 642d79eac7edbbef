"""A bundle's prompt for a task in torch: what it holds, and the base that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from tokenizers import Tokenizer

from export.bundle import named_record, read_manifest, verify_file
from export.manifest import Manifest, PromptRecord, tokenizer_file
from export.prompts import TokenPrompt, load_prompt
from export.vocabulary_table import VocabularyTable
from ptune_tui.config import ModelConfig
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.engine.vocabulary import Vocabulary
from ptune_tui.errors import ModelError
from ptune_tui.models import local_model
from ptune_tui.prompt_card import PromptCard


@dataclass(frozen=True)
class BundlePrompt:
    """One prompt of a bundle.

    Attributes:
        folder: The bundle.
        manifest: Its own.
        record: What the manifest says of the prompt.
    """

    folder: Path
    manifest: Manifest
    record: PromptRecord

    @classmethod
    def of(cls, folder: Path, name: str | None) -> BundlePrompt:
        """The prompt of a name.

        Args:
            folder (Path): The bundle.
            name (str | None): None where it has just one.

        Raises:
            BundleError: There is no such prompt, or the bundle is damaged.
        """
        manifest = read_manifest(folder)
        return cls(folder, manifest, named_record(folder, manifest, name)[1])

    @cached_property
    def prompt(self) -> Prompt:
        """What was trained."""
        path = verify_file(self.folder, self.manifest, self.record.file)
        found = load_prompt(path, self.record.kind)
        if isinstance(found, TokenPrompt):
            return VirtualTokens(torch.from_numpy(found.embeddings_PH))
        return LayerPrefix(torch.from_numpy(found.keys_values))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The base's tokenizer."""
        name = tokenizer_file(self.manifest)
        return Tokenizer.from_file(str(verify_file(self.folder, self.manifest, name)))

    def vocabulary(self) -> Vocabulary:
        """The base's embeddings, without the base."""
        table = VocabularyTable.of(self.folder, self.manifest)
        return Vocabulary(table.size, lambda ids_C: torch.from_numpy(table.rows(ids_C.numpy())))

    def base(self, named: str | None) -> ModelConfig:
        """Where the base is: what the user names, or what is on this disk under its name.

        Args:
            named (str | None): What `resolve` takes.

        Raises:
            ModelError: It is not on this disk, and the user names none.
        """
        training = self.record.training
        names = [self.manifest.model_name, training.base_id if training else None]
        found = named or next((name for name in names if name and local_model(name)), None)
        if found is None:
            raise ModelError(
                f"The base of {self.folder}, {self.manifest.model_name}, is not on this disk.",
                "Name it with `--model`; without `--data`, nearest tokens and norms need no base.",
            )
        return ModelConfig(source=found)

    def card(self, base: ModelConfig) -> PromptCard:
        """What an adapter of the same prompt would say.

        Args:
            base (ModelConfig): Where the base is.
        """
        record = self.record
        return PromptCard(
            base.source,
            base.scheme,
            self.manifest.weights_hash,
            record.template,
            record.end_token_id,
            record.max_prompt_tokens,
            record.labels,
            record.max_response_tokens,
        )
