"""Checks of the built-in data sets: counts, balance, form, and no leak between the splits."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter, defaultdict
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parent.parent / "ptune_tui" / "builtin_data"
SETS = ("support_inbox", "home_commands")
SPLITS = ("train", "validation")
EVERY_SPLIT = [(name, split) for name in SETS for split in SPLITS]

LABELS = {"billing", "shipping", "returns", "technical", "account", "sales"}

ROOMS = {"kitchen", "bedroom", "bathroom", "office", "hallway", "garage", "living room"}
ON_OFF_SET = {"on", "off", "set"}
ACTIONS = {
    "lamp": ON_OFF_SET,
    "heater": ON_OFF_SET,
    "fan": ON_OFF_SET,
    "speaker": ON_OFF_SET,
    "tv": ON_OFF_SET,
    "oven": ON_OFF_SET,
    "blinds": {"open", "close", "set"},
    "door": {"open", "close", "lock", "unlock"},
}
ROOM_WORDS = {
    "kitchen": "kitchen",
    "bedroom": "bedroom",
    "bathroom": "bathroom",
    "office": "office|study",
    "hallway": "hallway|hall|corridor",
    "garage": "garage",
    "living room": "living room|lounge",
}


def path_of(name: str, split: str) -> Path:
    return DATA / name / f"{split}.jsonl"


@cache
def rows(name: str, split: str) -> tuple[dict[str, str], ...]:
    text = path_of(name, split).read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines())


def prompts(name: str, split: str) -> list[str]:
    return [row["prompt"] for row in rows(name, split)]


def commands(split: str) -> list[tuple[str, dict[str, Any]]]:
    return [(r["prompt"], json.loads(r["response"])) for r in rows("home_commands", split)]


def normalised(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", text.lower()).split())


def grams(text: str, size: int = 5) -> frozenset[str]:
    plain = normalised(text)
    if len(plain) <= size:
        return frozenset({plain})
    return frozenset(plain[i : i + size] for i in range(len(plain) - size + 1))


def similar_pairs(
    left: list[str], right: list[str], threshold: float
) -> list[tuple[float, str, str]]:
    """Pairs of a left and a right text whose 5-gram Jaccard similarity reaches the threshold."""
    right_grams = [grams(text) for text in right]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for index, found in enumerate(right_grams):
        for gram in found:
            holders[gram].append(index)
    pairs = []
    for text in left:
        own = grams(text)
        shared = Counter(chain.from_iterable(holders[gram] for gram in own if gram in holders))
        for index, common in shared.items():
            similarity = common / (len(own) + len(right_grams[index]) - common)
            if similarity >= threshold:
                pairs.append((similarity, text, right[index]))
    return pairs


def test_similar_pairs_finds_a_reworded_copy_and_not_a_new_text() -> None:
    left = ["You took the money twice!!", "where is my stuff"]
    right = ["you took my money twice", "Any news on my package?"]
    assert [pair[1:] for pair in similar_pairs(left, right, 0.5)] == [(left[0], right[0])]


@pytest.mark.parametrize(
    ("name", "split", "least"),
    [
        ("support_inbox", "train", 480),
        ("support_inbox", "validation", 120),
        ("home_commands", "train", 360),
        ("home_commands", "validation", 90),
    ],
)
def test_each_split_has_enough_rows(name: str, split: str, least: int) -> None:
    assert len(rows(name, split)) >= least


def test_readme_states_the_row_counts() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for name in SETS:
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` |"))
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        stated = [int(cell.split()[0]) for cell in cells[1:3]]
        assert stated == [len(rows(name, split)) for split in SPLITS]


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_each_line_is_an_object_with_the_two_text_keys(name: str, split: str) -> None:
    raw = path_of(name, split).read_bytes()
    assert raw.endswith(b"\n")
    assert b"\r" not in raw
    assert not raw.startswith(b"\xef\xbb\xbf")
    for line in raw.decode("utf-8").removesuffix("\n").split("\n"):
        row = json.loads(line)
        assert list(row) == ["prompt", "response"], line
        assert all(isinstance(value, str) for value in row.values()), line


@pytest.mark.parametrize(("name", "split"), EVERY_SPLIT)
def test_no_text_is_empty_or_padded_or_broken_over_lines(name: str, split: str) -> None:
    for row in rows(name, split):
        for value in row.values():
            assert value, row
            assert value.isprintable(), row
            assert value == value.strip(), row
            assert "  " not in value, row


@pytest.mark.parametrize("name", SETS)
def test_no_prompt_repeats_within_or_across_the_splits(name: str) -> None:
    seen = Counter(normalised(text) for split in SPLITS for text in prompts(name, split))
    assert [text for text, count in seen.items() if count > 1] == []
    assert "" not in seen


@pytest.mark.parametrize(("name", "threshold"), [("support_inbox", 0.5), ("home_commands", 0.9)])
def test_no_near_duplicate_crosses_the_splits(name: str, threshold: float) -> None:
    assert similar_pairs(prompts(name, "validation"), prompts(name, "train"), threshold) == []


@pytest.mark.parametrize("split", SPLITS)
def test_no_near_duplicate_inside_a_support_split(split: str) -> None:
    texts = prompts("support_inbox", split)
    found = similar_pairs(texts, texts, 0.5)
    assert [pair for pair in found if pair[1] != pair[2]] == []


@pytest.mark.parametrize("split", SPLITS)
def test_support_labels_are_the_six_teams_in_equal_numbers(split: str) -> None:
    counts = Counter(row["response"] for row in rows("support_inbox", split))
    assert set(counts) == LABELS
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("split", SPLITS)
def test_support_rows_are_not_sorted_by_label(split: str) -> None:
    labels = [row["response"] for row in rows("support_inbox", split)]
    same = sum(a == b for a, b in pairwise(labels))
    assert same < len(labels) / 3


@pytest.mark.parametrize("split", SPLITS)
def test_support_messages_vary_in_length(split: str) -> None:
    lengths = [len(text.split()) for text in prompts("support_inbox", split)]
    assert min(lengths) >= 4
    assert max(lengths) <= 65
    assert sum(length < 8 for length in lengths) >= 0.1 * len(lengths)
    assert sum(length > 30 for length in lengths) >= 0.1 * len(lengths)
    assert 15 <= statistics.median(lengths) <= 27


@pytest.mark.parametrize("label", sorted(LABELS))
def test_length_does_not_give_the_team_away(label: str) -> None:
    lengths = [
        len(row["prompt"].split())
        for split in SPLITS
        for row in rows("support_inbox", split)
        if row["response"] == label
    ]
    assert 16 <= statistics.mean(lengths) <= 26


def test_support_messages_do_not_open_alike() -> None:
    texts = [text for split in SPLITS for text in prompts("support_inbox", split)]
    openings = Counter(" ".join(normalised(text).split()[:3]) for text in texts)
    assert max(openings.values()) <= 0.01 * len(texts)


@pytest.mark.parametrize("split", SPLITS)
def test_command_responses_are_canonical_json(split: str) -> None:
    for row in rows("home_commands", split):
        parsed = json.loads(row["response"])
        keys = ["device", "room", "action"]
        if parsed["action"] == "set":
            keys.append("value")
        assert list(parsed) == keys, row
        assert row["response"] == json.dumps(parsed), row


@pytest.mark.parametrize("split", SPLITS)
def test_commands_keep_to_the_closed_vocabularies(split: str) -> None:
    for prompt, parsed in commands(split):
        assert parsed["device"] in ACTIONS, prompt
        assert parsed["room"] in ROOMS, prompt
        assert parsed["action"] in ACTIONS[parsed["device"]], prompt


@pytest.mark.parametrize("split", SPLITS)
def test_each_set_value_is_the_only_number_or_a_word_of_the_command(split: str) -> None:
    for prompt, parsed in commands(split):
        if parsed["action"] != "set":
            continue
        value = parsed["value"]
        assert type(value) in (int, str), prompt
        numbers = {int(number) for number in re.findall(r"\d+", prompt)}
        if isinstance(value, int):
            assert numbers == {value}, prompt
        else:
            assert not numbers, prompt
            assert value in normalised(prompt).split(), prompt


@pytest.mark.parametrize("split", SPLITS)
def test_each_command_names_one_room_and_the_right_one(split: str) -> None:
    for prompt, parsed in commands(split):
        text = prompt.lower()
        named = {room for room, words in ROOM_WORDS.items() if re.search(rf"\b({words})\b", text)}
        if parsed["device"] == "oven":
            assert parsed["room"] == "kitchen", prompt
            assert named <= {"kitchen"}, prompt
        else:
            assert named == {parsed["room"]}, prompt


@pytest.mark.parametrize("split", SPLITS)
def test_every_device_room_and_action_occurs(split: str) -> None:
    parsed = [command for _, command in commands(split)]
    assert {command["room"] for command in parsed} == ROOMS
    for device, actions in ACTIONS.items():
        assert {c["action"] for c in parsed if c["device"] == device} == actions
    devices = Counter(command["device"] for command in parsed)
    assert max(devices.values()) <= 2 * min(devices.values())


def test_files_hold_no_path_of_a_machine() -> None:
    for path in [DATA / "README.md", *(path_of(name, split) for name, split in EVERY_SPLIT)]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<!\w)/(?:home|Users|root|tmp|mnt)/|[A-Z]:\\\\", text), path
