"""One more prompt for a bundle that is there: gated like the first, then put in place at once.

The files are written beside; the manifest that names them is renamed into place last. A bundle is
therefore always whole for our runtime: killed in between, it holds files that nothing names. The
files with which ONNX Runtime GenAI begins have fixed names; where they change (the first prompt is
replaced), the old ones come back if anything fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from export.at_once import staged
from export.base_chat import base_chat
from export.bundle import hash_file, read_manifest, verify_all, verify_file, write_manifest
from export.errors import BundleError, NotCarriedError
from export.gate import AskedPrecision, Built, Gate, Measured, Skipped, check_parity
from export.genai import (
    CONFIG_FILE,
    DEFAULT_FILES,
    GenaiTokens,
    genai_graph,
    read_base,
    write_default,
)
from export.manifest import TOKENIZER_FILE, Manifest, ParityRecord, PromptRecord, tokenizer_file
from export.model_card import bundle_card
from export.precisions import PRECISIONS, Precision
from export.prompt_files import PROMPTS_FOLDER, write_prompt
from export.readme import README_FILE, may_replace
from export.session import DecoderSession
from export.soft_tokens import read_soft_tokens
from export.template import ModelTexts


@dataclass
class PromptAddition:
    """Adds one prompt; iterate over `write`.

    Attributes:
        bundle: The bundle's folder.
        weights_hash: Of the weights the prompt was trained on.
        gate: The prompt and what it is measured against.
        texts: What the base brings along for templates, which bundles of older versions lack.
        precision: What the whole bundle is to answer in; `auto` leaves that as it is where the
            prompt passes in it, and otherwise takes what all prompts pass in.
        num_threads: Processor threads.
    """

    bundle: Path
    weights_hash: str
    gate: Gate
    texts: ModelTexts
    precision: AskedPrecision = "auto"
    num_threads: int = 0

    def write(self, *, overwrite: bool) -> Iterator[Measured | Built | Skipped]:
        """Gate the prompt and add it; nothing is changed where that fails.

        Args:
            overwrite (bool): Whether a prompt of the same name may be replaced.

        Raises:
            BundleError: The bundle is damaged, is of another base, has such a prompt, or cannot
                answer in the precision that was asked for.
            ParityError: A graph does not compute what torch computes behind this prompt.
        """
        manifest = self._manifest(overwrite)
        self._check_precision(manifest)
        verify_all(self.bundle)
        names = [precision for precision in PRECISIONS if precision in manifest.graphs]
        sessions = {
            precision: DecoderSession(
                self.bundle / manifest.graphs[precision], manifest.shape, self.num_threads
            )
            for precision in names
        }
        tokens = self._tokens(manifest)
        yield Built("graphs", 1, 3)
        parity = yield from self.gate.measure(sessions)
        check_parity(parity, self.precision)
        chosen = self._answers_in(manifest, parity)
        with staged(self.bundle) as stage:
            stem = _free_stem(self.bundle, self.gate.prompt.name)
            chat_template = yield from self._chat_template(tokens)
            record = write_prompt(stage, self.gate.prompt, sessions, parity, stem, chat_template)
            if not may_replace(self.bundle / README_FILE):
                yield Skipped(
                    "card",
                    f"{self.bundle / README_FILE} was edited, so it stays as it is.",
                    "It does not name the new prompt; without it, the next one gets a card of all.",
                )
            if manifest.base_template is msgspec.UNSET:
                base_template = yield from base_chat(self.texts)
                manifest = msgspec.structs.replace(manifest, base_template=base_template)
            self._put_in_place(stage, manifest, record, chosen)
        yield Built("manifest", 3, 3)

    def _manifest(self, overwrite: bool) -> Manifest:
        manifest = read_manifest(self.bundle)
        if manifest.weights_hash != self.weights_hash:
            raise BundleError(
                f"The prompt was trained on other weights ({self.weights_hash[:12]}) than those of "
                f"{self.bundle} ({manifest.weights_hash[:12]}, {manifest.model_name}).",
                "Export it to a bundle of its own with `--out`.",
            )
        if self.gate.prompt.name in manifest.prompts and not overwrite:
            raise BundleError(
                f"{self.bundle} has a prompt named {self.gate.prompt.name!r} already.",
                "Give this one another `--name`, or replace that one with `--overwrite`.",
            )
        return manifest

    def _answers_in(self, manifest: Manifest, parity: dict[str, ParityRecord]) -> Precision:
        """What the whole bundle answers in from now on."""
        if self.precision != "auto":
            return self.precision
        preferred: tuple[Precision, ...] = (manifest.default_precision, "fast", "exact")
        return next(
            precision
            for precision in preferred
            if parity[precision].passed and not self._failing(manifest, precision)
        )

    def _check_precision(self, manifest: Manifest) -> None:
        """Refuse a precision that the bundle has no graph of, or that another prompt failed in."""
        if self.precision == "auto":
            return
        if self.precision not in manifest.graphs:
            raise BundleError(
                f"{self.bundle} has no graph of the precision `{self.precision}`.",
                f"It has: {', '.join(sorted(manifest.graphs))}.",
            )
        failing = self._failing(manifest, self.precision)
        if failing:
            raise BundleError(
                f"{self.bundle} cannot answer in `{self.precision}`: {', '.join(failing)} did not "
                "pass in it.",
                "Leave `--precision` out, or export to a bundle of its own with `--out`.",
            )

    def _failing(self, manifest: Manifest, precision: Precision) -> list[str]:
        """The other prompts that failed in a precision."""
        return [
            name
            for name, record in manifest.prompts.items()
            if name != self.gate.prompt.name
            and precision in record.parity
            and not record.parity[precision].passed
        ]

    def _tokens(self, manifest: Manifest) -> GenaiTokens | None:
        """The bundle's tokenizers, or None where it has no files for ONNX Runtime GenAI."""
        if CONFIG_FILE not in manifest.files:
            return None
        paths = [
            verify_file(self.bundle, manifest, name)
            for name in (TOKENIZER_FILE, tokenizer_file(manifest))
        ]
        soft, plain = (Tokenizer.from_file(str(path)) for path in paths)
        return GenaiTokens(read_soft_tokens(soft, manifest.shape.vocab_size), plain)

    def _chat_template(self, tokens: GenaiTokens | None) -> Generator[Skipped, None, str | None]:
        """The prompt's chat template for ONNX Runtime GenAI, if it gets one."""
        try:
            if tokens is None:
                raise NotCarriedError(
                    f"{self.bundle} has no files for ONNX Runtime GenAI, so the prompt gets none.",
                    "Export it to a bundle of its own with `--out` to answer there.",
                )
            return tokens.chat_template(self.gate.prompt)
        except NotCarriedError as error:
            yield Skipped("genai", error.message, error.hint)
            return None

    def _put_in_place(
        self, stage: Path, manifest: Manifest, record: PromptRecord, chosen: Precision
    ) -> None:
        replaced = manifest.prompts.get(self.gate.prompt.name)
        old_names = _own_files(manifest, replaced) if replaced else set()
        changed = msgspec.structs.replace(
            manifest,
            prompts={**manifest.prompts, self.gate.prompt.name: record},
            default_precision=chosen,
        )
        new_names = set(record.files)
        is_other = _first_carried(changed) != _first_carried(manifest)
        if is_other or changed.default_precision != manifest.default_precision:
            old_names |= DEFAULT_FILES & set(manifest.files)
            new_names |= self._write_default(stage, manifest, changed)
        kept = {name: file for name, file in manifest.files.items() if name not in old_names}
        files = kept | {name: hash_file(stage / name) for name in sorted(new_names)}
        complete = msgspec.structs.replace(changed, files=files)
        if may_replace(self.bundle / README_FILE):
            card = bundle_card(self.bundle.resolve().name, complete)
            (stage / README_FILE).write_text(card, encoding="utf-8", newline="")
            new_names.add(README_FILE)
            old_names |= {README_FILE} if (self.bundle / README_FILE).is_file() else set()
        with _kept_aside(self.bundle, stage, old_names, new_names):
            for name in new_names:
                (stage / name).replace(self.bundle / name)
            write_manifest(self.bundle, complete)

    def _write_default(self, stage: Path, manifest: Manifest, changed: Manifest) -> set[str]:
        """Stage what ONNX Runtime GenAI begins with; returns the names, none where nothing can."""
        record = _first_carried(changed)
        if CONFIG_FILE not in manifest.files or record is None:
            return set()
        is_new = record == changed.prompts[self.gate.prompt.name]
        if not is_new:
            for file in record.files:
                verify_file(self.bundle, manifest, file)
        base = read_base(verify_file(self.bundle, manifest, CONFIG_FILE), manifest.shape)
        graph = self.bundle / changed.graphs[genai_graph(changed.default_precision, record.parity)]
        write_default(stage, graph, base, record, stage if is_new else self.bundle)
        return set(DEFAULT_FILES)


def _own_files(manifest: Manifest, record: PromptRecord) -> set[str]:
    """The files of a prompt that may be deleted with it, whatever its record claims."""
    return {
        name
        for name in record.files
        if name in manifest.files and name.startswith(f"{PROMPTS_FOLDER}/")
    }


def _first_carried(manifest: Manifest) -> PromptRecord | None:
    """The first prompt that ONNX Runtime GenAI can answer with."""
    records = (record for record in manifest.prompts.values() if record.adapter is not None)
    return next(records, None)


@contextmanager
def _kept_aside(
    bundle: Path, stage: Path, old_names: set[str], new_names: set[str]
) -> Iterator[None]:
    """Within the block new files take their places; then old ones go, or all is as before."""
    aside = stage / "before"
    for name in old_names & new_names:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / name, aside / name)
    is_done = False
    try:
        yield
        is_done = True
    finally:
        for name in old_names - new_names if is_done else new_names - old_names:
            (bundle / name).unlink(missing_ok=True)
        if not is_done:
            for name in old_names & new_names:
                (aside / name).replace(bundle / name)


def _free_stem(bundle: Path, name: str) -> str:
    """A beginning of file names that no file of a prompt has, replaced ones included."""
    taken = [path.name for path in (bundle / PROMPTS_FOLDER).iterdir()]
    stem, number = name, 1
    while any(file.startswith(f"{stem}.") for file in taken):
        number += 1
        stem = f"{name}-{number}"
    return stem
