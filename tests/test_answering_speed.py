"""The figures of a bench of answering, computed from its rounds."""

from __future__ import annotations

import msgspec
import pytest

from ptune_tui.answering_speed import (
    AnsweringContender,
    AnsweringSetting,
    AnsweringSpeed,
    Ratio,
    Side,
    make_figure,
    make_ratios,
    with_agreement,
)
from ptune_tui.cli.answering_table import answering_table


def contender(side: Side, variant: str, **values: list[float]) -> AnsweringContender:
    figures = tuple(make_figure(name, "tokens/s", each) for name, each in values.items())
    return AnsweringContender(side=side, variant=variant, figures=figures)


def test_the_median_of_the_rounds_counts() -> None:
    figure = make_figure("decode", "tokens/s", [90.0, 10.0, 100.0])
    assert figure.median == 90.0
    assert figure.values == (90.0, 10.0, 100.0)
    assert figure.is_unsteady


@pytest.mark.parametrize(("values", "is_unsteady"), [([1.0, 1.4], False), ([1.0, 1.6], True)])
def test_rounds_that_differ_much_are_called_unsteady(
    values: list[float], is_unsteady: bool
) -> None:
    assert make_figure("decode", "tokens/s", values).is_unsteady is is_unsteady


def test_ratios_are_of_medians_and_their_spread_is_that_of_the_rounds() -> None:
    ours = contender("ptune", "fast", decode=[80.0, 120.0, 100.0], swap=[1.0, 1.0, 1.0])
    theirs = contender("genai", "int4", decode=[40.0, 50.0, 80.0])
    assert make_ratios([ours, theirs]) == (
        Ratio("decode", "ptune fast", "genai int4", 100 / 50, 100 / 80, 120 / 50),
    )


def test_a_first_token_behind_a_soft_prompt_is_compared_with_one_behind_none() -> None:
    figures = tuple(
        make_figure(f"first token P={length}", "s", [seconds])
        for length, seconds in ((0, 0.04), (20, 0.05), (100, 0.06))
    )
    ours = AnsweringContender(side="ptune", variant="fast", figures=figures)
    found = {ratio.figure: ratio for ratio in make_ratios([ours])}
    assert set(found) == {"first token P=20", "first token P=100"}
    assert found["first token P=100"].ratio == pytest.approx(1.5)
    assert found["first token P=100"].theirs == "ptune fast P=0"


def test_labels_are_compared_with_those_of_transformers() -> None:
    answers = {"ptune fast": ["a", "b", "a", "a"], "transformers fp32": ["a", "b", "b", "a"]}
    ours = with_agreement(contender("ptune", "fast"), answers)
    assert ours.label_agreement == 0.75
    theirs = with_agreement(contender("transformers", "fp32"), answers)
    assert theirs.label_agreement is None
    assert with_agreement(contender("genai", "int4"), answers).label_agreement is None


@pytest.mark.parametrize(
    ("contenders", "side", "variant", "takes_part"),
    [
        ((), "genai", "int4", True),
        (("llama.cpp",), "llama.cpp", "Q4_0", True),
        (("llama.cpp:Q4_0",), "llama.cpp", "Q4_0", True),
        (("llama.cpp:Q4_0",), "llama.cpp", "file", False),
        (("llama.cpp:Q4_0",), "llama.cpp", None, True),
        (("ptune",), "genai", None, False),
    ],
)
def test_contenders_are_chosen_by_side_or_one_by_one(
    contenders: tuple[str, ...], side: str, variant: str | None, takes_part: bool
) -> None:
    assert AnsweringSetting(contenders=contenders).has(side, variant) is takes_part


def test_the_table_names_figures_ratios_and_who_could_not_run() -> None:
    absent = AnsweringContender(
        side="llama.cpp",
        variant="Q4_0",
        unavailable="The package `xllamacpp` is not installed.",
        hint="`pip install xllamacpp`.",
    )
    measured = (
        contender("ptune", "fast", decode=[100.0]),
        contender("genai", "int4", decode=[50.0]),
    )
    speed = AnsweringSpeed(
        setting=AnsweringSetting(num_threads=2, num_rounds=1),
        contenders=(*measured, absent),
        ratios=make_ratios(measured),
        labels=(),
        mean_row_tokens=0.0,
        processor=None,
        versions={},
        weights_hash="x",
    )
    decoded = msgspec.json.decode(msgspec.json.encode(speed), type=AnsweringSpeed)
    assert decoded == speed
    text = "\n".join(answering_table(decoded))
    assert "2.00 (2.00-2.00)" in text
    assert "llama.cpp Q4_0          cannot run: The package `xllamacpp` is not installed." in text
