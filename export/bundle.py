"""A bundle's manifest and files, read, checked and written.

onnxruntime loads a data file with a flipped byte without a word, so every file is checked against
its sha256 before it is opened.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

import msgspec

from export.errors import BundleError
from export.manifest import SCHEMA_VERSION, FileRecord, Manifest, PromptRecord, data_files
from export.manifest_check import manifest_faults
from export.manifest_file import MANIFEST, MOST_BYTES, manifest_bytes
from export.precisions import PRECISIONS


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
    content = _readable(folder)
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


def _readable(folder: Path) -> bytes:
    """The manifest's content."""
    path = folder / MANIFEST
    try:
        content = manifest_bytes(folder)
    except (FileNotFoundError, NotADirectoryError):
        is_there = folder.exists()
        raise BundleError(
            f"{folder} is not a bundle: it has no {MANIFEST}."
            if is_there
            else f"There is no folder {folder}.",
            "`ptune export RUN --out BUNDLE` writes one.",
        ) from None
    if content is None:
        raise BundleError(
            f"{path} is a link or no file, or larger than {MOST_BYTES >> 20} MB.",
            "Copy the whole bundle, or export the run again.",
        )
    return content


def named_record(folder: Path, manifest: Manifest, name: str | None) -> tuple[str, PromptRecord]:
    """A prompt's name and what the manifest says of it.

    Args:
        folder (Path): The bundle.
        manifest (Manifest): Its own.
        name (str | None): The prompt; None where the bundle has just one.

    Raises:
        BundleError: There is no such prompt.
    """
    prompts = manifest.prompts
    if name is None and len(prompts) == 1:
        return next(iter(prompts.items()))
    if not prompts:
        raise BundleError(
            f"{folder} has no prompts.", f"`ptune export RUN --into {folder}` adds one."
        )
    if name is None or name not in prompts:
        raise BundleError(
            f"{folder} has no prompt named {name!r}."
            if name
            else f"{folder} has {len(prompts)} prompts, and none was named.",
            f"Name one, with `--prompt` on the command line: {', '.join(sorted(prompts))}.",
        )
    return name, prompts[name]


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
