"""The model cache: the default model, models of the hub, and models the user has already.

No network is touched unless the user names a hub id, or the default model is not there yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ptune_tui import default_model, hub
from ptune_tui.default_model import Notify, fetch_default, say_nothing
from ptune_tui.errors import ModelError
from ptune_tui.paths import models_folder
from ptune_tui.wheels import Progress

__all__ = [
    "BaseReference",
    "CachedModel",
    "ResolvedModel",
    "base_reference",
    "cached_models",
    "fetch_default",
    "local_model",
    "resolve",
]

Kind = Literal["gguf", "folder"]


@dataclass(frozen=True)
class ResolvedModel:
    """A model that lies on this disk.

    Attributes:
        path: The GGUF file, or the folder.
        name: How to call it.
        kind: Which of the two.
    """

    path: Path
    name: str
    kind: Kind


@dataclass(frozen=True)
class CachedModel:
    """A model of the model cache.

    Attributes:
        name: What `--model` takes.
        path: The GGUF file, or the folder.
        num_bytes: Its size on disk.
        kind: Which of the two.
        licence: Where it is known.
    """

    name: str
    path: Path
    num_bytes: int
    kind: Kind
    licence: str | None


def resolve(
    source: str, on_progress: Progress = say_nothing, on_notice: Notify = say_nothing
) -> ResolvedModel:
    """Find the model that a user means, and fetch it where need be.

    Args:
        source (str): `default`, a folder, a GGUF file, a cached model's name, or a hub id.
        on_progress (Callable[[int, int], None]): Given the bytes done and the bytes in all.
        on_notice (Callable[[str], None]): Given a sentence about each choice made on the way.

    Raises:
        ModelError: There is no such model, or it has no supported format.
        ResourceError: It has to be downloaded and cannot.
        UsageError: A hub id is named and the training extra is not installed.
    """
    if source in ("default", default_model.DEFAULT_MODEL.name):
        path = fetch_default(on_progress, on_notice)
        return ResolvedModel(
            path, default_model.DEFAULT_MODEL.name, "folder" if path.is_dir() else "gguf"
        )
    path = Path(source).expanduser()
    if path.exists():
        return _local(path)
    for model in cached_models():
        if model.name == source:
            return ResolvedModel(model.path, model.name, model.kind)
    if _may_be_on_hub(source):
        on_notice(f"{source} is fetched from the hub into {models_folder()}.")
        return ResolvedModel(hub.fetch(source, models_folder()), source, "folder")
    raise _no_such_model(source)


def require_known(source: str) -> None:
    """Refuse a model that is neither here nor may be on the hub, before anything is loaded.

    Args:
        source (str): What `resolve` takes.

    Raises:
        ModelError: There is no such model, or what is there is none.
    """
    path = local_model(source)
    if path is not None:
        _local(path)
    elif source not in ("default", default_model.DEFAULT_MODEL.name) and not _may_be_on_hub(source):
        raise _no_such_model(source)


def _may_be_on_hub(source: str) -> bool:
    """Whether a name reads like a hub id.

    `models/mine`, where a folder `models` is here, is a path with a slip of the pen.
    """
    path = Path(source).expanduser()
    is_name = hub.HUB_ID.fullmatch(source) is not None
    return is_name and path.suffix != ".gguf" and not path.parent.exists()


def _no_such_model(source: str) -> ModelError:
    return ModelError(
        f"There is no model `{source}`.",
        "Name a model folder, a GGUF file, a hub id such as `owner/name`, or `default`; "
        "`ptune models` lists what is cached.",
    )


@dataclass(frozen=True)
class BaseReference:
    """A base model as other people know it.

    Attributes:
        name: How it is called here, without its folders.
        hub_id: Its name on the Hugging Face hub, or None.
        licence: Where it is known.
    """

    name: str
    hub_id: str | None
    licence: str | None


def base_reference(source: str) -> BaseReference:
    """What a model that is on this disk is called elsewhere, and its licence.

    Args:
        source (str): What `resolve` takes.
    """
    default = default_model.DEFAULT_MODEL
    if source in ("default", default.name):
        return BaseReference(default.name, default.hub_id, default.licence)
    path = local_model(source)
    if path is None:
        return BaseReference(source, source if hub.HUB_ID.fullmatch(source) else None, None)
    hub_id = source if not Path(source).exists() and hub.HUB_ID.fullmatch(source) else None
    name = path.stem if path.is_file() else path.resolve().name
    return BaseReference(hub_id or name, hub_id, _licence(path) if path.is_dir() else None)


def local_model(source: str) -> Path | None:
    """Where a model lies on this disk; None where it would have to be fetched.

    Args:
        source (str): What `resolve` takes.
    """
    if source in ("default", default_model.DEFAULT_MODEL.name):
        path = default_model.DEFAULT_MODEL.path
        return path if path.is_file() else None
    path = Path(source).expanduser()
    if path.exists():
        return path
    return next((model.path for model in cached_models() if model.name == source), None)


def cached_models() -> list[CachedModel]:
    """Every model of the model cache, those included that were put there by hand."""
    cache = models_folder()
    if not cache.is_dir():
        return []
    files = sorted(filter(_is_file, [*cache.glob("*.gguf"), *cache.glob("*/*.gguf")]))
    folders = (entry for entry in sorted(cache.iterdir()) if _is_file(entry / "config.json"))
    models = [_cached_file(path) for path in files]
    return models + [_cached_folder(folder) for folder in folders]


def _is_file(path: Path) -> bool:
    """Whether there is a file that may be looked at: no link to nothing, no closed folder."""
    try:
        return path.is_file()
    except OSError:
        return False


def _local(path: Path) -> ResolvedModel:
    if path.is_file() and path.suffix.lower() == ".gguf":
        return ResolvedModel(path, path.stem, "gguf")
    if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
        return ResolvedModel(path, path.resolve().name, "folder")
    files = sorted(path.glob("*.gguf")) if path.is_dir() else []
    if len(files) == 1:
        return ResolvedModel(files[0], files[0].stem, "gguf")
    raise ModelError(
        f"{path} is not a model.",
        "A model is a GGUF file, or a folder with config.json and safetensors.",
    )


def _cached_file(path: Path) -> CachedModel:
    default = default_model.DEFAULT_MODEL
    is_default = path == default.path
    return CachedModel(
        name=default.name if is_default else path.stem,
        path=path,
        num_bytes=path.stat().st_size,
        kind="gguf",
        licence=default.licence if is_default else None,
    )


def _cached_folder(folder: Path) -> CachedModel:
    num_bytes = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    return CachedModel(
        name=folder.name.replace("--", "/"),
        path=folder,
        num_bytes=num_bytes,
        kind="folder",
        licence=_licence(folder),
    )


def _licence(folder: Path) -> str | None:
    """What a model folder's card says."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    licence = re.search(r"^license:\s*(\S+)", text, re.MULTILINE)
    return licence[1] if licence else None
