"""The app asks for a terminal before it draws, and before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Ptune
from tests.cli.test_bad_input import one_sentence


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "ptune --help"),
        (("attach", "last"), "ptune report last"),
        (("train", "--display", "full"), "Leave `--display full` out"),
    ],
)
def test_without_a_terminal_the_app_is_refused_in_a_sentence(
    ptune: Ptune, tmp_path: Path, words: tuple[str, ...], hint: str
) -> None:
    done = ptune(*words)
    assert "The app needs a terminal" in one_sentence(done, 2)
    assert hint in done.err
    assert done.out == ""
    assert not list((tmp_path / "home").glob("runs/*"))


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("kind", ["dumb", None])
def test_a_terminal_that_cannot_draw_is_refused(kind: str | None, tmp_path: Path) -> None:
    import pty

    environment = {**os.environ, "PTUNE_HOME": str(tmp_path), "TERM": kind or ""}
    if kind is None:
        del environment["TERM"]
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ptune_tui"],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=60,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 2
    assert f"TERM is {kind or 'not set'}" in done.stderr.decode()
