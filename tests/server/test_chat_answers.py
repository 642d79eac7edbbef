"""The chat's child: what it streams of an answer, and how it counts."""

from __future__ import annotations

from export.runtime import Bundle
from ptune_tui.conversation import Answered, Ask, Piece
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
