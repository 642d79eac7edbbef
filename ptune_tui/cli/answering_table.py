"""The figures of `ptune bench run` as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ptune_tui.answering_speed import AnsweringContender, AnsweringSpeed, Figure, Ratio, Unit

_MILLISECONDS = 0.5  # seconds below it are written as milliseconds
_NAME_WIDTH = 22
_PAIR_WIDTH = 38
_MIN_WIDTH = 12


def answering_table(speed: AnsweringSpeed) -> list[str]:
    """The figures, the ratios and the notes.

    Args:
        speed (AnsweringSpeed): What was measured.
    """
    setting = speed.setting
    columns = list(dict.fromkeys(f.name for item in speed.contenders for f in item.figures))
    lines = [
        f"{setting.model}: {setting.num_threads} threads, medians of {setting.num_rounds} "
        f"alternating rounds, {setting.num_new_tokens} tokens decoded",
        _row("", columns, columns, _NAME_WIDTH),
        *(_figures(contender, columns) for contender in speed.contenders),
    ]
    if speed.ratios:
        lines += ["", *_ratios(speed.ratios)]
    lines.append("")
    if speed.labels:
        lines.append(
            f"scoring: {setting.num_rows} rows of {speed.mean_row_tokens:.0f} tokens on average, "
            f"20 virtual tokens, labels {' and '.join(map(repr, speed.labels))}"
        )
    return lines + list(_notes(speed))


def _figures(contender: AnsweringContender, columns: Sequence[str]) -> str:
    if contender.unavailable is not None:
        hint = f" ({contender.hint})" if contender.hint else ""
        return f"{contender.name:{_NAME_WIDTH}}  cannot run: {contender.unavailable}{hint}"
    cells = [_cell(contender.figure(column)) for column in columns]
    return _row(contender.name, cells, columns, _NAME_WIDTH)


def _ratios(ratios: Sequence[Ratio]) -> list[str]:
    """One line a pair, the spread over the rounds in brackets."""
    columns = list(dict.fromkeys(ratio.figure for ratio in ratios))
    pairs = list(dict.fromkeys((ratio.ours, ratio.theirs) for ratio in ratios))
    by_place = {(ratio.ours, ratio.theirs, ratio.figure): ratio for ratio in ratios}
    # A ratio and its spread are longer than a figure.
    widths = [f"{column:>{_MIN_WIDTH + 8}}" for column in columns]
    lines = [
        "ratios of the medians, lowest and highest of a round in brackets (of seconds and bytes "
        "less is better)",
        _row("", widths, widths, _PAIR_WIDTH),
    ]
    for ours, theirs in pairs:
        found = [by_place.get((ours, theirs, column)) for column in columns]
        cells = [
            "-" if r is None else f"{r.ratio:.2f} ({r.lowest:.2f}-{r.highest:.2f})" for r in found
        ]
        lines.append(_row(f"{ours} / {theirs}", cells, widths, _PAIR_WIDTH))
    return lines


def _notes(speed: AnsweringSpeed) -> Iterator[str]:
    for contender in speed.contenders:
        if contender.computed_by:
            yield f"{contender.name}: {contender.computed_by}"
        if contender.label_agreement is not None:
            share = 100 * contender.label_agreement
            yield f"{contender.name} gives {share:.0f} % of the rows the label of transformers"
    for contender in speed.contenders:
        for figure in contender.figures:
            if figure.is_unsteady:
                yield (
                    f"note: {figure.name} of {contender.name} was "
                    f"{_value(min(figure.values), figure.unit)} to "
                    f"{_value(max(figure.values), figure.unit)}; measure again on a quiet machine"
                )


def _row(name: str, cells: Sequence[str], columns: Sequence[str], name_width: int) -> str:
    widths = [max(_MIN_WIDTH, len(column) + 2) for column in columns]
    return f"{name:{name_width}}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)
    )


def _cell(figure: Figure | None) -> str:
    return "-" if figure is None else _value(figure.median, figure.unit)


def _value(value: float, unit: Unit) -> str:
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    if unit == "s":
        if value < _MILLISECONDS:
            return f"{1e3 * value:.3g} ms"
        return f"{value:.2f} s"
    return f"{value:.0f}/s" if value >= 100 else f"{value:.1f}/s"
