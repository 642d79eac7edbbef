"""The protocol of an answering contender."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ptune_tui.answering_speed import Measure
from ptune_tui.errors import UsageError
from ptune_tui.worker.bench.messages import Taken


@dataclass(frozen=True)
class Timed:
    """How long an answer took.

    Attributes:
        prefill_seconds: Until the first token was chosen.
        decode_seconds: Of as many further tokens as were asked for.
    """

    prefill_seconds: float
    decode_seconds: float


class AnsweringContender(Protocol):
    """A loaded model that answers greedily.

    Attributes:
        measures: What it can be asked besides answering, each by its measure.
    """

    measures: Mapping[Measure, Callable[[], Taken]]

    @property
    def computed_by(self) -> str:
        """Version, file and settings."""
        ...

    def answer(self, ids: Sequence[int], num_tokens: int) -> Timed:
        """Read tokens, choose the most likely one, and decode so many further ones.

        Nothing of an earlier answer is used again, and no end token ends it.

        Args:
            ids (Sequence[int]): The prompt.
            num_tokens (int): Further tokens.
        """
        ...

    def num_bytes(self) -> int:
        """Bytes on disk of what it answers from."""
        ...


def import_package(module: str, package: str) -> Any:
    """A module that only one contender needs.

    Args:
        module (str): Its name.
        package (str): What installs it.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise UsageError(
            f"The package `{package}` is not installed.", f"`pip install {package}`."
        ) from None
