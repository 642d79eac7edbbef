"""The chat's child: what it streams of an answer, and how it counts."""

from __future__ import annotations

import pytest

from export.answering import Answerer
from export.runtime import Bundle
from ptune_tui.conversation import Answered, Ask, Piece, Reply, Speaker
from ptune_tui.worker.chat import answers


def test_a_text_is_streamed_with_its_number_of_tokens(direct: Bundle) -> None:
    alone = direct.tuned("plain").generate("the cat sat")
    text = "".join(alone)
    speakers = {"tuned": direct.tuned("plain"), "base": direct.base("plain")}
    replies = list(answers(Ask(7, "the cat sat", ["tuned"]), speakers))  # type: ignore[arg-type]
    answered = replies[-1]
    assert isinstance(answered, Answered)
    assert (answered.text, answered.num_tokens) == (text, len(alone.tokens))
    pieces = [reply for reply in replies if isinstance(reply, Piece)]
    assert "".join(piece.text for piece in pieces) == text
    counts = [piece.num_tokens for piece in pieces]
    assert counts == sorted(counts)
    assert counts[-1] <= len(alone.tokens)
    assert all(reply.number == 7 and reply.speaker == "tuned" for reply in [*pieces, answered])


@pytest.mark.parametrize(("ended", "other"), [("tuned", "base"), ("base", "tuned")])
def test_an_answer_that_is_ended_ends_alone(direct: Bundle, ended: Speaker, other: Speaker) -> None:
    speakers: dict[Speaker, Answerer] = {
        "tuned": direct.tuned("plain"),
        "base": direct.base("plain"),
    }
    asked = Ask(7, "the cat sat", ["tuned", "base"])
    whole = {each.speaker: each for each in answered(list(answers(asked, speakers)))}
    assert whole[ended].num_tokens > 2
    found: list[Reply] = []

    def is_ended(speaker: Speaker) -> bool:
        own = [each for each in found if isinstance(each, Piece) and each.speaker == ended]
        return speaker == ended and bool(own)

    for reply in answers(asked, speakers, is_ended):
        found.append(reply)
    cut = {each.speaker: each for each in answered(found)}
    assert cut[ended].was_ended
    assert 0 < cut[ended].num_tokens < whole[ended].num_tokens
    assert whole[ended].text.startswith(cut[ended].text)
    assert not cut[other].was_ended
    assert cut[other].text == whole[other].text


def answered(replies: list[Reply]) -> list[Answered]:
    return [reply for reply in replies if isinstance(reply, Answered)]
