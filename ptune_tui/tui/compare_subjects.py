"""What can be compared: runs that have a prompt, and bundles. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec
from msgspec import Struct

from ptune_tui.bundles import BUNDLE_FOLDER, BundleCard, prompt_name_of, read_card
from ptune_tui.config import RunConfig
from ptune_tui.errors import DataError
from ptune_tui.kept_tables import kept_tables
from ptune_tui.lineup import LinePrecision
from ptune_tui.results import Evaluation
from ptune_tui.run_listing import RunListing
from ptune_tui.run_prompt import ADAPTER_FOLDER, CARD_FILE, has_prompt
from ptune_tui.run_table import prompt_hash
from ptune_tui.runs import run_config, summarise
from ptune_tui.tui.export_choice import ExportSource, export_sources
from ptune_tui.tui.run_rows import best_words, table_word


class _PromptLabels(Struct, frozen=True):
    """What is read of the card beside a run's prompt."""

    labels: list[str] | None


@dataclass(frozen=True)
class Subject:
    """A run or a bundle.

    Attributes:
        word: What the form calls it.
        run: The run's folder; None for a bundle.
        bundle: The bundle, or the one that was exported into the run's folder.
        config: The run's configuration.
        labels: The run's closed set; None for free text, and for a bundle.
        about: A few words beside it.
        training_seconds: How long the run trained, which LoRA is given, too; None for a bundle, and
            for a run without a step.
    """

    word: str
    run: Path | None
    bundle: Path | None
    config: RunConfig | None = None
    labels: list[str] | None = None
    about: str = ""
    training_seconds: float | None = None

    def is_of(self, run: Path | None, bundle: Path | None) -> bool:
        """Whether it is a run, or where there is none, a bundle.

        Args:
            run (Path | None): The run's folder.
            bundle (Path | None): The bundle's.
        """
        if run is not None:
            return self.run is not None and self.run.absolute() == run.absolute()
        return bundle is not None and self.run is None and self.bundle == bundle

    @property
    def command_word(self) -> str:
        """What a command calls it."""
        if self.run is None:
            return str(self.bundle)
        return self.word.removeprefix("run ")


def subjects(listing: RunListing, shown: Path | None, bundle: Path | None) -> list[Subject]:
    """All that can be compared, runs before bundles. Reads the disk.

    Args:
        listing (RunListing): Of all runs.
        shown (Path | None): A run that may lie elsewhere.
        bundle (Path | None): A bundle that may lie elsewhere.
    """
    runs = [_of_source(source) for source in export_sources(listing, shown)]
    bundles = [run.bundle for run in runs if run.bundle is not None]
    if bundle is not None and bundle.absolute() not in {path.absolute() for path in bundles}:
        bundles.insert(0, bundle)
    return [*runs, *(found for path in bundles for found in _of_bundle(path))]


def subject_of(folder: Path) -> Subject | None:
    """The run or the bundle in a folder; None where there is neither.

    Args:
        folder (Path): Any folder.
    """
    for found in _of_bundle(folder):
        return found
    config = run_config(folder)
    if config is None or not has_prompt(folder):
        return None
    return _of_source(ExportSource(summarise(folder), config, None))


def _of_source(source: ExportSource) -> Subject:
    bundle = source.path / BUNDLE_FOLDER
    return Subject(
        f"run {source.word}",
        source.path,
        bundle if read_card(bundle) is not None else None,
        source.config,
        run_labels(source.path),
        best_words(source.summary),
        source.summary.training_seconds,
    )


def _of_bundle(folder: Path) -> Iterable[Subject]:
    card = read_card(folder)
    if card is not None:
        is_in_run = folder.name == BUNDLE_FOLDER
        name = f"{folder.parent.name}/{folder.name}" if is_in_run else folder.name
        yield Subject(f"bundle {name}", None, folder, about=card.model_name)


def run_labels(run: Path) -> list[str] | None:
    """The closed set of a run; None for free text, or where its prompt has no card.

    Args:
        run (Path): Its folder.
    """
    try:
        content = (run / ADAPTER_FOLDER / CARD_FILE).read_bytes()
        return msgspec.json.decode(content, type=_PromptLabels).labels
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def precisions_of(card: BundleCard) -> list[LinePrecision]:
    """The precisions that a bundle has a graph of.

    Args:
        card (BundleCard): The bundle.
    """
    return [name for name in get_args(LinePrecision) if name in card.graphs]


def own_prompt(subject: Subject, card: BundleCard) -> str:
    """The prompt of a bundle that a run most likely became; else its first.

    Args:
        subject (Subject): What is compared.
        card (BundleCard): Its bundle.
    """
    name = prompt_name_of(subject.config.data.train) if subject.config else ""
    return name if name in card.prompts else next(iter(card.prompts), "")


def tables_of(run: Path, now: float) -> tuple[list[tuple[str, Evaluation]], list[str]]:
    """The tables of a run, the latest first, each with what to choose it by; and what is damaged.

    Args:
        run (Path): Its folder.
        now (float): Seconds since the epoch.
    """
    kept, problems = kept_tables(run)
    try:
        current = prompt_hash(run)
    except DataError as error:
        current, problems = "", [*problems, error.message]
    return [
        (
            table_word(each.evaluation, now, each.evaluation.prompt_hash in ("", current)),
            each.evaluation,
        )
        for each in kept
    ], problems
