"""One more prompt for a bundle that is there: gated like the first, then put in place at once.

The files are written beside; the manifest that names them is renamed into place last. A bundle is
therefore always whole: killed in between, it holds files that nothing names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from export.bundle import (
    Manifest,
    ParityRecord,
    PromptRecord,
    data_files,
    hash_file,
    read_manifest,
    verify_file,
    write_manifest,
)
from export.errors import BundleError
from export.gate import AskedPrecision, Built, Gate, Measured, check_parity
from export.precisions import PRECISIONS, Precision
from export.prompt_files import PROMPTS_FOLDER, write_prompt
from export.session import DecoderSession


@dataclass
class PromptAddition:
    """Adds one prompt; iterate over `write`.

    Attributes:
        bundle: The bundle's folder.
        weights_hash: Of the weights the prompt was trained on.
        gate: The prompt and what it is measured against.
        precision: `exact` makes the whole bundle answer in it, as a prompt does that fails `fast`;
            a bundle that answers in `exact` stays so.
        num_threads: Processor threads.
    """

    bundle: Path
    weights_hash: str
    gate: Gate
    precision: AskedPrecision = "auto"
    num_threads: int = 0

    def write(self, *, overwrite: bool) -> Iterator[Measured | Built]:
        """Gate the prompt and add it; nothing is changed where that fails.

        Args:
            overwrite (bool): Whether a prompt of the same name may be replaced.

        Raises:
            BundleError: The bundle is damaged, is of another base, or has such a prompt.
            ParityError: A graph does not compute what torch computes behind this prompt.
        """
        manifest = self._manifest(overwrite)
        names = [precision for precision in PRECISIONS if precision in manifest.graphs]
        for file in sorted({file for precision in names for file in data_files(precision)}):
            verify_file(self.bundle, manifest, file)
        sessions = {precision: self._open(manifest, precision) for precision in names}
        yield Built("graphs", 1, 3)
        parity = yield from self.gate.measure(sessions)
        check_parity(parity, self.precision)
        chosen = self._answers_in(manifest, parity)
        with _staged(self.bundle) as stage:
            stem = _free_stem(self.bundle, self.gate.prompt.name)
            record = write_prompt(stage, self.gate.prompt, sessions, parity, stem)
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
        if self.precision == "exact" or not parity[manifest.default_precision].passed:
            return "exact"
        return manifest.default_precision

    def _open(self, manifest: Manifest, precision: Precision) -> DecoderSession:
        graph = verify_file(self.bundle, manifest, manifest.graphs[precision])
        return DecoderSession(graph, manifest.shape, self.num_threads)

    def _put_in_place(
        self, stage: Path, manifest: Manifest, record: PromptRecord, chosen: Precision
    ) -> None:
        replaced = manifest.prompts.get(self.gate.prompt.name)
        old_names = _own_files(manifest, replaced) if replaced else set()
        new_names = {record.file, *record.prefixes.values()}
        kept = {name: file for name, file in manifest.files.items() if name not in old_names}
        changed = msgspec.structs.replace(
            manifest,
            prompts={**manifest.prompts, self.gate.prompt.name: record},
            files=kept | {name: hash_file(stage / name) for name in sorted(new_names)},
            default_precision=chosen,
        )
        superfluous = new_names
        try:
            for name in new_names:
                (stage / name).replace(self.bundle / name)
            write_manifest(self.bundle, changed)
            superfluous = old_names
        finally:
            for name in superfluous:
                (self.bundle / name).unlink(missing_ok=True)


def _own_files(manifest: Manifest, record: PromptRecord) -> set[str]:
    """The files of a prompt that may be deleted with it, whatever its record claims."""
    return {
        name
        for name in (record.file, *record.prefixes.values())
        if name in manifest.files and name.startswith(f"{PROMPTS_FOLDER}/")
    }


def _free_stem(bundle: Path, name: str) -> str:
    """A beginning of file names that no file of a prompt has, replaced ones included."""
    taken = [path.name for path in (bundle / PROMPTS_FOLDER).iterdir()]
    stem, number = name, 1
    while any(file.startswith(f"{stem}.") for file in taken):
        number += 1
        stem = f"{name}-{number}"
    return stem


@contextmanager
def _staged(bundle: Path) -> Iterator[Path]:
    """A folder beside the bundle's files, gone when the block ends."""
    for left in bundle.glob(".adding.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    stage = bundle / f".adding.{os.getpid()}.part"
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
