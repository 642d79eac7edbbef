"""Who is compared, and what they are given: what Compare asks a worker for. Torch-free leaf."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ptune_tui.evaluation.keys import ContenderKey

LinePrecision = Literal["fast", "exact", "throughput"]
# As they stand in a table.
ORDER: tuple[ContenderKey, ...] = ("base", "instruction", "few_shot", "tuned", "bundle", "lora")


class Lineup(Struct, frozen=True):
    """The lines of a comparison.

    Without a run, the bundle answers for all of them.

    Attributes:
        run: A run's folder: torch computes base, instruction, few-shot and the tuned prompt.
        bundle: A bundle's folder: onnxruntime computes a line for each of `precisions`.
        prompt: Which of the bundle's prompts; None where it has just one.
        precisions: Of the bundle.
        keys: Of base, instruction, few_shot, tuned and lora: those that are compared.
        instruction: None: proposed from the labels.
        num_examples: Of few-shot; None: by the number of labels.
        train: Rows for the examples and for LoRA; None: those of the run.
        seed: Of the examples, and of LoRA.
    """

    run: str | None = None
    bundle: str | None = None
    prompt: str | None = None
    precisions: tuple[LinePrecision, ...] = ()
    keys: tuple[ContenderKey, ...] = ()
    instruction: str | None = None
    num_examples: int | None = None
    train: str | None = None
    seed: int = 0

    @property
    def asks_torch(self) -> bool:
        """Whether a line is computed by torch: a bundle's lines need none."""
        return self.run is not None and bool(self.keys)

    def of_texts(self) -> Lineup:
        """Those that answer a text: LoRA would have to be trained first."""
        return replace(self, keys=tuple(key for key in self.keys if key != "lora"))
