"""What a run says in words: its scores, its samples, what to know, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual.content import Content

from ptune_tui.events import EvaluationDone, Notice, SampleMade, TaskFailed
from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.widgets.steady import Steady
from ptune_tui.tui.wording import one_line, share_text


class Scores(Steady):
    """Validation scores, of the base and of the tuned model."""

    def show(self, state: RunState) -> None:
        """Draw the scores of a run."""
        self.show_text(scores_text(state.base, state.tuned, state.best))


def scores_text(
    base: EvaluationDone | None, tuned: Sequence[EvaluationDone], best: EvaluationDone | None
) -> Content:
    """One line of scores: accuracy of labels; exact matches and the loss of free text.

    Args:
        base (EvaluationDone | None): Without a soft prompt.
        tuned (Sequence[EvaluationDone]): With it, in order.
        best (EvaluationDone | None): Of the prompt that was kept.
    """
    last = tuned[-1] if tuned else None
    some = last or base
    is_free_text = some is not None and some.loss is not None and some.macro_f1 is None
    name = "exact, loss" if is_free_text else "accuracy"
    parts: list[Content | tuple[str, str] | str] = [(f"{name}  ", "dim")]
    parts += ["base ", (_score(base), "bold"), "   tuned ", (_score(last), "bold")]
    if last:
        parts.append((f" step {last.step}", "dim"))
    if best:
        score = [] if is_free_text else [(_score(best), "bold")]  # no room for both figures
        step = f"{' ' if score else ''}step {best.step}"
        parts += ["   best ", *score, (step, "dim")]
    return Content.assemble(*parts)


def _score(done: EvaluationDone | None) -> str:
    """A validation in figures."""
    if done is None:
        return "-"
    loss = "" if done.macro_f1 is not None or done.loss is None else f", {done.loss:.2f}"
    return f"{share_text(done.accuracy)}{loss}"


class Samples(Steady):
    """Some rows of the last evaluation, with the answers."""

    def show(self, samples: Sequence[SampleMade], *, is_free: bool, is_over: bool) -> None:
        """Draw the samples.

        Args:
            samples (Sequence[SampleMade]): The rows.
            is_free (bool): Whether the answers are free text, which takes more room than a label.
            is_over (bool): Whether no more are to come.
        """
        self.set_class(is_free, "-free")
        if not samples:
            words = "Nothing was evaluated." if is_over else "After each evaluation."
            self.show_text(Content.styled(words, "dim"))
            return
        draw = free_sample_text if is_free else sample_text
        self.show_text(Content("\n").join(map(draw, samples)))


def answers_title(run: RunState) -> str:
    """Which answers are shown."""
    if not run.samples:
        return "answers"
    step = run.samples[0].step
    return f"answers after step {step}" if step else "answers of the base"


def answers_text(samples: Sequence[SampleMade]) -> str:
    """Answers whole, with their inputs, to be read elsewhere.

    Args:
        samples (Sequence[SampleMade]): The rows.
    """
    blocks = [
        f"prompt: {sample.prompt}\nexpected: {sample.expected}\nanswer: {sample.answer}"
        for sample in samples
    ]
    return "\n\n".join(blocks)


def sample_text(sample: SampleMade) -> Content:
    """One row: whether it is right, the answer, what was expected, and the input."""
    is_right = sample.is_right
    answer = one_line(sample.answer.strip()) or "(nothing)"
    wanted = "" if is_right else f" (expected {one_line(sample.expected.strip())})"
    style = "bold $text-success" if is_right else "bold $text-error"
    return Content.assemble(
        (f"{'✓' if is_right else '✗'} {answer}", style),
        wanted,
        (f"  {one_line(sample.prompt)}", "dim"),
    )


def free_sample_text(sample: SampleMade) -> Content:
    """One row of free text: the answer, what was expected, and the input, each on its own line."""
    style = "bold $text-success" if sample.is_right else "bold $text-error"
    answer = one_line(sample.answer.strip()) or "(nothing)"
    parts: list[tuple[str, str] | str] = [(f"{'✓' if sample.is_right else '✗'} {answer}", style)]
    if not sample.is_right:
        parts.append(f"\nexpected {one_line(sample.expected.strip())}")
    return Content.assemble(*parts, (f"\ninput {one_line(sample.prompt)}", "dim"))


class Notices(Steady):
    """What the user should know; stays."""

    def show(self, notices: Sequence[Notice], most: int | None = None, more: str = "") -> None:
        """Draw the notices, the latest first.

        Args:
            notices (Sequence[Notice]): In order.
            most (int | None): How many there is room for; None for all.
            more (str): Where the others are to be found.
        """
        self.display = bool(notices)
        latest = list(reversed(notices))
        lines = [notice_line(notice) for notice in latest[:most]]
        if most is not None and len(latest) > most:
            lines.append(f"! {len(latest) - most} more; {more}")
        self.show_text(Content("\n".join(lines)))


def notice_line(notice: Notice) -> str:
    """A notice and its hint, in a line."""
    return f"! {notice.message} {notice.hint}".rstrip()


class Problem(Steady, can_focus=True):
    """An error: what, what to do, and where the log is. With the focus, Copy takes it."""

    def on_mount(self) -> None:
        """Hide until there is one."""
        self.display = False

    def show(self, failure: TaskFailed | None, what: str) -> None:
        """Draw an error; hide where there is none.

        Args:
            failure (TaskFailed | None): The error.
            what (str): Whose error it is.
        """
        self.display = failure is not None
        if failure is not None:
            was_ended = failure.category == "interrupted"
            self.border_title = f"□ {what} was interrupted" if was_ended else f"✗ {what} failed"
            self.show_text(
                Content.assemble(
                    (failure.message, "bold"),
                    f"\n{failure.hint}" if failure.hint else "",
                    (f"\nlog: {failure.log_path}" if failure.log_path else "", "dim"),
                )
            )


class Ending(Steady):
    """How a run ended, and what to do next."""

    def show(self, run: RunState, bundle: Path | None, keys: str) -> None:
        """Draw the ending.

        Args:
            run (RunState): The run.
            bundle (Path | None): What was made of it.
            keys (str): What can be done now.
        """
        lines = ending_lines(run, bundle, keys)
        self.display = bool(lines)
        self.show_text(Content("\n".join(lines)))


def ending_lines(run: RunState, bundle: Path | None, keys: str) -> list[str]:
    """The lines of the ending; none while there is nothing to say."""
    lines = []
    when = "once the validation rows are scored" if run.is_scoring else "after this step"
    if run.is_stopping and not run.task.is_over:
        lines.append(f"Stopping {when}...")
    elif run.is_pausing:
        lines.append(f"Pausing {when}...")
    if bundle is not None:
        lines.append(f"✓ bundle {bundle}")
    return [*lines, keys] if keys else lines
