"""Nested subsets, the law through a curve's points against scipy, and the sentence under it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.optimize import curve_fit

from ptune_tui.curve_fit import fit_laws, fit_points, size_weights
from ptune_tui.curve_verdict import verdict
from ptune_tui.errors import DataError, UsageError
from ptune_tui.results import LearningFit, LearningPoint
from ptune_tui.rows import Row
from ptune_tui.subsets import default_sizes, nested_order, parse_sizes

SIZES = np.array([16, 32, 64, 128, 256, 512, 1024], dtype=float)


def rows_of(counts: dict[str, int]) -> list[Row]:
    """Rows sorted by label, as files often are."""
    labels = [label for label, number in counts.items() for _ in range(number)]
    return [Row(f"text {number}", label, "f", number) for number, label in enumerate(labels)]


def law(rows: np.ndarray, ceiling: float, gain: float, power: float) -> np.ndarray:
    return ceiling - gain * rows**-power


def points_of(scores: np.ndarray, sizes: np.ndarray = SIZES) -> list[LearningPoint]:
    pairs = zip(sizes, scores, strict=True)
    return [LearningPoint(int(size), 0, float(score), 1.0) for size, score in pairs]


@pytest.mark.parametrize(
    "counts", [{"a": 300, "b": 300}, {"a": 500, "b": 90, "c": 10}, {"a": 7, "b": 5, "c": 4}]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_beginning_has_each_label_in_its_share(counts: dict[str, int], seed: int) -> None:
    rows = rows_of(counts)
    order = nested_order(rows, sorted(counts), seed)
    assert sorted(order) == list(range(len(rows)))
    seen: Counter[str] = Counter()
    for length, number in enumerate(order, start=1):
        seen[rows[number].response] += 1
        for label, total in counts.items():
            assert abs(seen[label] - length * total / len(rows)) <= 1.0


def test_orders_differ_by_seed_and_free_text_is_shuffled() -> None:
    rows = rows_of({"a": 40, "b": 40})
    for labels in (["a", "b"], None):
        assert nested_order(rows, labels, 3) == nested_order(rows, labels, 3)
        assert nested_order(rows, labels, 3) != nested_order(rows, labels, 4)
    assert sorted(nested_order(rows, None, 0)) == list(range(80))
    firsts = {rows[nested_order(rows, ["a", "b"], seed)[0]].response for seed in range(20)}
    assert firsts == {"a", "b"}


def test_sizes_double_up_to_all_rows() -> None:
    assert default_sizes(600, 2) == [16, 32, 64, 128, 256, 600]
    assert default_sizes(1024, 77) == [128, 256, 512, 1024]
    assert default_sizes(12, 2) == [12]
    assert parse_sizes("64, 16,all,16", 100) == [16, 64, 100]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("16,x", UsageError), ("1", UsageError), ("", UsageError), ("101", DataError)],
)
def test_sizes_that_are_none_are_refused(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="--sizes"):
        parse_sizes(text, 100)


@pytest.mark.parametrize(
    ("ceiling", "gain", "power"),
    [(0.95, 2.0, 0.6), (0.9, 1.0, 0.3), (0.99, 5.0, 1.2), (0.8, 0.5, 0.1), (0.7, 0.0, 1.0)],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_law_is_that_of_scipy(ceiling: float, gain: float, power: float, seed: int) -> None:
    noise = 0.005 * np.random.default_rng(seed).standard_normal(len(SIZES))
    scores = np.clip(law(SIZES, ceiling, gain, power) + noise, 0.0, 1.0)
    weights = (np.arange(len(SIZES)) + 1) / len(SIZES)
    assert size_weights(SIZES) == pytest.approx(weights)

    def squares(parameters: tuple[float, ...]) -> float:
        return float((weights * (scores - law(SIZES, *parameters)) ** 2).sum())

    theirs = min(
        (
            tuple(
                curve_fit(
                    law,
                    SIZES,
                    scores,
                    p0=(0.9, 1.0, start),
                    sigma=weights**-0.5,
                    bounds=([0.0, 0.0, 0.02], [1.0, np.inf, 3.0]),
                    max_nfev=20_000,
                )[0]
            )
            for start in (0.1, 0.5, 1.5)
        ),
        key=squares,
    )
    found = fit_laws(SIZES, scores[None], weights)
    ours = (float(found.ceiling[0]), float(found.gain[0]), float(found.power[0]))
    assert 0.0 <= ours[0] <= 1.0
    assert ours[1] >= 0.0
    assert squares(ours) <= squares(theirs) * (1 + 1e-4) + 1e-12
    assert found.at(2048.0)[0] == pytest.approx(law(2048.0, *theirs), abs=1e-3)


def test_the_interval_holds_what_twice_the_rows_give() -> None:
    generator = np.random.default_rng(5)
    held, widths = 0, []
    for _ in range(16):
        sampled = law(SIZES, 0.95, 1.5, 0.5) + 0.012 * generator.standard_normal(len(SIZES))
        fit = fit_points(points_of(np.clip(sampled, 0.0, 1.0)), 500)
        assert fit is not None
        assert fit.doubled_rows == 2048
        again = law(2048.0, 0.95, 1.5, 0.5) + 0.012 * generator.standard_normal()
        held += fit.low <= again <= fit.high
        widths.append(fit.high - fit.low)
    assert held >= 13
    assert np.mean(widths) < 0.1


def test_fewer_validation_rows_make_the_interval_wider() -> None:
    points = points_of(law(SIZES, 0.95, 1.5, 0.5))
    few, many = fit_points(points, 100), fit_points(points, 10_000)
    assert few is not None
    assert many is not None
    assert many.high - many.low < 0.3 * (few.high - few.low)
    assert few.doubled_score == pytest.approx(law(2048.0, 0.95, 1.5, 0.5), abs=1e-4)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_three_points_are_too_few(number: int) -> None:
    points = points_of(SIZES[:number] / 1000, SIZES[:number])
    assert fit_points(points, 100) is None
    assert verdict(points, None).startswith("Too few points")


@pytest.mark.parametrize(
    ("doubled", "low", "high", "words"),
    [
        (0.925, 0.915, 0.935, "2.5 points more than the 0.900 of the curve at 1,024 rows."),
        (0.910, 0.895, 0.925, "1 point more than the 0.900 of the curve at 1,024 rows, and it may"),
        (0.902, 0.895, 0.910, "With these settings more data would hardly help"),
        (0.92, 0.70, 0.97, "Too noisy to say"),
    ],
)
def test_the_verdict_says_what_the_fit_is_good_for(
    doubled: float, low: float, high: float, words: str
) -> None:
    fit = LearningFit(0.9, 0.0, 1.0, 2048, doubled, low, high)
    said = verdict(points_of(np.full(7, 0.9)), fit)
    assert words in said
    assert "2,048 rows" in said
    assert said.count(".") >= 1
    assert said.endswith(".")


def test_scores_that_are_all_right_leave_room_for_doubt() -> None:
    points = [LearningPoint(rows, 0, 1.0, 1.0) for rows in (16, 32, 64, 128)]
    few, many = fit_points(points, 20), fit_points(points, 2000)
    assert few is not None
    assert many is not None
    assert few.low < many.low < 1.0 == few.high
