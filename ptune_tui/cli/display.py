"""Events as a person or a program reads them without the terminal app."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from ptune_tui.cli.talk import ProgressLine, say
from ptune_tui.events import (
    CheckpointSaved,
    Continued,
    CurvePointMeasured,
    DataReady,
    Diverged,
    EvaluationDone,
    Event,
    ExportDone,
    ModelReady,
    Notice,
    ParityMeasured,
    Paused,
    PlanMade,
    RateProposed,
    RateTried,
    Resumed,
    RolledBack,
    SampleMade,
    StageFinished,
    StageProgress,
    StageStarted,
    StepDone,
    encode_line,
)

_SAMPLE_WIDTH = 40  # of each text of a row that is shown


class Display(Protocol):
    """Shows events."""

    def show(self, event: Event) -> None:
        """Show one event."""
        ...

    def close(self) -> None:
        """Leave the terminal clean."""
        ...


class SilentDisplay:
    """Shows nothing."""

    def show(self, event: Event) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Leave nothing."""


class JsonDisplay:
    """Each event as a JSON line on stdout."""

    def show(self, event: Event) -> None:
        """Write the event's line.

        Raises:
            BrokenPipeError: Nobody reads stdout any more; what is left to write to it goes nowhere.
        """
        try:
            sys.stdout.buffer.write(encode_line(event))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Python flushes stdout on the way out, and would complain of the same again.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            raise

    def close(self) -> None:
        """Leave nothing."""


class PlainDisplay:
    """Lines on stderr; on a terminal the last one is live.

    Args:
        steps_per_line (int): Training steps between two lines where there is no terminal.
    """

    def __init__(self, steps_per_line: int = 10) -> None:
        self._line = ProgressLine()
        self._steps_per_line = steps_per_line
        self._is_terminal = sys.stderr.isatty()

    def show(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, StepDone):
            self._show_step(event)
        elif isinstance(event, RateTried):
            self._line.update(f"rate {event.learning_rate:.2e}  loss {event.loss:.3f}")
        elif isinstance(event, StageProgress):
            self._line.show(f"{event.stage}: {_short(event.detail)}", event.done, event.total)
        else:
            text = sentence(event)
            if text:
                self._line.close()
                say(text)

    def close(self) -> None:
        """Take the live line away."""
        self._line.close()

    def _show_step(self, event: StepDone) -> None:
        text = (
            f"step {event.step}/{event.max_steps}  loss {event.loss:.3f}  "
            f"{event.tokens_per_second:.0f} tokens/s  "
            f"{event.peak_memory_bytes / 1e9:.1f} GB  {minutes(event.eta_seconds)} left"
        )
        if self._is_terminal:
            self._line.update(text)
        elif event.step % self._steps_per_line == 0 or event.step in (1, event.max_steps):
            say(f"  {text}")


def sentence(event: Event) -> str | None:
    """An event in words, or None where there is nothing to say."""
    match event:
        case StageStarted():
            detail = f" ({_short(event.detail)})" if event.detail else ""
            return f"{event.stage}{detail} ..."
        case StageFinished():
            return f"  {event.stage}: {event.seconds:.1f} s"
        case ModelReady():
            error = (
                "exact import"
                if event.relative_error is None
                else (f"relative error {event.relative_error:.3f}")
            )
            return (
                f"  {event.name}: {event.num_parameters / 1e6:.0f} M parameters in "
                f"{event.quantised_bytes / 1e6:.0f} MB ({error}), "
                f"{event.num_threads} threads"
            )
        case DataReady():
            kind = f"{len(event.labels)} labels" if event.labels else "free text"
            return (
                f"  {event.num_train_rows} training and {event.num_validation_rows} validation "
                f"rows, {event.mean_row_tokens:.0f} tokens each, {kind}\n"
                f"  template: {_template(event.template)}"
            )
        case EvaluationDone():
            return _evaluation(event)
        case SampleMade():
            return sample_line(event)
        case CheckpointSaved():
            return f"  saved: {event.path}"
        case Notice():
            hint = f" hint: {event.hint}" if event.hint else ""
            return f"  note: {event.message}{hint}"
        case Diverged():
            return f"  the {event.what} of step {event.step} {event.reason}"
        case RolledBack():
            return f"  back to step {event.to_step}, with a peak rate of {event.learning_rate:.3g}"
        case Resumed():
            return f"  goes on after step {event.step}, from {event.path}"
        case Paused():
            return (
                f"  paused after step {event.step}; the app goes on with it, an interrupt stops it"
            )
        case Continued():
            return f"  goes on after step {event.step}, paused for {minutes(event.seconds)}"
        case PlanMade():
            return _plan(event)
        case RateProposed():
            return f"  learning rate {event.learning_rate:.3g}: {event.reason}"
        case CurvePointMeasured():
            return (
                f"  {event.num_rows} rows, seed {event.seed}: score {event.score:.3f} after "
                f"{minutes(event.seconds)} ({event.num_done} of {event.num_points})"
            )
        case ParityMeasured():
            return _parity(event)
        case ExportDone():
            return _bundle(event)
        case _:
            return None


def sample_line(sample: SampleMade) -> str:
    """A row of an evaluation in a line: right or wrong, the answer, what was expected, the input.

    Args:
        sample (SampleMade): The row.
    """
    answer = _clipped(sample.answer) or "(nothing)"
    if sample.is_right:
        return f"    right  {answer}  <- {_clipped(sample.prompt)}"
    return (
        f"    wrong  {answer} (expected {_clipped(sample.expected)})  <- {_clipped(sample.prompt)}"
    )


def _clipped(text: str) -> str:
    """A text in one line, its beginning where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _SAMPLE_WIDTH else f"{line[: _SAMPLE_WIDTH - 3]}..."


def _bundle(event: ExportDone) -> str:
    what = "bundle" if event.precision else "written"
    words = f"  {what}: {event.path} ({event.num_bytes / 1e6:.0f} MB)"
    if event.precision:
        words += f"\n  it answers in `{event.precision}`"
    if event.seconds_per_answer:
        times = (f"{name} {1e3 * value:.0f} ms" for name, value in event.seconds_per_answer.items())
        words += f" (measured here, an answer: {', '.join(times)})"
    if event.read_bytes:
        sizes = (f"{name} {value / 1e6:.0f} MB" for name, value in event.read_bytes.items())
        words += f"\n  graph and weights: {', '.join(sizes)}; what they share is there once"
    return words


def minutes(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _template(text: str) -> str:
    return "the model's chat template" if text == "chat" else repr(text)


def _plan(event: PlanMade) -> str:
    recompute = ", layers recomputed" if event.checkpointing else ""
    widths = "" if event.is_packed else f", widths in steps of {event.bucket_width}"
    speed = "" if event.seconds_per_step is None else f", {event.seconds_per_step:.2f} s a step"
    lines = [
        f"  plan: kernel {event.kernel}, {event.compute_type} on {event.device}, "
        f"{event.micro_batch_size} rows at a time{widths}{recompute}{speed}"
    ]
    return "\n".join([*lines, *(f"    {reason}" for reason in event.reasons)])


def _evaluation(event: EvaluationDone) -> str:
    who = event.contender or (f"step {event.step}" if event.tuned else "without a soft prompt")
    score = "exact match" if event.macro_f1 is None else "accuracy"
    f1 = "" if event.macro_f1 is None else f", macro-F1 {event.macro_f1:.3f}"
    loss = "" if event.loss is None else f", loss {event.loss:.3f}"
    best = " (best so far)" if event.is_best else ""
    return f"  {who}: {score} {event.accuracy:.3f}{f1}{loss} on {event.num_rows} rows{best}"


def _parity(event: ParityMeasured) -> str:
    return (
        f"  {event.precision}: relative error {event.relative_error:.1e}, "
        f"KL {event.kl_divergence:.1e}, top-1 {100 * event.top1_agreement:.1f} %, "
        f"{event.identical_texts} of {event.num_texts} greedy texts identical"
        f"{'' if event.passed else ' - does not pass'}"
    )


def _short(text: str) -> str:
    return text if len(text) <= 48 else f"...{text[-45:]}"
