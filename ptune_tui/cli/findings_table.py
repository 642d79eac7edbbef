"""A report on data in lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from ptune_tui.data_check.report import CodeSummary, DataReport, Lengths, SplitSummary
from ptune_tui.data_check.wording import quoted

_MOST_LABELS = 8


def lines(report: DataReport) -> Iterator[str]:
    """The report, the worst findings first."""
    width = max(len(split.source) for split in report.splits)
    for split in report.splits:
        yield f"{split.split:10}  {split.source:{width}}  {split.num_rows:>9,} rows"
    yield from _token_lines(report)
    if report.splits[0].labels is not None:
        yield f"labels      {_labels(report.splits[0])}"
    for notice in report.notices:
        yield f"note: {notice}"
    for found in report.findings:
        yield ""
        yield from _finding_lines(found)
    yield ""
    yield _verdict(report)


def _token_lines(report: DataReport) -> Iterator[str]:
    counted = [(split.split, split.tokens) for split in report.splits if split.tokens]
    if not counted:
        return
    yield (
        f"tokens of {report.tokenizer}, template {report.template!r}, at most "
        f"{report.max_tokens:,} a row"
    )
    yield f"{'':10}  {'prompt':>20}  {'response':>20}  {'row':>20}  {'cut':>7}"
    for name, tokens in counted:
        parts = "  ".join(
            f"{_numbers(part):>20}" for part in (tokens.prompt, tokens.response, tokens.row)
        )
        yield f"{name:10}  {parts}  {tokens.num_cut:>7,}"
    yield f"{'':10}  {'p50 / p95 / longest':>20}"


def _numbers(lengths: Lengths) -> str:
    return f"{lengths.p50:,} / {lengths.p95:,} / {lengths.longest:,}"


def _labels(split: SplitSummary) -> str:
    labels = split.labels or []
    shown = ", ".join(
        f"{quoted(found.label)} {found.num_rows:,} ({100 * found.num_rows / split.num_rows:.1f} %)"
        for found in labels[:_MOST_LABELS]
    )
    more = len(labels) - _MOST_LABELS
    return f"{len(labels)}: {shown}" + (f", and {more} more" if more > 0 else "")


def _finding_lines(found: CodeSummary) -> Iterator[str]:
    mends = "" if found.fix == "nothing" else f"; --fix {found.fix}"
    yield f"{found.severity:7}  {found.code}: {found.count:,}  ({found.title}{mends})"
    for place in found.places:
        yield f"    {place.place}: {place.message}"
    num_hidden = found.count - len(found.places)
    if num_hidden > 0:
        yield f"    and {num_hidden:,} more"


def _verdict(report: DataReport) -> str:
    num_rows = sum(split.num_rows for split in report.splits)
    counts = []
    for severity in ("error", "warning", "note"):
        count = report.num_of(severity)
        counts.append(f"{count:,} {severity}" + ("" if count == 1 else "s"))
    return f"{', '.join(counts)} in {num_rows:,} rows."
