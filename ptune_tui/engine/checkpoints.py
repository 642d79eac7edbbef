"""The states of a run on disk: the latest, and the one before for a latest that was cut short.

RUN/checkpoints/last/, previous/
    state.safetensors   `method.*`, `optimizer.N.*`, `best.*`, `random.*`
    state.json          everything else with the sha256 of the tensors, and a sha256 of its own
"""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load, save

from ptune_tui.engine.plan import Plan
from ptune_tui.engine.run_state import Progress, PythonRandom, RunState
from ptune_tui.errors import DataError, ModelError, UsageError
from ptune_tui.tasks import (
    CHECKPOINTS_FOLDER,
    LAST,
    PREVIOUS,
    STATE_FILES,
    write_atomically,
)

TENSORS_FILE, CARD_FILE = STATE_FILES
VERSION = 2  # another one computes other bits


class Origin(msgspec.Struct, frozen=True):
    """What a run was started with; a resumed run must match it.

    Attributes:
        config: sha256 of the configuration.
        weights: sha256 of the frozen weights.
        rows: sha256 of the rows in tokens.
        num_threads: Of the processor; another number may round in another way.
    """

    config: str
    weights: str
    rows: str
    num_threads: int


class RunCard(msgspec.Struct, frozen=True):
    """What `state.json` says."""

    version: int
    tensors_sha256: str
    origin: Origin
    plan: Plan
    progress: Progress
    python_random: PythonRandom


class SealedCard(msgspec.Struct, frozen=True):
    """`state.json`: a card and the sha256 of its bytes, since a changed digit is JSON, too."""

    sha256: str
    card: msgspec.Raw


@dataclass(frozen=True)
class Stored:
    """A state that was read.

    Attributes:
        folder: Where it was.
        card: What stands beside the tensors.
        state: The state itself.
        problem: Why it is not the latest one; None where it is.
    """

    folder: Path
    card: RunCard
    state: RunState
    problem: str | None = None


@dataclass(frozen=True)
class Checkpoints:
    """Writes the states of a run.

    Attributes:
        run: The run folder.
        origin: What the run was started with.
        plan: How its steps are computed.
    """

    run: Path
    origin: Origin
    plan: Plan

    def save(self, state: RunState) -> Path:
        """Write a state; the one before stays until this one is whole, and beside it after that.

        Raises:
            FileNotFoundError: The run folder was deleted or moved; it is not made again.
        """
        folder = self.run / CHECKPOINTS_FOLDER
        new, last, previous = folder / f".new.{os.getpid()}", folder / LAST, folder / PREVIOUS
        shutil.rmtree(new, ignore_errors=True)
        folder.mkdir(exist_ok=True)
        new.mkdir()
        content = save(dict(state.tensors))
        card = RunCard(
            version=VERSION,
            tensors_sha256=_sha256(content),
            origin=self.origin,
            plan=self.plan,
            progress=state.progress,
            python_random=state.python_random,
        )
        raw = msgspec.json.encode(card)
        write_atomically(new / TENSORS_FILE, content)
        sealed = SealedCard(_sha256(raw), msgspec.Raw(raw))
        write_atomically(new / CARD_FILE, msgspec.json.encode(sealed))
        if last.exists():
            shutil.rmtree(previous, ignore_errors=True)
            last.rename(previous)
        new.rename(last)
        return last


def read_latest(run: Path) -> Stored:
    """The latest usable state of a run.

    Args:
        run (Path): The run folder.

    Raises:
        DataError: There is none.
    """
    problems: list[str] = []
    for name in (LAST, PREVIOUS):
        folder = run / CHECKPOINTS_FOLDER / name
        try:
            card, state = read_state(folder)
        except DataError as error:
            problems.append(error.message)
            continue
        return Stored(folder, card, state, problems[0] if problems else None)
    raise DataError(
        f"{run} has no usable checkpoint. {' '.join(problems)}",
        f"Start again with its configuration: `ptune train {run / 'config.toml'}`.",
    )


def read_state(folder: Path) -> tuple[RunCard, RunState]:
    """Read and check one state.

    Args:
        folder (Path): Where.

    Raises:
        DataError: It is missing, cut short, changed, or of another version.
    """
    try:
        sealed = msgspec.json.decode((folder / CARD_FILE).read_bytes(), type=SealedCard)
        content = (folder / TENSORS_FILE).read_bytes()
        if _sha256(bytes(sealed.card)) != sealed.sha256:
            raise DataError(f"{folder / CARD_FILE} was changed.")
        card = msgspec.json.decode(sealed.card, type=RunCard)
        if _sha256(content) != card.tensors_sha256:
            raise DataError(f"{folder / TENSORS_FILE} was cut short or changed.")
        tensors = load(content)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} is missing.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, SafetensorError) as error:
        raise DataError(f"{folder / CARD_FILE} is damaged: {error}.") from None
    if card.version != VERSION:
        raise DataError(
            f"{folder} is of version {card.version}; this ptune reads {VERSION}.",
            "Go on from its prompt in another run: `--init prompt --init-prompt RUN`.",
        )
    return card, RunState(card.progress, tensors, card.python_random)


def check_origin(stored: Stored, origin: Origin) -> None:
    """Refuse to go on with another configuration, other weights or other rows.

    Raises:
        UsageError: The configuration differs.
        ModelError: The weights differ.
        DataError: The rows differ.
    """
    found = stored.card.origin
    if found.config != origin.config:
        raise UsageError(
            f"The configuration is not the one that {stored.folder} was written with.",
            "A run goes on with its own configuration; start another run for another one.",
        )
    if found.weights != origin.weights:
        raise ModelError(
            f"The model's weights ({origin.weights[:12]}) are not those that {stored.folder} was "
            f"written with ({found.weights[:12]}).",
            "Go on with the model that the run was started with.",
        )
    if found.rows != origin.rows:
        raise DataError(
            f"The rows are not those that {stored.folder} was written with.",
            "Put the data files back as they were, or start another run.",
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
