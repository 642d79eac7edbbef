"""Fetches a model folder from the hub, for a model that the user names by its hub id.

Only safetensors, JSON and tokenizer files are taken: never a pickle, never code.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from ptune_tui.errors import ModelError, ResourceError, UsageError, missing_training_extra

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TAKEN = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"]
TAKEN += ["README.md"]  # states the licence
LEFT_OUT = ["*/*"]  # subfolders hold other formats of the same weights
ON = frozenset({"1", "on", "yes", "true"})


def folder_name(hub_id: str) -> str:
    """The name of a hub model's folder in the model cache."""
    return hub_id.replace("/", "--")


def is_switched_off() -> bool:
    """Whether the user set HF_HUB_OFFLINE."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ON


def is_installed() -> bool:
    """Whether the package that talks to the hub is here."""
    return importlib.util.find_spec("huggingface_hub") is not None


def fetch(hub_id: str, cache: Path) -> Path:
    """The folder of a hub model, downloaded into the model cache unless it is there.

    A download that breaks off goes on at the next call.

    Args:
        hub_id (str): `owner/name`.
        cache (Path): The model cache.

    Raises:
        UsageError: The package `huggingface_hub` is not installed.
        ModelError: The hub has no such model, or it holds no safetensors.
        ResourceError: The hub cannot be reached.
    """
    folder = cache / folder_name(hub_id)
    if folder.is_dir():
        return folder
    if is_switched_off():
        raise ResourceError(
            f"HF_HUB_OFFLINE is set and {hub_id} is not in the model cache {cache}.",
            "Unset it to download, or name a model folder.",
        )
    part = cache / ".downloads" / folder_name(hub_id)
    part.mkdir(parents=True, exist_ok=True)
    _download(hub_id, part)
    if not any(part.glob("*.safetensors")):
        raise ModelError(
            f"The hub model {hub_id} holds no safetensors.",
            "Pickled weights are not loaded, because a pickle can run code. Take another model.",
        )
    part.replace(folder)
    return folder


def _download(hub_id: str, folder: Path) -> None:
    try:
        import huggingface_hub
        from huggingface_hub import errors
        from huggingface_hub.utils import disable_progress_bars
    except ModuleNotFoundError as error:
        explanation = missing_training_extra("huggingface_hub")
        raise UsageError(explanation.message, explanation.hint) from error
    disable_progress_bars()
    try:
        # Asked first, because snapshot_download takes a half-filled folder for the model when
        # the hub cannot be reached.
        revision = huggingface_hub.model_info(hub_id).sha
        huggingface_hub.snapshot_download(
            hub_id,
            revision=revision,
            local_dir=folder,
            allow_patterns=TAKEN,
            ignore_patterns=LEFT_OUT,
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelError(
            f"There is no model folder {hub_id} here, and no such model on the hub that you may "
            "read.",
            "Check the spelling; a gated model needs `hf auth login` and its terms accepted.",
        ) from error
    except (OSError, errors.HTTPError) as error:
        raise ResourceError(
            f"The hub could not be reached for {hub_id}: {error}",
            "Check the network; what came so far is kept. Or name a model folder.",
        ) from error
