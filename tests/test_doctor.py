"""The checks of `ptune doctor`."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from ptune_tui import doctor

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PTUNE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def check(name: str) -> doctor.Check:
    return next(check for check in doctor.checks() if check.name == name)


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[^\w-]", requirement)[0] for requirement in requirements]


def test_every_check_has_a_detail_and_every_complaint_a_hint() -> None:
    checks = doctor.checks()
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert check.detail or check.hint
        assert check.status == "ok" or check.hint


def test_packages_are_those_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert names(project["dependencies"]) == list(doctor.BASE_PACKAGES)
    assert names(project["optional-dependencies"]["train"]) == list(doctor.TRAINING_PACKAGES)
    assert names(project["optional-dependencies"]["serve"]) == list(doctor.SERVING_PACKAGES)
    assert names(project["optional-dependencies"]["json"]) == list(doctor.JSON_PACKAGES)
    assert names(project["optional-dependencies"]["eval"]) == list(doctor.EVALUATION_PACKAGES)
    assert names(project["optional-dependencies"]["data"]) == list(doctor.DATA_PACKAGES)


def test_missing_training_package_is_a_warning_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else "1.0")
    training = check("Training extra")
    assert training.status == "warn"
    assert "torch" in training.hint
    assert "pip install '.[train]'" in training.hint


def test_looking_makes_no_folders(own_home: Path) -> None:
    doctor.checks()
    assert not own_home.exists()


def test_place_that_is_a_file_cannot_be_written(own_home: Path) -> None:
    own_home.write_text("")
    assert check("Runs").status == "fail"


def test_little_disk_and_memory_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_disk_bytes", lambda _: 1000)
    monkeypatch.setattr(doctor, "LITTLE_MEMORY_BYTES", 1 << 60)
    assert check("Free disk").status == "warn"
    assert check("Memory").status == "warn"


@pytest.mark.parametrize(("columns", "lines"), [(79, 50), (200, 23)])
def test_small_terminal_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, columns: int, lines: int
) -> None:
    size = os.terminal_size((columns, lines))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: size)
    assert check("Terminal").status == "warn"
