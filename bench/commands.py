"""Programs that a bench runs to their end for what they print."""

from __future__ import annotations

import subprocess
import sys


def output(*command: object) -> str:
    """What a command prints; its errors go where ours do.

    Raises:
        subprocess.CalledProcessError: It failed; it said why.
    """
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def ptune(*arguments: object) -> str:
    """What a command of ours prints."""
    return output(sys.executable, "-m", "ptune_tui", *arguments)
