"""Malformed files: each gives one sentence with a place, or exactly its rows; never a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig
from ptune_tui.errors import DataError
from ptune_tui.rows import read_rows
from tests.reading.malformed import Case, cases

CASES = list(cases())


def test_there_are_enough_of_them_and_no_two_are_the_same() -> None:
    assert len([case for case in CASES if case.rows is None]) >= 150
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({(case.file, case.content) for case in CASES if case.content}) >= 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_gives_its_rows_or_a_sentence_with_the_place(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.content)
    if case.rows is not None:
        assert len(read_rows(path, DataConfig())) == case.rows
        return
    with pytest.raises(DataError) as caught:
        read_rows(path, DataConfig())
    error = caught.value
    assert str(path) in error.message
    if case.line:
        assert re.match(rf"{re.escape(str(path))}:{case.line}(, item \d+)?: ", error.message), (
            error.message
        )
    assert error.message.endswith((".", "?")), error.message
    assert error.hint.endswith((".", "?", "`")) or "`" in error.hint, error.hint
    assert "\n" not in error.message
    assert len(error.message) < 400 + len(str(path))
