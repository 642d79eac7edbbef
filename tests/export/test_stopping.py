"""Nothing of a stop string is ever shown, and nothing else is lost."""

from __future__ import annotations

import pytest

from export.stopping import StopStrings


def shown(strings: list[str], pieces: list[str]) -> str:
    stops = StopStrings(strings)
    return "".join([*(stops.feed(piece) for piece in pieces), stops.rest()])


@pytest.mark.parametrize(
    ("strings", "pieces", "expected"),
    [
        (["END"], ["a", "bE", "ND", "c"], "ab"),
        (["END"], ["E", "EN", "DER"], "E"),
        (["END"], ["EN"], "EN"),
        (["\n\n", "###"], ["one\n", "two##", "\n", "\nthree"], "one\ntwo##"),
        (["aab"], ["a", "a", "a", "b", "x"], "a"),
        (["b", "ab"], ["xab"], "x"),
        ([], ["all", " of it"], "all of it"),
        ([""], ["all"], "all"),
    ],
)
def test_text_ends_before_the_first_stop_string(
    strings: list[str], pieces: list[str], expected: str
) -> None:
    assert shown(strings, pieces) == expected
    assert shown(strings, list("".join(pieces))) == expected


def test_text_that_cannot_become_a_stop_string_is_shown_at_once() -> None:
    stops = StopStrings(["END"])
    assert stops.feed("hello E") == "hello "
    assert stops.feed("x") == "Ex"
    assert not stops.is_stopped
    assert stops.feed("END") == ""
    assert stops.is_stopped
    assert stops.feed("more") == ""
