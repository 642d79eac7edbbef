"""What `ptune inspect` found in a trained prompt, as a file. Torch-free leaf."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from ptune_tui.errors import DataError
from ptune_tui.tasks import write_atomically

INSPECTION_FILE = "inspection.json"


def without_rows(what: str) -> DataError:
    """Keys and values are not among the vocabulary: without rows there is nothing to compare.

    Args:
        what (str): Whose they are, to begin a sentence.
    """
    return DataError(
        f"{what} has keys and values: it can only be looked at on rows.", "Name some with `--data`."
    )


class NearToken(Struct, frozen=True):
    """A token of the vocabulary beside a virtual one."""

    token_id: int
    text: str
    cosine: float


class TokenFindings(Struct, frozen=True):
    """One virtual token, or one position of keys and values.

    Attributes:
        norm: Over the mean norm of the vocabulary's embeddings; None for keys and values.
        nearest: Closest first; none for keys and values.
        key_norm: Over the mean norm of text tokens' keys, mean of the layers; None for virtual
            tokens, whose keys are the model's own.
        value_norm: The same of values.
        attention_text: Share of their attention that text tokens put on it: mean of tokens, heads,
            layers and rows. None where no rows were looked at.
        attention_answer: The same of the positions that the response is read from.
    """

    norm: float | None
    nearest: list[NearToken]
    key_norm: float | None
    value_norm: float | None
    attention_text: float | None
    attention_answer: float | None


class LayerFindings(Struct, frozen=True):
    """One layer: what all virtual tokens together get of the attention.

    Attributes:
        attention_text: Of text tokens; None where no rows were looked at.
        attention_answer: Of the positions that the response is read from.
        key_norm: As in `TokenFindings`, mean of the positions.
        value_norm: The same of values.
    """

    attention_text: float | None
    attention_answer: float | None
    key_norm: float | None
    value_norm: float | None


class PartScore(Struct, frozen=True):
    """How rows are answered with a part of the prompt.

    Attributes:
        kept: Numbers of the virtual tokens that are left, from 0.
        loss: Mean cross-entropy of the response tokens, nats.
        accuracy: Of labels; None for free text.
    """

    kept: list[int]
    loss: float
    accuracy: float | None


class Inspection(Struct, frozen=True):
    """A trained prompt, looked at.

    Attributes:
        prompt: Where it is.
        model: The model it was looked at in.
        has_layers: Whether it holds keys and values of every layer (`prefix`).
        vocabulary_norm: Mean norm of the vocabulary's embeddings; None for keys and values.
        data: The rows' file; None where none were looked at.
        num_rows: How many.
        tokens: One a virtual token.
        layers: One a layer; none where there is nothing to say.
        whole: With the whole prompt; None where no rows were looked at.
        base: Without it.
        without: A token, or a group of neighbours, left out, in their order.
        first: The first ones kept, from few to many.
        command: That makes it again.
        prompt_hash: sha256 of a run's adapter when this was made; "" for another prompt.
    """

    prompt: str
    model: str
    has_layers: bool
    vocabulary_norm: float | None
    data: str | None
    num_rows: int
    tokens: list[TokenFindings]
    layers: list[LayerFindings]
    whole: PartScore | None
    base: PartScore | None
    without: list[PartScore]
    first: list[PartScore]
    command: str
    prompt_hash: str = ""


def write_inspection(path: Path, found: Inspection) -> None:
    """Write it as indented JSON, whole or not at all."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(found), indent=1))


def read_inspection(folder: Path) -> Inspection | None:
    """What is in a run folder, or None where nobody looked.

    Raises:
        DataError: It is damaged, or of another version.
    """
    path = folder / INSPECTION_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Inspection)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is damaged or of another version of ptune: {error}",
            "Make it again with `ptune inspect`, or delete it.",
        ) from None
