"""Answers from a bundle on a CPU, offline and without torch.

    from export.runtime import Bundle
    bundle = Bundle.open("my-bundle")
    tuned = bundle.tuned()
    print(tuned.classify("where is my parcel?").label)
    print("".join(tuned.generate("turn the lamp on")))

Legend: P virtual tokens.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from export.answering import Answerer
from export.bundle import named_record, read_manifest, verify_file
from export.constraint import Vocabulary
from export.encoding import RowEncoder
from export.errors import BundleError, TemplateError
from export.manifest import Manifest, PromptRecord, data_files, tokenizer_file
from export.precisions import Precision
from export.preface import Preface
from export.prompts import AnyPrompt, TokenPrompt, load_prefix, load_prompt
from export.session import DecoderSession
from export.template import Template

FloatArray = npt.NDArray[np.float32]
# Kernels of other processors round int8 products elsewhere; a wrong kernel is off by far more.
_GOLDEN_TOLERANCE = 0.05


class Bundle:
    """An open bundle: one base, any number of prompts. `Bundle.open` makes one."""

    def __init__(
        self, folder: Path, manifest: Manifest, precision: Precision, session: DecoderSession
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.precision = precision
        self.session = session
        self._restored: str | None = None
        self._num_requests = 0
        self._vocabularies: dict[int, Vocabulary] = {}

    @classmethod
    def open(
        cls,
        folder: str | Path,
        precision: Precision | None = None,
        num_threads: int = 0,
        spin: bool = True,
    ) -> Bundle:
        """Verify and open a bundle.

        Args:
            folder (str | Path): The bundle.
            precision (Precision | None): None for the bundle's own choice.
            num_threads (int): Processor threads; 0 for the number of physical cores.
            spin (bool): Whether threads burn their core while they wait within a run.

        Raises:
            BundleError: A file is missing, changed, or computes something else here.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        chosen = precision or manifest.default_precision
        if chosen not in manifest.graphs:
            raise BundleError(
                f"{folder} has no graph of the precision `{chosen}`.",
                f"It has: {', '.join(sorted(manifest.graphs))}.",
            )
        for name in data_files(chosen):
            verify_file(folder, manifest, name)
        graph = verify_file(folder, manifest, manifest.graphs[chosen])
        session = DecoderSession(graph, manifest.shape, num_threads, spin)
        bundle = cls(folder, manifest, chosen, session)
        bundle._self_test()
        return bundle

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of training, which knows no virtual tokens."""
        path = verify_file(self.folder, self.manifest, tokenizer_file(self.manifest))
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:
            # The package raises nothing more special.
            raise BundleError(f"{path} is no tokenizer: {error}", "Export the run again.") from None

    def vocabulary(self, end_token_id: int) -> Vocabulary:
        """The tokens for constrained answers; made once for an end token, as it takes a while.

        Args:
            end_token_id (int): The token that ends an answer.

        Raises:
            ConstraintError: llguidance is not installed, or cannot read the tokenizer.
        """
        if end_token_id not in self._vocabularies:
            size = self.manifest.shape.vocab_size
            self._vocabularies[end_token_id] = Vocabulary(self.tokenizer, end_token_id, size)
        return self._vocabularies[end_token_id]

    def encoder(self, template: Template, end_token_id: int, preface: Preface) -> RowEncoder:
        """What turns rows into tokens by a template that the bundle brings along.

        Args:
            template (Template): How a row becomes text.
            end_token_id (int): The token that ends a response.
            preface (Preface): What stands before every row.

        Raises:
            BundleError: The template is broken.
        """
        try:
            return RowEncoder(self.tokenizer, template, end_token_id, preface)
        except TemplateError as error:
            # The hints of a template are for training.
            raise BundleError(
                f"{self.folder} cannot be asked: {error.message}",
                "Do not use this bundle unless you know who made it; export the run again.",
            ) from None

    def tuned(self, name: str | None = None) -> Answerer:
        """Answers with a prompt.

        Args:
            name (str | None): The prompt; None where the bundle has just one.

        Raises:
            BundleError: There is no such prompt, or its files were changed.
        """
        name, record = self._record(name)
        prompt = self._checked_prompt(verify_file(self.folder, self.manifest, record.file), record)
        prefix = None
        if self.precision in record.prefixes:
            kv_path = verify_file(self.folder, self.manifest, record.prefixes[self.precision])
            prefix = self._checked_prefix(kv_path, record)
        return Answerer(self, f"tuned:{name}", record, prompt, prefix)

    def base(self, name: str | None = None) -> Answerer:
        """Answers by the same template and labels without the prompt."""
        name, record = self._record(name)
        return Answerer(self, f"base:{name}", record, None, None)

    def record(self, name: str | None = None) -> PromptRecord:
        """What the manifest says of a prompt.

        Args:
            name (str | None): The prompt; None where the bundle has just one.

        Raises:
            BundleError: There is no such prompt.
        """
        return self._record(name)[1]

    def told(
        self,
        name: str | None,
        template: Template,
        preface: Preface,
        end_token_id: int,
        max_prompt_tokens: int,
    ) -> Answerer:
        """The base's answers for a prompt's task, told something instead of the prompt.

        Args:
            name (str | None): The prompt whose labels count.
            template (Template): How a row becomes text.
            preface (Preface): What stands before every row.
            end_token_id (int): The token that ends a response.
            max_prompt_tokens (int): A longer row, the preface included, is cut from the left.

        Raises:
            BundleError: There is no such prompt, or the template is broken.
        """
        name, record = self._record(name)
        encoder = self.encoder(template, end_token_id, preface)
        record = msgspec.structs.replace(
            record,
            template=template,
            lead_ids=encoder.lead_ids(),
            end_token_id=end_token_id,
            max_prompt_tokens=max_prompt_tokens,
        )
        return Answerer(self, f"told:{name}:{template}:{preface}", record, None, None, preface)

    def hold(self, key: str, prefix: FloatArray) -> None:
        """Make `prefix` the beginning of the cache unless it is there already."""
        if self._restored != key:
            self.session.restore(prefix)
            self._restored = key

    def release(self) -> None:
        """Forget what the beginning of the cache holds."""
        self._restored = None

    def begin_request(self) -> int:
        """Take the cache for a new request; returns the request's number."""
        self._num_requests += 1
        return self._num_requests

    def check_request(self, number: int) -> None:
        """Refuse to go on with a request whose cache another one has taken since.

        Raises:
            BundleError: Another request began.
        """
        if number != self._num_requests:
            raise BundleError(
                "This answer was interrupted by another request to the same bundle.",
                "Finish one answer before the next, or open the bundle twice.",
            )

    def _record(self, name: str | None) -> tuple[str, PromptRecord]:
        return named_record(self.folder, self.manifest, name)

    def _checked_prompt(self, path: Path, record: PromptRecord) -> AnyPrompt:
        prompt = load_prompt(path, record.kind)
        length = record.num_virtual_tokens
        if isinstance(prompt, TokenPrompt):
            hidden_size = self.manifest.shape.hidden_size
            _check_shape(path, prompt.embeddings_PH, (length, hidden_size))
        else:
            _check_shape(path, prompt.keys_values, self._prefix_shape(length))
        return prompt

    def _checked_prefix(self, path: Path, record: PromptRecord) -> FloatArray:
        prefix = load_prefix(path)
        length = record.num_virtual_tokens + len(record.lead_ids)
        _check_shape(path, prefix, self._prefix_shape(length))
        return prefix

    def _prefix_shape(self, length: int) -> tuple[int, ...]:
        shape = self.manifest.shape
        return (shape.num_layers, 2, shape.num_key_value_heads, length, shape.head_size)

    def _self_test(self) -> None:
        """Ask the golden question: a kernel that computes something else is refused."""
        golden = self.manifest.golden
        logits = self.session.forward(golden.ids, 0)[0]
        expected = np.asarray(golden.top_logits[self.precision])
        got = logits[golden.top_ids[self.precision]]
        error = float(np.abs(got - expected).max() / np.abs(expected).max())
        if not error <= _GOLDEN_TOLERANCE:
            raise BundleError(
                f"{self.folder} computes other logits here than where it was written "
                f"(relative difference {error:.3g}).",
                "Try `--precision exact`; onnxruntime's kernels for this processor differ.",
            )


def _check_shape(path: Path, array: FloatArray, expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise BundleError(
            f"{path} has the shape {array.shape} instead of {expected}.",
            "It belongs to another model, or was damaged; export the run again.",
        )
