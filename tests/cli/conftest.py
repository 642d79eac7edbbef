"""Runs the real command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

Ptune = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


def run_ptune(*arguments: object, home: Path, stdin: str = "") -> Outcome:
    """Run `ptune`.

    Args:
        *arguments (object): Its command line.
        home (Path): Where its models, runs and tasks go.
        stdin (str): What it reads.
    """
    environment = {**os.environ, "PTUNE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "ptune_tui", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def ptune(tmp_path: Path) -> Ptune:
    """`ptune` with a home of this test's own."""

    def run(*arguments: object, stdin: str = "") -> Outcome:
        return run_ptune(*arguments, home=tmp_path / "home", stdin=stdin)

    return run
