"""What can go wrong, in sentences a user can act on, and the exit code of each kind.

Every error says what, the value, where, and a hint. `quant` and `export` raise errors of their own
with the same three attributes (`message`, `hint`, `category`); `explain` turns any exception into
one `Explanation`, which is all that the command line, the worker and the app ever show.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal

Category = Literal["fault", "usage", "data", "model", "bundle", "resources", "interrupted"]

EXIT_CODES: dict[Category, int] = {
    "fault": 1,
    "usage": 2,
    "data": 3,
    "model": 4,
    "bundle": 5,
    "resources": 6,
    "interrupted": 130,
}


# Of torch on a CPU, of its files that are mapped, of cards and of C++.
_OUT_OF_MEMORY = ("defaultcpuallocator", "cannot allocate memory", "out of memory", "bad_alloc")


class PTuneError(Exception):
    """An error with a sentence and a hint.

    Args:
        message (str): What is wrong, with the value and the place.
        hint (str): What to do about it.
    """

    category: Category = "fault"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(PTuneError):
    """The command line or the configuration is wrong."""

    category: Category = "usage"


class DataError(PTuneError):
    """A data file or a row of it cannot be used."""

    category: Category = "data"


class EmptyFieldError(DataError):
    """The prompt or the response of a row is empty."""


class ModelError(PTuneError):
    """A model cannot be found, read or supported."""

    category: Category = "model"


class ResourceError(PTuneError):
    """Memory, disk or network is missing."""

    category: Category = "resources"


@dataclass(frozen=True)
class Explanation:
    """One error as it is shown.

    Attributes:
        category: The kind, a key of `EXIT_CODES`.
        message: One sentence.
        hint: What to do; may be empty.
    """

    category: Category
    message: str
    hint: str

    @property
    def exit_code(self) -> int:
        """The exit code of the command line for this kind."""
        return EXIT_CODES[self.category]

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


def explain(error: BaseException) -> Explanation:
    """Turn any exception into the one form that is shown.

    Args:
        error (BaseException): One of our errors, or anything else that was raised.
    """
    if isinstance(error, KeyboardInterrupt):
        return Explanation("interrupted", "Interrupted.", "")
    category = getattr(error, "category", None)
    if category in EXIT_CODES:
        return Explanation(
            category, getattr(error, "message", str(error)), getattr(error, "hint", "")
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return Explanation(
            "resources", f"No space left on the disk{where}.", "Free some space and try again."
        )
    if _is_out_of_memory(error):
        return Explanation(
            "resources",
            "Out of memory.",
            "Use fewer rows a step (`--batch-size`) or the `stream` kernel (`--kernel stream`).",
        )
    if isinstance(error, OSError) and error.filename:
        return Explanation(
            "resources",
            f"{error.strerror or type(error).__name__}: {error.filename}",
            "Check that the path exists and that you may read and write it.",
        )
    if isinstance(error, ModuleNotFoundError) and error.name in TRAINING_MODULES:
        return missing_training_extra(error.name)
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and missing.partition(".")[0] in SERVING_MODULES:
        return missing_serving_extra(missing.partition(".")[0])
    return Explanation(
        "fault",
        f"{type(error).__name__}: {error}",
        "This is a fault of ptune. The worker's log and `ptune doctor` help to report it.",
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be had; torch and onnxruntime have no class of their own for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in words for sign in _OUT_OF_MEMORY)


TRAINING_MODULES = frozenset(
    {"torch", "transformers", "peft", "bitsandbytes", "accelerate", "gguf", "onnx", "sklearn"}
)


def missing_training_extra(module: str) -> Explanation:
    """The sentence for a command that needs the training extra where it is not installed."""
    return Explanation(
        "usage",
        f"This needs the training extra: the package `{module}` is not installed.",
        "Install `ptune-tui[train]`: in ptune's clone, `pip install '.[train]'`.",
    )


def missing_data_extra(module: str) -> Explanation:
    """The sentence for Parquet, Arrow and hub data sets where the data extra is not installed."""
    return Explanation(
        "usage",
        f"This needs the data extra: the package `{module}` is not installed.",
        "Install `ptune-tui[data]`: in ptune's clone, `pip install '.[data]'`.",
    )


SERVING_MODULES = frozenset({"starlette", "uvicorn"})


def missing_serving_extra(module: str) -> Explanation:
    """The sentence for `ptune serve` where the serving extra is not installed."""
    return Explanation(
        "usage",
        f"This needs the serving extra: the package `{module}` is not installed.",
        "Install `ptune-tui[serve]`: in ptune's clone, `pip install '.[serve]'`.",
    )
