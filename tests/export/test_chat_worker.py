"""The chat's child process: answers over pipes, survives a bad request, ends with its input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.runtime import Bundle
from ptune_tui.conversation import (
    Answered,
    Ask,
    ChatFailed,
    EndAnswer,
    Piece,
    Ready,
    Reply,
    Request,
    decode_reply,
    encode_line,
)
from ptune_tui.evaluation import contenders
from ptune_tui.worker.chat import answers, open_chat
from tests.export.conftest import Exported


def talk(bundle: Path, *requests: Request) -> tuple[list[Reply], int]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ptune_tui.worker", "--chat", str(bundle), "--threads", "1"],
        input=b"".join(encode_line(request) for request in requests),
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    return [decode_reply(line) for line in done.stdout.splitlines()], done.returncode


def test_base_and_tuned_answer_with_labels(exported: Exported) -> None:
    replies, code = talk(exported.bundle, Ask(1, "the cat", ["base", "tuned"]))
    ready, base, tuned = replies
    assert code == 0
    assert isinstance(ready, Ready)
    assert ready.labels == ["bad green", "bad red", "good"]
    assert ready.num_virtual_tokens == 5
    for reply, speaker in ((base, "base"), (tuned, "tuned")):
        assert isinstance(reply, Answered)
        assert reply.speaker == speaker
        assert reply.text in ready.labels
        answerer = getattr(Bundle.open(exported.bundle, num_threads=1), speaker)()
        scores = np.array(list(answerer.label_scores("the cat").values()), np.float64)
        share = np.exp(scores.max()) / np.exp(scores).sum()
        assert reply.probability == pytest.approx(share, abs=1e-4)
        assert reply.probability >= 1 / 3 > np.exp(scores).sum()


def test_of_many_labels_no_share_is_reckoned_as_in_compare(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    speakers, _ = open_chat(exported.bundle, None, None, 1, 0.0)
    monkeypatch.setattr(contenders, "_MAX_LABELS_WITH_PROBABILITIES", 2)
    (reply,) = answers(Ask(1, "the cat", ["tuned"]), speakers)
    assert isinstance(reply, Answered)
    assert reply.text == speakers["tuned"].answer("the cat")
    assert (reply.probability, reply.num_tokens) == (None, 0)


def test_free_text_streams_pieces_that_add_up_to_the_answer(exported_text: Exported) -> None:
    replies, _ = talk(exported_text.bundle, Ask(7, "say 3", ["tuned"]))
    pieces = [reply.text for reply in replies if isinstance(reply, Piece)]
    answered = replies[-1]
    assert isinstance(answered, Answered)
    assert answered.number == 7
    assert "".join(pieces) == answered.text
    assert answered.probability is None


def test_a_request_that_cannot_be_answered_does_not_end_the_chat(exported_text: Exported) -> None:
    bundle = exported_text.bundle
    replies, code = talk(bundle, Ask(1, "word " * 3000, ["tuned"]), Ask(2, "say", ["base"]))
    assert code == 0
    assert any(isinstance(reply, Answered) and reply.number == 2 for reply in replies)


def test_what_is_no_bundle_is_a_reply_and_an_exit_code(tmp_path: Path) -> None:
    (reply,), code = talk(tmp_path)
    assert code == 5
    assert isinstance(reply, ChatFailed)
    assert "is not a bundle" in reply.message


@pytest.mark.parametrize("speakers", [["base"], ["tuned"]])
def test_only_those_asked_answer(exported: Exported, speakers: list[str]) -> None:
    replies, _ = talk(exported.bundle, Ask(1, "the cat", speakers))  # type: ignore[arg-type]
    assert [r.speaker for r in replies if isinstance(r, Answered)] == speakers


def test_an_answer_is_ended_while_others_are_made(exported: Exported) -> None:
    asked = Ask(1, "the cat", ["tuned", "base"]), EndAnswer(1, "base"), Ask(2, "it", ["base"])
    replies, code = talk(exported.bundle, *asked)
    answered = [reply for reply in replies if isinstance(reply, Answered)]
    assert code == 0
    assert [(each.number, each.speaker, each.was_ended) for each in answered] == [
        (1, "tuned", False),
        (1, "base", True),
        (2, "base", False),
    ]
