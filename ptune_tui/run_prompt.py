"""The prompt in a run folder: its files, and the one answer to whether there is one."""

from __future__ import annotations

import shlex
from pathlib import Path

from ptune_tui.errors import DataError
from ptune_tui.tasks import CHECKPOINTS_FOLDER, CONFIG_FILE, LAST

ADAPTER_FOLDER = "adapter"
ADAPTER_CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"
CARD_FILE = "prompt.json"


def has_prompt(run: Path) -> bool:
    """Whether a run has saved a prompt that can be exported or compared.

    The folder alone says nothing: it is made before its files, and a worker may be killed between.

    Args:
        run (Path): The run's folder.
    """
    folder = run / ADAPTER_FOLDER
    return holds_adapter(folder) and (folder / CARD_FILE).is_file()


def holds_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter, ours or another program's.

    Args:
        folder (Path): The adapter's own folder.
    """
    return all((folder / name).is_file() for name in (ADAPTER_CONFIG_FILE, TENSORS_FILE))


def require_prompt(run: Path) -> None:
    """Refuse a run without a prompt now, not after the seconds in which a worker starts.

    Args:
        run (Path): The run's folder.

    Raises:
        DataError: It has none.
    """
    if not has_prompt(run):
        raise DataError(
            f"{run} holds no trained prompt: its worker ended before one was saved.",
            _way_on(run),
        )


def _way_on(run: Path) -> str:
    """What may still give a run its prompt: going on needs a checkpoint."""
    if (run / CHECKPOINTS_FOLDER / LAST).is_dir():
        return f"`{shlex.join(['ptune', 'train', '--resume', str(run)])}` goes on with it."
    again = shlex.join(["ptune", "train", str(run / CONFIG_FILE)])
    return f"`{again}` begins again." if (run / CONFIG_FILE).is_file() else "Train another run."
