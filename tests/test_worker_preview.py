"""The preview of rows: what it says, and that it needs no torch once the tokenizer was read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig, ModelConfig
from ptune_tui.events import PreviewMade, TaskFailed
from ptune_tui.jobs import attach
from ptune_tui.tasks import PreviewTask, write_task
from ptune_tui.tokenizer_card import card_path, read_card

BLOCKED = """
import sys
for name in ("torch", "transformers", "onnxruntime"):
    sys.modules[name] = None
from ptune_tui.worker.main import main
sys.exit(main(sys.argv[1:]))
"""


def preview_of(folder: Path, task: PreviewTask, code: str) -> PreviewMade | TaskFailed:
    write_task(folder, task)
    subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, check=False)
    made = [e for e in attach(folder).events() if isinstance(e, PreviewMade | TaskFailed)]
    return made[0]


@pytest.fixture
def task(tiny_model: Path, label_rows: Path) -> PreviewTask:
    data = DataConfig(train=str(label_rows), template="Text: {{ prompt }}\nLabel:")
    return PreviewTask(ModelConfig(source=str(tiny_model)), data, num_rows=3)


def test_preview_marks_the_response_of_real_rows(
    tmp_path: Path, task: PreviewTask, tiny_model: Path
) -> None:
    refused = preview_of(tmp_path / "zero", task, BLOCKED)
    assert isinstance(refused, TaskFailed)  # the first one reads the tokenizer through transformers
    first = preview_of(tmp_path / "one", task, BLOCKED.replace("sys.modules[name] = None", "pass"))
    again = preview_of(tmp_path / "two", task, BLOCKED)
    assert isinstance(first, PreviewMade)
    assert again == first
    assert read_card(card_path(tiny_model)) is not None
    assert (first.num_train_rows, first.num_validation_rows) == (44, 4)
    assert first.template == "Text: {prompt}\nLabel:"
    assert first.labels is not None
    assert len(first.labels) == 3
    for row in first.rows:
        pairs = list(zip(row.pieces, row.in_loss, strict=True))
        prompt = "".join(piece for piece, in_loss in pairs if not in_loss)
        response = "".join(piece for piece, in_loss in pairs if in_loss)
        assert prompt.startswith("Text: ")
        assert prompt.endswith("\nLabel:")
        assert response.removesuffix("<|im_end|>").strip() in first.labels
        assert row.line >= 1
