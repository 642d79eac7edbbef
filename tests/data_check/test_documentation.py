"""The table of findings in the documentation is that of the program."""

from __future__ import annotations

from pathlib import Path

from ptune_tui.data_check.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "data_check.md"


def test_every_kind_of_finding_is_documented_with_its_severity_and_fix() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows == [
        f"| `{code}` | {kind.severity} | {kind.title} | {kind.fix} |"
        for code, kind in KINDS.items()
    ]
