"""The base install answers without torch, quickly, and says what training needs."""

from __future__ import annotations

import os
import re
import subprocess
import venv
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig
from tests.export.conftest import Exported, train_and_export

pytestmark = pytest.mark.installs

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def base_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the base install only."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run(
        [
            *(python, "-m", "pip", "install", "--quiet", "--constraint"),
            *(ROOT / "requirements.lock", ROOT),
        ],
        check=True,
        timeout=280,
    )
    return python


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, label_rows: Path) -> Exported:
    """A run of the tiny model and its bundle, made by the whole install."""
    folder = tmp_path_factory.mktemp("made")
    return train_and_export(folder, tiny_model, DataConfig(train=str(label_rows)))


def run(python: Path, *arguments: object, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), "-m", "ptune_tui", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PTUNE_HOME": str(home)},
        cwd=home,
        timeout=60,
    )


def test_torch_is_not_there(base_python: Path) -> None:
    listed = subprocess.run(
        [str(base_python), "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[0].lower() for line in listed.splitlines()[2:]}
    assert names.isdisjoint({"torch", "transformers", "onnx", "peft", "bitsandbytes"})
    assert {"onnxruntime", "tokenizers", "textual"} <= names


def test_a_bundle_answers_without_torch(base_python: Path, tmp_path: Path, made: Exported) -> None:
    done = run(base_python, "run", made.bundle, "the cat", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("good", "bad red", "bad green")


def test_a_run_has_its_report_without_torch(
    base_python: Path, tmp_path: Path, made: Exported
) -> None:
    done = run(base_python, "report", made.run, "--out", "report.html", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "default-src 'none'" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_training_says_what_to_install(base_python: Path, tmp_path: Path) -> None:
    done = run(base_python, "train", "--data", "support_inbox", home=tmp_path)
    assert done.returncode == 2
    assert re.search(r"ptune-tui\[train\]", done.stderr)
    assert "Traceback" not in done.stderr


def test_serving_says_what_to_install(base_python: Path, tmp_path: Path) -> None:
    done = run(base_python, "serve", tmp_path, home=tmp_path)
    assert done.returncode == 2
    assert re.search(r"ptune-tui\[serve\]", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.real_model
def test_the_real_model_answers_without_torch(
    base_python: Path, default_model: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(f'{{"prompt": "lamp {n} on", "response": "lamp {n}: on"}}\n' for n in range(20)),
        encoding="utf-8",
    )
    data = DataConfig(train=str(rows))
    made = train_and_export(tmp_path / "made", default_model, data, precision="auto")
    done = run(base_python, "run", made.bundle, "lamp on, kitchen", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
