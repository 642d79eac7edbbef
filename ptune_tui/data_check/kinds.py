"""The kinds of findings: how bad each is, what to call it, and what `--fix` does about it."""

from __future__ import annotations

from dataclasses import dataclass

from ptune_tui.data_check.report import Code, Severity

LEFT = "nothing"


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    Attributes:
        severity: `error`: training refuses it, or a score would be wrong; `warning`: look at it.
        title: A few words.
        fix: What `--fix` does about it in the training file.
    """

    severity: Severity
    title: str
    fix: str = LEFT

    @property
    def is_mended(self) -> bool:
        """Whether `--fix` takes it away."""
        return self.fix != LEFT


# Errors first, then warnings, then notes: reports have this order.
KINDS: dict[Code, Kind] = {
    "malformed": Kind("error", "cannot be read as a row", "leaves it out"),
    "empty": Kind("error", "empty prompts or responses", "leaves it out"),
    "not-rendered": Kind("error", "conversations that the template does not take", "drops the row"),
    "response-too-long": Kind("error", "responses that leave no room", "drops the row"),
    "no-room": Kind("error", "conversations that cannot be cut to fit", "drops the row"),
    "unknown-label": Kind("error", "labels that training does not know"),
    "split-overlap": Kind(
        "error", "held-out prompts that are in an earlier split", "drops the training row"
    ),
    "secret": Kind("error", "likely secrets", "puts [redacted] in its place"),
    "repeated-name": Kind("warning", "a name twice in a JSON object", "keeps the last value"),
    "duplicate": Kind("warning", "exact duplicates", "drops the later row"),
    "duplicate-normalised": Kind("warning", "duplicates but for case, spaces, punctuation"),
    "split-overlap-normalised": Kind(
        "warning",
        "the same but for case, spaces, punctuation",
        "drops the training row",
    ),
    "split-overlap-near": Kind("warning", "held-out prompts that are nearly in an earlier split"),
    "conflict": Kind("warning", "same prompt, other label"),
    "long-response": Kind("warning", "responses that take half of the row or more"),
    "truncated": Kind("warning", "prompts that training cuts"),
    "label-variant": Kind(
        "warning", "labels that differ only in form", "writes the commoner label"
    ),
    "rare-label": Kind("warning", "labels with few training rows"),
    "imbalance": Kind("warning", "classes of very different size"),
    "replacement-character": Kind("warning", "characters lost in an earlier conversion"),
    "mojibake": Kind("warning", "text decoded with the wrong encoding", "decodes it rightly"),
    "control-character": Kind("warning", "control characters", "takes them out"),
    "card-number": Kind("warning", "likely card or account numbers", "puts [redacted] there"),
    "near-duplicate": Kind("note", "near-duplicates"),
    "repeated-prompt": Kind("note", "same prompt, another response"),
    "missing-label": Kind("note", "training labels without held-out rows"),
    "normal-form": Kind("note", "letters in decomposed form", "composes them (NFC)"),
    "invisible-character": Kind("note", "invisible characters", "takes them out"),
    "e-mail": Kind("note", "e-mail addresses"),
}
