"""The bundles that one may talk to, and what is known of each. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ptune_tui.bundles import BUNDLE_FOLDER, BundleCard, BundlePrompt, read_card
from ptune_tui.errors import UsageError
from ptune_tui.paths import tasks_folder
from ptune_tui.run_listing import RunListing
from ptune_tui.tasks import ExportTask, read_task
from ptune_tui.tui.folder_entries import names_in
from ptune_tui.tui.wording import path_text

Origin = Literal["open now", "of runs", "exported lately", "in this folder"]
SHOWN_LABELS = 8


@dataclass(frozen=True)
class BundleRow:
    """A bundle in the list.

    Attributes:
        path: Its folder.
        origin: Why it is offered.
        card: What its manifest says.
    """

    path: Path
    origin: Origin
    card: BundleCard


def bundle_rows(listing: RunListing, opened: Path | None) -> list[BundleRow]:
    """The bundle that is open, those of runs, of late exports, of the working folder. Reads disk.

    Args:
        listing (RunListing): Of all runs.
        opened (Path | None): What the chat has open.
    """
    rows: dict[Path, BundleRow] = {}
    for path, origin in _candidates(listing, opened):
        card = read_card(path)
        if card is not None:
            rows.setdefault(path.absolute(), BundleRow(path.absolute(), origin, card))
    return list(rows.values())


def check_bundle(folder: Path) -> None:
    """Refuse what is no bundle.

    Raises:
        UsageError: It holds none.
    """
    if read_card(folder) is None:
        raise UsageError(
            f"{folder} holds no bundle: no `manifest.json` that can be read.",
            "`ptune export RUN --out FOLDER` writes one.",
        )


def describe_bundle(folder: str) -> list[str]:
    """What is known of a bundle, a sentence each. Reads its manifest.

    Args:
        folder (str): Where it lies.
    """
    card = read_card(Path(folder))
    if card is None:
        return [f"✗ {folder} holds no bundle."]
    return [
        path_text(Path(folder)),
        f"base: {card.model_name}",
        f"answers in {card.default_precision}; has {', '.join(card.graphs)}",
        *(_prompt_line(name, prompt) for name, prompt in card.prompts.items()),
    ]


def _prompt_line(name: str, prompt: BundlePrompt) -> str:
    if prompt.labels is None:
        return f"prompt {name}: {prompt.num_virtual_tokens} virtual tokens, free text"
    more = ", ..." if len(prompt.labels) > SHOWN_LABELS else ""
    labels = ", ".join(prompt.labels[:SHOWN_LABELS]) + more
    return f"prompt {name}: {prompt.num_virtual_tokens} virtual tokens, answers {labels}"


def _candidates(listing: RunListing, opened: Path | None) -> Iterator[tuple[Path, Origin]]:
    if opened is not None:
        yield opened, "open now"
    for run in listing.read():
        yield run.path / BUNDLE_FOLDER, "of runs"
    for folder in _folders_in(tasks_folder()):
        try:
            task = read_task(folder)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue  # another kind of folder, or one that is being removed
        if isinstance(task, ExportTask) and task.format == "bundle":
            yield Path(task.destination), "exported lately"
    for folder in _folders_in(Path.cwd()):
        yield folder, "in this folder"


def _folders_in(parent: Path) -> list[Path]:
    """The latest name first, where the names begin with a time."""
    try:
        names = names_in(parent)
    except OSError:
        return []  # it is not there, or may not be read
    return [parent / name for name, is_folder in reversed(names) if is_folder]
