"""One question with its two answers, the tuned model's beside the base's."""

from __future__ import annotations

import time

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from ptune_tui.conversation import Answered, Speaker
from ptune_tui.tui.wording import seconds_text, share_text

SPEAKERS: tuple[Speaker, ...] = ("tuned", "base")  # what one came for is not waited for


class AnswerBox(Static):
    """One speaker's answer, as it comes."""

    def __init__(self, speaker: Speaker, title: str) -> None:
        super().__init__("…", classes=f"answer answer-{speaker}")
        self.speaker = speaker
        self.text = ""
        self.is_over = False
        self.is_ending = False  # told to end
        self.border_title = title
        self._first: tuple[float, int] | None = None  # when the first tokens came, and how many

    def add_piece(self, piece: str, num_tokens: int) -> None:
        """Draw one more piece, and how fast they come.

        Args:
            piece (str): Its text.
            num_tokens (int): Of the answer so far.
        """
        self.text += piece
        self.update(Content(self.text))
        now = time.monotonic()
        if self._first is None:
            self._first = (now, num_tokens)
        elif now > self._first[0] and not self.is_ending:
            speed = (num_tokens - self._first[1]) / (now - self._first[0])
            self.border_subtitle = f"{speed:.0f} tokens/s ..."

    def end(self) -> None:
        """Say that it was told to end."""
        self.is_ending = True
        self.border_subtitle = "stopping ..."

    def finish(self, answer: Answered) -> None:
        """Draw the whole answer and its figures."""
        self.text = answer.text
        self.is_over = True
        self.update(Content(answer.text) if answer.text else Content.styled("(nothing)", "dim"))
        self.border_subtitle = answer_figures(answer)

    def stop(self, why: str) -> None:
        """End without an answer."""
        if not self.is_over:
            self.is_over = True
            self.update(Content(self.text or "-"))
            self.border_subtitle = why


class Exchange(Vertical):
    """A question and its answers.

    Args:
        question (str): What the user wrote.
        prompt (str): Which prompt the tuned model answers with.
        precision (str): What both answer in.
    """

    def __init__(self, question: str, prompt: str, precision: str) -> None:
        super().__init__(classes="exchange")
        self.question = question
        self._titles: dict[Speaker, str] = {
            "base": f"base · {precision}",
            "tuned": f"tuned · {prompt} · {precision}",
        }

    def compose(self) -> ComposeResult:
        """The question above, the answers side by side."""
        yield Static(Content.assemble(("> ", "bold"), self.question), classes="question-line")
        with Horizontal(classes="answers"):
            for speaker in SPEAKERS:
                yield AnswerBox(speaker, self._titles[speaker])

    @property
    def tuned_text(self) -> str:
        """The tuned model's answer, as far as it is there."""
        boxes = self.query(".answer-tuned").results(AnswerBox)
        return next((box.text for box in boxes), "")

    def box(self, speaker: Speaker) -> AnswerBox:
        """The box of a speaker."""
        return self.query_one(f".answer-{speaker}", AnswerBox)

    def next_to_end(self) -> Speaker | None:
        """Whose answer comes next that was not told to end; None where there is none."""
        boxes = map(self.box, SPEAKERS)
        return next((box.speaker for box in boxes if not (box.is_over or box.is_ending)), None)

    def stop(self, why: str) -> None:
        """End the answers that are not there yet."""
        for speaker in SPEAKERS:
            self.box(speaker).stop(why)


def answer_figures(answer: Answered) -> str:
    """Probability, speed and time of an answer."""
    if answer.was_ended:
        speed = f" · {answer.num_tokens / answer.seconds:.0f} tokens/s" if answer.num_tokens else ""
        return f"stopped{speed}"
    parts = [] if answer.probability is None else [f"p {share_text(answer.probability)}"]
    if answer.num_tokens and answer.probability is None and answer.seconds > 0:
        parts.append(f"{answer.num_tokens / answer.seconds:.0f} tokens/s")
    return " · ".join([*parts, seconds_text(answer.seconds)])
