"""The command line: every capability without the terminal app.

stdout carries data, stderr carries talk. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

from ptune_tui.cli.main import main

__all__ = ["main"]
