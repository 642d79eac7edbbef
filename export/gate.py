"""Whether a prompt may ship: every graph is asked what torch was asked, behind the prompt."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from export.errors import ParityError
from export.manifest import ParityRecord
from export.parity import Reference, ask_reference, measure
from export.precisions import Precision
from export.prompt_files import ExportedPrompt
from export.session import DecoderSession
from quant.packing import FrozenWeight, QuantTensor

AskedPrecision = Literal["auto", "fast", "exact", "throughput"]
CONTINUATION_TOKENS = 32
_ORDER: tuple[Precision, ...] = ("exact", "fast", "throughput")


@dataclass(frozen=True)
class Measured:
    """What the gate found for a precision."""

    precision: Precision
    record: ParityRecord


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why."""

    what: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Built:
    """A step of the writing is done."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Traced:
    """The graphs were traced, not written node by node.

    Attributes:
        refusal: Why.
        num_nodes: Of the larger graph.
    """

    refusal: str
    num_nodes: int


@dataclass(frozen=True)
class Gate:
    """The gate of one prompt.

    Attributes:
        prompt: What was trained.
        reference: The trained model in torch, exact.
        rows: Rows of tokens to compare on.
        is_integer_grid: Whether torch computed on the very codes that are shipped.
    """

    prompt: ExportedPrompt
    reference: Reference
    rows: Sequence[list[int]]
    is_integer_grid: bool

    def measure(
        self, sessions: Mapping[Precision, DecoderSession]
    ) -> Generator[Measured | Built, None, dict[str, ParityRecord]]:
        """Compare every graph with the reference; returns what was measured, by precision."""
        probes = ask_reference(self.reference, self.rows, CONTINUATION_TOKENS)
        yield Built("reference", 2, 3)
        parity: dict[str, ParityRecord] = {}
        for precision in (name for name in _ORDER if name in sessions):
            # ONNX Runtime GenAI has `fast` compute the prompt itself, which is a little worse than
            # what our runtime begins with, so that is what must pass.
            begins = sessions["fast" if precision == "fast" else "exact"]
            parity[precision] = measure(
                sessions[precision],
                begins.prefix(begins.begin(self.prompt.prompt, [])),
                probes,
                CONTINUATION_TOKENS,
                self.prompt.end_token_id,
                precision,
                is_integer_grid=self.is_integer_grid,
            )
            yield Measured(precision, parity[precision])
        return parity


def check_parity(parity: Mapping[str, ParityRecord], asked: AskedPrecision) -> None:
    """Refuse what must not ship.

    Args:
        parity (Mapping[str, ParityRecord]): What was measured, by precision.
        asked (AskedPrecision): What was asked for.

    Raises:
        ParityError: `exact` fails, or another one fails and was asked for.
    """
    for precision in ("exact",) if asked in ("auto", "exact") else ("exact", asked):
        record = parity[precision]
        if not record.passed:
            raise ParityError(
                f"The graph `{precision}` does not compute what the trained model computes: "
                f"relative error {record.relative_error:.2g}, KL {record.kl_divergence:.2g}, "
                f"{record.identical_texts} of {record.num_texts} greedy texts the same.",
                "`--precision exact` ships the slower, exact graph."
                if precision != "exact"
                else "Nothing was written. This is a fault of ptune; please report it.",
            )


def is_integer_grid(weights: Mapping[str, FrozenWeight | Tensor]) -> bool:
    """Whether every frozen weight is on a grid that ships as it is."""
    return all(isinstance(weight, QuantTensor | Tensor) for weight in weights.values())
