"""What a forgetting probe asks: neutral text, and questions that have nothing to do with a task."""

from __future__ import annotations

from export.preface import Example, Preface
from export.template import Template
from ptune_tui.data import BUILTIN_FOLDER
from ptune_tui.results import ForgettingProbe

QUESTIONS = (
    "What is the capital of France?",
    "How many days does a week have?",
    "What colour do blue and yellow paint make when mixed?",
    "Which planet is closest to the Sun?",
    "What do bees make?",
)
QUESTION_TEMPLATE = Template("Question: {prompt}\nAnswer:")
# So that a base which was never taught to answer does, and ends with the line.
QUESTION_PREFACE = Preface(
    examples=(
        Example("How many legs does a spider have?", "Eight."),
        Example("What do cows eat?", "Grass."),
        Example("In which country is the city of Rome?", "Italy."),
    )
)
MAX_ANSWER_TOKENS = 24


def passages() -> list[str]:
    """Short neutral texts on many subjects, one a line of the built-in file."""
    text = (BUILTIN_FOLDER / "neutral_passages.txt").read_text(encoding="utf-8")
    return text.splitlines()


def probes(
    perplexities: tuple[float, float], answers: tuple[list[str], list[str]]
) -> list[ForgettingProbe]:
    """What was found, without and with the prompt.

    Args:
        perplexities (tuple[float, float]): Of the passages.
        answers (tuple[list[str], list[str]]): To the questions.
    """
    base, tuned = (f"{value:.2f}" for value in perplexities)
    text = ForgettingProbe(f"perplexity of {len(passages())} neutral passages", base, tuned)
    pairs = zip(QUESTIONS, *answers, strict=True)
    return [text, *(ForgettingProbe(question, left, right) for question, left, right in pairs)]
