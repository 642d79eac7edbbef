"""What `ptune eval` says of free text while it works is what its table says."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from ptune_tui.cli.display import sentence
from ptune_tui.evaluation.contenders import TorchAnswers
from ptune_tui.events import EvaluationDone
from ptune_tui.tasks import RESULT_FILE, EvaluateTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.evaluate import evaluate
from tests.export.conftest import Exported


@pytest.mark.parametrize("contender", ["tuned", "base"])
def test_the_score_of_free_text_counts_every_reference_of_the_trimmed_answer(
    exported_text: Exported, tmp_path: Path, contender: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    task = EvaluateTask(str(exported_text.run), str(rows), (contender,))  # type: ignore[arg-type]

    def answered(references: list[list[str]]) -> tuple[EvaluationDone, list[str]]:
        lines = [
            json.dumps({"prompt": f"say {number}", "response": "nothing", "references": right})
            for number, right in enumerate(references)
        ]
        rows.write_text("\n".join(lines), encoding="utf-8")
        events = list(evaluate(task, tmp_path, Channel(tmp_path)))
        [done] = [event for event in events if isinstance(event, EvaluationDone)]
        result = (tmp_path / RESULT_FILE).read_bytes()
        return done, msgspec.json.decode(result, type=TorchAnswers).contenders[0].answers

    done, answers = answered([["nowhere"]] * 4)
    assert done.accuracy == 0.0
    right = [[answers[0]], ["nowhere"], [f" {answers[2]} "], [answers[3]]]
    done, again = answered(right)
    assert again == answers
    expected = sum(
        answer.strip() in {text.strip() for text in texts}
        for answer, texts in zip(again, right, strict=True)
    )
    assert done.accuracy == expected / 4 >= 0.75
    assert "exact match 0.75" in str(sentence(done))
