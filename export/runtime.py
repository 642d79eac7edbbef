"""Answers from a bundle on a CPU, offline and without torch.

    from export.runtime import Bundle
    bundle = Bundle.open("my-bundle")
    tuned = bundle.tuned()
    print(tuned.classify("where is my parcel?").label)
    print("".join(tuned.generate("turn the lamp on")))

Legend: P virtual tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from export.bundle import Manifest, Precision, PromptRecord, read_manifest, verify_file
from export.encoding import RowEncoder, answer_limit
from export.errors import BundleError
from export.labels import LabelSearch, LabelTrie, exhaustive_scores
from export.prompts import AnyPrompt, TokenPrompt, load_prefix, load_prompt
from export.sampling import Sampling, choose, log_softmax
from export.session import DecoderSession

FloatArray = npt.NDArray[np.float32]
GREEDY = Sampling()
# Kernels of other processors round int8 products elsewhere; a wrong kernel is off by far more.
_GOLDEN_TOLERANCE = 0.05


@dataclass(frozen=True)
class LabelAnswer:
    """A row's label.

    Attributes:
        label: The most likely one.
        log_probability: Of its tokens and the end token.
    """

    label: str
    log_probability: float


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

    @classmethod
    def open(
        cls,
        folder: str | Path,
        precision: Precision | None = None,
        num_threads: int = 0,
        spin: bool = False,
    ) -> Bundle:
        """Verify and open a bundle.

        Args:
            folder (str | Path): The bundle.
            precision (Precision | None): `fast` or `exact`; None for the bundle's own choice.
            num_threads (int): Processor threads; 0 for the number of physical cores.
            spin (bool): Whether waiting threads burn their core.

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
        verify_file(folder, manifest, "model.data")
        graph = verify_file(folder, manifest, manifest.graphs[chosen])
        session = DecoderSession(graph, manifest.shape, num_threads, spin)
        bundle = cls(folder, manifest, chosen, session)
        bundle._self_test()
        return bundle

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return Tokenizer.from_file(str(verify_file(self.folder, self.manifest, "tokenizer.json")))

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
        prompts = self.manifest.prompts
        if name is None and len(prompts) == 1:
            return next(iter(prompts.items()))
        if name is None or name not in prompts:
            raise BundleError(
                f"{self.folder} has no prompt named {name!r}." if name else "Which prompt?",
                f"Its prompts: {', '.join(sorted(prompts))}.",
            )
        return name, prompts[name]

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


@dataclass
class Answerer:
    """Answers with one prompt, or with none. `Bundle.tuned` and `Bundle.base` make one."""

    bundle: Bundle
    key: str
    record: PromptRecord
    prompt: AnyPrompt | None
    prefix: FloatArray | None
    encoder: RowEncoder = field(init=False)
    was_cut: bool = field(init=False, default=False)
    """Whether the last request was cut from the left to fit."""

    def __post_init__(self) -> None:
        record = self.record
        self.encoder = RowEncoder(self.bundle.tokenizer, record.template, record.end_token_id)
        if self.prefix is None:
            self.prefix = self._compute_prefix()

    @property
    def num_virtual_tokens(self) -> int:
        """P, or 0 without a prompt."""
        return 0 if self.prompt is None else self.prompt.num_virtual_tokens

    @cached_property
    def label_trie(self) -> LabelTrie:
        """The labels in tokens.

        Raises:
            BundleError: The prompt answers in free text.
        """
        if self.record.labels is None:
            raise BundleError(
                "This prompt answers in free text; it has no labels.", "Use `generate`."
            )
        return LabelTrie([self.encoder.encode_response(label) for label in self.record.labels])

    def generate(
        self, text: str, max_new_tokens: int = 256, sampling: Sampling = GREEDY
    ) -> Iterator[str]:
        """Stream an answer.

        Args:
            text (str): The request.
            max_new_tokens (int): At most so many tokens.
            sampling (Sampling): How tokens are chosen; the most likely one by default.
        """
        stream = DecodeStream(skip_special_tokens=True)
        ids: list[int] = []
        shown = ""
        for token in self.generate_ids(text, max_new_tokens, sampling):
            ids.append(token)
            piece = stream.step(self.encoder.tokenizer, token)
            if piece is not None:
                yield piece if shown else self._without_response_prefix(piece)
                shown += piece
        # The stream keeps the bytes of a character that the last token left incomplete.
        whole: str = self.encoder.tokenizer.decode(ids)
        if len(whole) > len(shown):
            rest = whole[len(shown) :]
            yield rest if shown else self._without_response_prefix(rest)

    def generate_ids(
        self, text: str, max_new_tokens: int = 256, sampling: Sampling = GREEDY
    ) -> Iterator[int]:
        """Stream an answer's tokens, without the end token."""
        random = np.random.default_rng(sampling.seed)
        session = self.bundle.session
        logits, position = self.read(text)
        request = self.bundle.begin_request()
        room = self.bundle.manifest.shape.context_length - position
        for _ in range(min(max_new_tokens, room)):
            token = choose(logits, sampling, random)
            if token == self.record.end_token_id:
                return
            yield token
            self.bundle.check_request(request)
            logits = session.forward([token], position)[0]
            position += 1

    def classify(self, text: str) -> LabelAnswer:
        """The most likely label, exactly, without scoring the hopeless ones."""
        logits, position = self.read(text)
        search = LabelSearch(self.label_trie, log_softmax(logits))
        while (path := search.next_path()) is not None:
            search.feed(log_softmax(self.bundle.session.forward(path, position)[0]))
        assert self.record.labels is not None
        return LabelAnswer(self.record.labels[search.best], search.scores[search.best])

    def label_scores(self, text: str) -> dict[str, float]:
        """The log-probability of every label with its end token."""
        logits, position = self.read(text)

        def behind(path: tuple[int, ...]) -> npt.NDArray[np.float64]:
            if not path:
                return log_softmax(logits)
            return log_softmax(self.bundle.session.forward(path, position)[0])

        scores = exhaustive_scores(self.label_trie, behind)
        assert self.record.labels is not None
        return dict(zip(self.record.labels, scores, strict=True))

    def answer(self, text: str) -> str:
        """The label where the responses are a closed set, else the generated text."""
        if self.record.labels is not None:
            return self.classify(text).label
        limit = answer_limit(self.record.max_response_tokens)
        return "".join(self.generate(text, limit))

    def read(self, text: str) -> tuple[FloatArray, int]:
        """Put a request behind the prefix; logits [V] behind it, and the next position."""
        assert self.prefix is not None
        self.bundle.begin_request()
        ids, self.was_cut = self.encoder.encode_prompt(text, self.record.max_prompt_tokens)
        lead = self.record.lead_ids
        shared = 0
        while shared < min(len(lead), len(ids) - 1) and ids[shared] == lead[shared]:
            shared += 1
        start = self.num_virtual_tokens + shared
        self.bundle.hold(self.key, self.prefix)
        if shared < len(lead):
            # The request overwrites the end of the prefix, so the next one must restore it.
            self.bundle.release()
        logits = self.bundle.session.forward(ids[shared:], start)
        return logits[0], start + len(ids) - shared

    def _compute_prefix(self) -> FloatArray:
        """Run the prompt and the template's lead once."""
        session = self.bundle.session
        self.bundle.release()
        return session.prefix(session.begin(self.prompt, self.record.lead_ids))

    def _without_response_prefix(self, piece: str) -> str:
        return piece.removeprefix(self.encoder.renderer.response_prefix)


def _check_shape(path: Path, array: FloatArray, expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise BundleError(
            f"{path} has the shape {array.shape} instead of {expected}.",
            "It belongs to another model, or was damaged; export the run again.",
        )
