"""What an export is asked for: a run, what to make of it, and where to. Draws nothing."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ptune_tui.bundles import prompt_name_of
from ptune_tui.config import RunConfig
from ptune_tui.events import ModelReady
from ptune_tui.run_index import run_location
from ptune_tui.run_listing import ListedRun, RunListing, listed_run
from ptune_tui.run_prompt import has_prompt
from ptune_tui.runs import AT_WORK, RunReader, RunSummary, run_word
from ptune_tui.tasks import ExportFormat, ExportPrecision, ExportTask, FloatType
from ptune_tui.tui.fields import Field

Make = Literal[
    "new bundle", "prompt into a bundle", "ONNX folder", "transformers folder", "GGUF folder"
]
MAKES: tuple[Make, ...] = get_args(Make)
KEEP, REPLACE = "keep it", "replace it"
REFUSE, FORCE = "refuse", "export all the same"
NOT_READ = "..."  # while the runs are being read

FORMATS: dict[Make, ExportFormat] = {
    "ONNX folder": "onnx",
    "transformers folder": "transformers",
    "GGUF folder": "gguf",
}
FOLDERS: dict[Make, str] = {
    "new bundle": "bundle",
    "ONNX folder": "onnx",
    "transformers folder": "transformers",
    "GGUF folder": "gguf",
}

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
    Field(
        "to",
        "folder",
        "where it goes; nothing is put there unless all went well",
        "",
        path="folder",
    ),
    Field("taken", "if it is there", "an earlier export", KEEP, (KEEP, REPLACE)),
    Field(
        "dtype",
        "weights in",
        "bfloat16 takes half the room and rounds; float32 holds what was trained on",
        "float32",
        get_args(FloatType),
    ),
    Field(
        "weights",
        "on other weights",
        "where the model is not the one that the prompt was trained on any more",
        REFUSE,
        (REFUSE, FORCE),
    ),
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
        return run_word(self.path)

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
        float_type: Of the weights of a transformers folder.
        forces: Whether other weights than it was trained on will do.
    """

    source: ExportSource
    make: Make
    precision: ExportPrecision
    name: str
    destination: Path
    replaces: bool
    float_type: FloatType = "float32"
    forces: bool = False

    @property
    def is_addition(self) -> bool:
        """Whether a bundle that is there gets one more prompt."""
        return self.make == "prompt into a bundle"

    @property
    def is_of_bundle(self) -> bool:
        """Whether a bundle comes of it, which has precisions and names."""
        return self.make not in FORMATS

    def task(self) -> ExportTask:
        """What a worker is asked to do."""
        return ExportTask(
            run=str(self.source.path.absolute()),
            destination=str(self.destination.absolute()),
            prompt_name=self.name if self.is_of_bundle else self.source.prompt_name,
            precision=self.precision if self.is_of_bundle else "auto",
            overwrite=self.replaces,
            force=self.forces,
            is_addition=self.is_addition,
            format=FORMATS.get(self.make, "bundle"),
            float_type=self.float_type,
        )

    def command(self) -> str:
        """The command that does the same."""
        into = "--into" if self.is_addition else "--out"
        words = ["ptune", "export", self.source.word, into, str(self.destination)]
        if self.is_of_bundle:
            words += ["--name", self.name]
            words += [] if self.precision == "auto" else ["--precision", self.precision]
        else:
            words += ["--format", FORMATS[self.make]]
            words += [] if self.float_type == "float32" else ["--dtype", self.float_type]
        words += ["--overwrite"] if self.replaces else []
        return shlex.join([*words, "--force"] if self.forces else words)


def export_sources(listing: RunListing, shown: Path | None = None) -> list[ExportSource]:
    """Every run that has ended with a prompt, the latest first. Reads the disk.

    Args:
        listing (RunListing): Of all runs.
        shown (Path | None): A run that may lie elsewhere.
    """
    runs = listing.read_all()
    known = {run_location(run.summary.path) for run in runs}
    if shown is not None and run_location(shown) not in known:
        runs = [listed_run(RunReader(shown)), *runs]
    return [source for run in runs if (source := _source(run)) is not None]


def _source(run: ListedRun) -> ExportSource | None:
    summary = run.summary
    if run.config is None or summary.status in AT_WORK or not has_prompt(summary.path):
        return None
    return ExportSource(summary, run.config, run.model)
