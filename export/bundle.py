"""The folder that is shipped: what is in it, and its hashes.

    manifest.json      this schema
    model.onnx         `fast`; exact.onnx: `exact`; both read model.data
    throughput.onnx    `throughput`, where it was asked for or is fastest; reads throughput.data too
    plain_tokenizer.json           the tokenizer of training
    README.md                      the model card: documentation that may be edited, so the one file
                                   without a hash here (export/readme.py)
    genai.onnx, genai_config.json, tokenizer.json, tokenizer_config.json, chat_template.jinja,
    prompts/NAME.onnx_adapter, prompts/NAME.jinja   for ONNX Runtime GenAI (export/genai.py); a
                                   bundle without them has the tokenizer of training in
                                   tokenizer.json
    prompts/NAME.safetensors       the prompt: virtual tokens, float32 [P, H], or the keys and
                                   values of every layer, float32 [L, 2, h, P, D]
    prompts/NAME.kv.safetensors    the prefix of prompt and template lead, computed in `exact` for
                                   all; left out where the prompt is itself that

onnxruntime loads a data file with a flipped byte without a word, so every file is checked against
its sha256 before it is opened.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path, PurePosixPath

import msgspec

from export.errors import BundleError
from export.manifest_check import manifest_faults
from export.precisions import PRECISIONS, Precision
from export.prompts import PromptKind
from export.shape import DecoderShape
from export.template import Template
from export.training_record import TrainingRecord

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
DATA_FILE = "model.data"
INTEGERS_FILE = "throughput.data"
_MOST_MANIFEST_BYTES = 64 << 20
TOKENIZER_FILE = "tokenizer.json"
PLAIN_TOKENIZER_FILE = "plain_tokenizer.json"


class FileRecord(msgspec.Struct, frozen=True):
    """One file of the bundle."""

    sha256: str
    num_bytes: int


class ParityRecord(msgspec.Struct, frozen=True):
    """How near a graph is to torch on the same weights.

    Attributes:
        relative_error: Largest logit difference over the largest logit.
        kl_divergence: Mean over positions, in nats.
        top1_agreement: Share of positions with the same most likely token.
        identical_texts: Greedy continuations that are the same.
        num_texts: Continuations compared.
        passed: Whether the gate let it through.
    """

    relative_error: float
    kl_divergence: float
    top1_agreement: float
    identical_texts: int
    num_texts: int
    passed: bool


class Golden(msgspec.Struct, frozen=True):
    """A question whose answer is known: run when a graph is opened.

    Attributes:
        ids: Tokens.
        top_ids: The most likely next tokens.
        top_logits: Their logits, one list a precision.
    """

    ids: list[int]
    top_ids: dict[str, list[int]]
    top_logits: dict[str, list[float]]


# A default that is left out keeps the checksum of manifests that were written without the field.
class PromptRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One prompt of the bundle.

    Attributes:
        file: The prompt, relative to the bundle.
        prefixes: The file of its key/value prefix, by precision.
        num_virtual_tokens: P.
        lead_ids: Template tokens behind the virtual ones that the prefix covers.
        template: How a row becomes text.
        end_token_id: The token that ends a response.
        max_prompt_tokens: A longer prompt is cut from the left.
        labels: The closed set of responses, or None for free text.
        max_response_tokens: Longest response seen in training, end token included.
        scores: Measured scores, by name.
        kind: What `file` holds.
        parity: What the gate measured behind this prompt, by precision.
        adapter: The virtual tokens as ONNX Runtime GenAI loads them, or None.
        chat_template_file: The chat template that places them there, or None.
        training: How it was made, for the model card; None in bundles of older versions.
    """

    file: str
    prefixes: dict[str, str]
    num_virtual_tokens: int
    lead_ids: list[int]
    template: Template
    end_token_id: int
    max_prompt_tokens: int
    labels: list[str] | None
    max_response_tokens: int
    scores: dict[str, float]
    kind: PromptKind = "virtual tokens"
    parity: dict[str, ParityRecord] = {}
    adapter: str | None = None
    chat_template_file: str | None = None
    training: TrainingRecord | None = None

    @property
    def files(self) -> set[str]:
        """Every file of the prompt."""
        others = (name for name in (self.adapter, self.chat_template_file) if name is not None)
        return {self.file, *self.prefixes.values(), *others}


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json`.

    Attributes:
        schema: Version of this schema.
        model_name: What the base model was called.
        weights_hash: sha256 of the frozen weights the prompts were trained on.
        grid: The weights' grid in words.
        shape: The decoder's numbers.
        graphs: The graph of each precision.
        default_precision: What `auto` takes.
        prompts: The soft prompts by name.
        parity: What the gate measured behind the first prompt, by precision.
        golden: The self-test.
        files: Every other file.
        versions: Of the packages that wrote the bundle.
        checksum: sha256 of this manifest with an empty checksum.
        base_template: How the base alone is asked: the model's chat template; None where it has
            none. Unset in bundles of older versions, so that their manifests keep their checksum.
    """

    schema: int
    model_name: str
    weights_hash: str
    grid: str
    shape: DecoderShape
    graphs: dict[str, str]
    default_precision: Precision
    prompts: dict[str, PromptRecord]
    parity: dict[str, ParityRecord]
    golden: Golden
    files: dict[str, FileRecord]
    versions: dict[str, str]
    checksum: str = ""
    base_template: Template | msgspec.UnsetType | None = msgspec.UNSET


def data_files(precision: Precision) -> tuple[str, ...]:
    """The data files that a graph reads."""
    return (DATA_FILE, INTEGERS_FILE) if precision == "throughput" else (DATA_FILE,)


def read_bytes(manifest: Manifest) -> dict[str, int]:
    """Bytes of the files that each precision reads: its graph and weights; some share weights."""
    return {
        precision: sum(
            manifest.files[name].num_bytes
            for name in (manifest.graphs[precision], *data_files(precision))
        )
        for precision in PRECISIONS
        if precision in manifest.graphs
    }


def hash_file(path: Path) -> FileRecord:
    """sha256 and size of a file."""
    with path.open("rb") as file:
        return FileRecord(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a bundle.

    Args:
        folder (Path): The bundle.

    Raises:
        BundleError: There is no bundle, or its manifest is damaged, of another version, or says
            what cannot be.
    """
    path = folder / MANIFEST
    content = _manifest_bytes(folder)
    try:
        version = msgspec.json.decode(content, type=_SchemaOnly).schema
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{path} has schema version {version}; this ptune reads {SCHEMA_VERSION}.",
                "Use the version of ptune that wrote it, or export the run again.",
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path} is damaged: {error}", "Export the run again.") from None
    for name in manifest.files:
        _check_name(name, path)
    if manifest.checksum != _checksum(manifest):
        raise BundleError(
            f"{path} was changed: its checksum is another one.",
            "Copy the bundle again, or export the run again.",
        )
    fault = next(manifest_faults(manifest), None)
    if fault is not None:
        raise BundleError(
            f"{path} says what cannot be: {fault}.",
            "Do not use this bundle unless you know who made it; export the run again.",
        )
    return manifest


def _manifest_bytes(folder: Path) -> bytes:
    """The manifest's content; nothing else is opened, for a pipe would be waited for."""
    path = folder / MANIFEST
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST}.",
            "`ptune export RUN --out BUNDLE` writes one.",
        ) from None
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_MANIFEST_BYTES:
        raise BundleError(
            f"{path} is a link or no file, or larger than {_MOST_MANIFEST_BYTES >> 20} MB.",
            "Copy the whole bundle, or export the run again.",
        )
    return path.read_bytes()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest with its checksum, readable by people too."""
    signed = msgspec.structs.replace(manifest, checksum=_checksum(manifest))
    part = folder / f".{MANIFEST}.{os.getpid()}.part"
    try:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(signed), indent=2))
        part.replace(folder / MANIFEST)
    finally:
        part.unlink(missing_ok=True)


def _checksum(manifest: Manifest) -> str:
    """Of what the manifest says, however it is spaced."""
    unsigned = msgspec.structs.replace(manifest, checksum="")
    return hashlib.sha256(msgspec.json.encode(unsigned, order="deterministic")).hexdigest()


def verify_file(folder: Path, manifest: Manifest, name: str) -> Path:
    """Check one file of a bundle against its record and return its path.

    Raises:
        BundleError: The file is missing, behind a link, or not the one that was written.
    """
    record = manifest.files.get(name)
    if record is None:
        raise BundleError(
            f"{folder / MANIFEST} names {name!r} but has no hash for it.", "Export the run again."
        )
    path = folder / name
    # A folder on the way to it may be a link, too.
    if path.resolve() != folder.resolve() / name or not path.is_file():
        raise BundleError(
            f"{path} is missing or a link.", "Copy the whole bundle, or export the run again."
        )
    if path.stat().st_size != record.num_bytes or hash_file(path) != record:
        raise BundleError(
            f"{path} was changed: its sha256 or size is not the manifest's.",
            "Copy the bundle again, or export the run again.",
        )
    return path


def verify_all(folder: Path) -> Manifest:
    """Check every file of a bundle, those that only other programs read, too.

    Raises:
        BundleError: There is no bundle, a file is missing, a link or another one, or a graph or
            its data have no hash.
    """
    manifest = read_manifest(folder)
    opened = set(manifest.graphs.values())
    for precision in (name for name in PRECISIONS if name in manifest.graphs):
        opened.update(data_files(precision))
    for name in sorted(opened.union(manifest.files)):
        verify_file(folder, manifest, name)
    return manifest


def tokenizer_file(manifest: Manifest) -> str:
    """The name of the tokenizer of training."""
    is_kept_apart = PLAIN_TOKENIZER_FILE in manifest.files
    return PLAIN_TOKENIZER_FILE if is_kept_apart else TOKENIZER_FILE


def total_bytes(folder: Path) -> int:
    """Bytes of all files of a bundle."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class _SchemaOnly(msgspec.Struct):
    schema: int


def _check_name(name: str, manifest: Path) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise BundleError(
            f"{manifest} names a file outside the bundle: {name!r}.",
            "Do not use this bundle; it was tampered with.",
        )
