"""What an export is asked for: a run, what to make of it, and where to. Draws nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec

from ptune_tui.bundles import BundleCard, check_prompt_name, prompt_name_of, read_card
from ptune_tui.config import RunConfig
from ptune_tui.errors import UsageError
from ptune_tui.events import LineFollower, ModelReady, decode_event
from ptune_tui.hardware import free_disk_bytes
from ptune_tui.paths import runs_folder
from ptune_tui.runs import AT_WORK, RunSummary, list_runs, run_config, summarise
from ptune_tui.tasks import EVENTS_FILE, ExportFormat, ExportPrecision, ExportTask
from ptune_tui.tui.fields import Field
from ptune_tui.tui.wording import bytes_text

Make = Literal["new bundle", "prompt into a bundle", "transformers folder", "GGUF folder"]
MAKES: tuple[Make, ...] = get_args(Make)
KEEP, REPLACE = "keep it", "replace it"
NOT_READ = "..."  # while the runs are being read

_FORMATS: dict[Make, ExportFormat] = {"transformers folder": "transformers", "GGUF folder": "gguf"}
_FOLDERS: dict[Make, str] = {
    "new bundle": "bundle",
    "transformers folder": "transformers",
    "GGUF folder": "gguf",
}
_SLACK = 1.15  # graphs, tokenizers and the prompt, beside the weights
_FLOAT_BYTES = 4

FIELDS = (
    Field("run", "run", "a run that has ended with a prompt", NOT_READ, (NOT_READ,)),
    Field(
        "make",
        "make",
        "a bundle answers on a CPU; the folders are for other programs",
        MAKES[0],
        MAKES,
    ),
    Field(
        "precision",
        "precision",
        "what it answers in; auto takes the fastest here of those that pass the comparison",
        "auto",
        get_args(ExportPrecision),
    ),
    Field("name", "prompt's name", "what the bundle calls the prompt", "prompt"),
    Field("to", "folder", "where it goes; nothing is put there unless all went well", ""),
    Field("taken", "if it is there", "an earlier export", KEEP, (KEEP, REPLACE)),
)


@dataclass(frozen=True)
class ExportSource:
    """A run that can be exported.

    Attributes:
        summary: The run.
        config: What it was started with.
        model: What its model was found to be.
    """

    summary: RunSummary
    config: RunConfig
    model: ModelReady | None

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.summary.path

    @property
    def word(self) -> str:
        """What a command calls it: its name, or its path where it lies elsewhere."""
        return self.path.name if self.path.parent == runs_folder() else str(self.path)

    @property
    def prompt_name(self) -> str:
        """What its prompt is called where nothing else is said."""
        return prompt_name_of(self.config.data.train)


@dataclass(frozen=True)
class ExportChoice:
    """What is asked for.

    Attributes:
        source: The run.
        make: What to make of it.
        precision: What a bundle answers in.
        name: What a bundle calls the prompt.
        destination: Where it goes.
        replaces: Whether what is there may be replaced.
    """

    source: ExportSource
    make: Make
    precision: ExportPrecision
    name: str
    destination: Path
    replaces: bool

    @property
    def is_addition(self) -> bool:
        """Whether a bundle that is there gets one more prompt."""
        return self.make == "prompt into a bundle"

    @property
    def is_of_bundle(self) -> bool:
        """Whether a bundle comes of it, which has precisions and names."""
        return self.make not in _FORMATS

    def task(self) -> ExportTask:
        """What a worker is asked to do."""
        return ExportTask(
            run=str(self.source.path.absolute()),
            destination=str(self.destination.absolute()),
            prompt_name=self.name if self.is_of_bundle else self.source.prompt_name,
            precision=self.precision if self.is_of_bundle else "auto",
            overwrite=self.replaces,
            is_addition=self.is_addition,
            format=_FORMATS.get(self.make, "bundle"),
        )

    def command(self) -> str:
        """The command that does the same."""
        into = "--into" if self.is_addition else "--out"
        words = ["ptune", "export", self.source.word, into, str(self.destination)]
        if self.is_of_bundle:
            words += ["--name", self.name]
            words += [] if self.precision == "auto" else ["--precision", self.precision]
        else:
            words += ["--format", _FORMATS[self.make]]
        return shlex.join([*words, "--overwrite"] if self.replaces else words)


# No such user, a folder that may not be read, a name that is too long.
_NOT_TO_BE_LOOKED_AT = (OSError, RuntimeError)


def export_sources(shown: Path | None = None) -> list[ExportSource]:
    """Every run that has ended with a prompt, the latest first. Reads all their events.

    Args:
        shown (Path | None): A run that may lie elsewhere.
    """
    summaries = list_runs()
    known = {summary.path.absolute() for summary in summaries}
    if shown is not None and shown.absolute() not in known:
        summaries = [summarise(shown), *summaries]
    return [source for summary in summaries for source in _source(summary)]


def _source(summary: RunSummary) -> Iterable[ExportSource]:
    config = run_config(summary.path)
    has_prompt = summary.best_accuracy is not None and (summary.path / "adapter").is_dir()
    if config is not None and has_prompt and summary.status not in AT_WORK:
        yield ExportSource(summary, config, _model_of(summary.path))


def _model_of(run: Path) -> ModelReady | None:
    """The model of a run; its event is among the first."""
    for line in LineFollower(run / EVENTS_FILE).new_lines():
        if b'"ModelReady"' in line:
            try:
                event = decode_event(line)
            except msgspec.DecodeError:
                return None  # damaged; the listing counts it
            return event if isinstance(event, ModelReady) else None
    return None


def default_destination(make: Make, source: ExportSource, sources: Iterable[ExportSource]) -> str:
    """Where an export goes unless another folder is named; empty where nothing fits.

    Args:
        make (Make): What is made.
        source (ExportSource): Of which run.
        sources (Iterable[ExportSource]): The runs whose bundles a prompt could be added to.
    """
    if make in _FOLDERS:
        return str(source.path / _FOLDERS[make])
    for other in sources:
        bundle = other.path / _FOLDERS["new bundle"]
        card = read_card(bundle)
        if other != source and card is not None and _is_same_base(card, source):
            return str(bundle)
    return ""


def read_choice(
    texts: Mapping[str, str], sources: Mapping[str, ExportSource]
) -> tuple[ExportChoice | None, dict[str, str]]:
    """The choice that a form holds, and what is wrong by field. Looks at the disk.

    Args:
        texts (Mapping[str, str]): The form, by name of the field.
        sources (Mapping[str, ExportSource]): The runs by what the form calls them.
    """
    source = sources.get(texts["run"])
    if source is None:
        return None, {}
    try:
        destination = Path(texts["to"].strip()).expanduser()
        free_disk_bytes(destination.absolute())
    except _NOT_TO_BE_LOOKED_AT as error:
        return None, {"to": f"the folder cannot be looked at: {error}"}
    has_taken = is_taken(texts)
    choice = ExportChoice(
        source=source,
        make=next(make for make in MAKES if make == texts["make"]),
        precision=next(name for name in get_args(ExportPrecision) if name == texts["precision"]),
        name=texts["name"].strip(),
        destination=destination,
        replaces=texts["taken"] == REPLACE and has_taken,
    )
    problems = {}
    if choice.is_of_bundle:
        try:
            check_prompt_name(choice.name)
        except UsageError as error:
            problems["name"] = f"{error.message} {error.hint}"
    problem = _destination_problem(choice, texts["to"].strip())
    if problem:
        problems["to"] = problem
    elif has_taken and not choice.replaces:
        problems["taken"] = "it is there already; choose to replace it, or another folder or name"
    return (None if problems else choice), problems


def is_taken(texts: Mapping[str, str]) -> bool:
    """Whether something would be replaced: a folder, or a prompt in a bundle.

    Args:
        texts (Mapping[str, str]): The form.
    """
    if not texts["to"].strip():
        return False
    try:
        folder = Path(texts["to"].strip()).expanduser()
        if texts["make"] != "prompt into a bundle":
            return folder.exists()
    except _NOT_TO_BE_LOOKED_AT:
        return False  # `read_choice` says so
    card = read_card(folder)
    return card is not None and texts["name"].strip() in card.prompts


def _destination_problem(choice: ExportChoice, text: str) -> str:
    if not text:
        wanted = "a bundle on the same base" if choice.is_addition else "a folder"
        return f"name {wanted}"
    if not choice.is_addition:
        return ""
    card = read_card(choice.destination)
    if card is None:
        return "there is no bundle"
    if not _is_same_base(card, choice.source):
        return f"its base is {card.model_name}, with other weights than the run's"
    return ""


def _is_same_base(card: BundleCard, source: ExportSource) -> bool:
    return source.model is not None and card.weights_hash == source.model.weights_hash


def space_line(choice: ExportChoice) -> tuple[bool, str]:
    """Whether there is room for an export, and the figures. The worker's own check decides.

    Args:
        choice (ExportChoice): What is asked for.
    """
    free = free_disk_bytes(choice.destination.absolute())
    model = choice.source.model
    if free is None or model is None:
        return True, ""
    needed = _needed_bytes(choice, model)
    words = f"needs about {bytes_text(needed)}, {bytes_text(free)} free"
    return needed <= free, words if needed <= free else f"{words}: too little"


def _needed_bytes(choice: ExportChoice, model: ModelReady) -> float:
    if choice.is_addition:
        num_tokens = choice.source.config.method.num_virtual_tokens
        keys_values = 2 * model.num_layers * model.hidden_size * num_tokens * _FLOAT_BYTES
        return 3 * keys_values  # of each graph, at most
    if choice.make == "transformers folder":
        return _SLACK * _FLOAT_BYTES * model.num_parameters
    has_integers = choice.make == "new bundle" and choice.precision in ("auto", "throughput")
    return _SLACK * (model.quantised_bytes + model.num_parameters * has_integers)
