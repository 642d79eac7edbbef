"""`python -m ptune_tui` is `ptune`."""

from __future__ import annotations

from ptune_tui.cli import main

main()
