"""The file browser for an earlier prompt: the folder of a run, or of a PEFT adapter."""

from __future__ import annotations

from pathlib import Path

from ptune_tui.errors import UsageError
from ptune_tui.paths import runs_folder
from ptune_tui.run_prompt import ADAPTER_CONFIG_FILE, ADAPTER_FOLDER, has_prompt, holds_adapter
from ptune_tui.tui.screens.choosing import Take
from ptune_tui.tui.screens.files import FilesScreen


def prompt_folders(near: str, take: Take) -> FilesScreen:
    """The browser; it begins where runs lie.

    Args:
        near (str): What is chosen now.
        take (Callable[[str], None]): Called with the folder that is chosen.
    """

    def check(path: Path) -> None:
        if not holds_prompt(path):
            raise UsageError(
                f"{path} holds no prompt: no `{ADAPTER_FOLDER}`, no `{ADAPTER_CONFIG_FILE}`."
            )

    return FilesScreen(
        "the folder of a run or of a PEFT adapter",
        near=near or str(runs_folder() / "any"),
        is_offered=lambda _: False,
        is_whole=holds_prompt,
        check=check,
        about=lambda path: [path],
        take=take,
    )


def holds_prompt(folder: Path) -> bool:
    """Whether a folder is that of a run with a prompt, or of an adapter."""
    return has_prompt(folder) or holds_adapter(folder)
