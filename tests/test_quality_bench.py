"""The quality table: cells are named, resumed and rendered from their files alone."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import msgspec
import pytest
from quality_cells import BEGIN_MARK, END_MARK, Cell, CellFolder, table, write_table
from quality_scores import Pair, bleu_scores, first_line
from quality_settings import BAG_OF_WORDS, LORA, TASKS, CellKey, planned_cells, timed_by


def cell(key: CellKey, score: float, **changes: object) -> Cell:
    values: dict[str, object] = {
        "scores": {"accuracy": score},
        "num_rows": 872,
        "training_seconds": 400.0,
        "tokens_per_second": 500.0,
        "peak_memory_bytes": 1_500_000_000,
        "computed_by": "torch, cached",
        "settings": {"max_steps": 10},
        "commit": "abc1234",
        "machine": "a processor",
        "versions": {"torch": "2"},
        "date": "2026-01-02",
    }
    return Cell(key=key, score=score, **{**values, **changes})  # type: ignore[arg-type]


def test_every_cell_has_a_name_of_its_own_and_a_lora_cell_comes_after_the_one_that_times_it() -> (
    None
):
    keys = list(planned_cells())
    assert len({key.name for key in keys}) == len(keys)
    for position, key in enumerate(keys):
        if key.method == LORA:
            assert keys.index(timed_by(key)) < position


def test_a_stored_cell_is_read_back_and_known_by_its_settings(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path / "cells")
    key = CellKey("sst2", "prefix", "int8", 1)
    assert folder.state(key, {"max_steps": 10}) == "missing"
    made = cell(key, 0.9)
    folder.write(made)
    assert folder.read(key) == made
    assert [path.name for path in folder.path.iterdir()] == ["sst2-prefix-int8-seed1.json"]
    assert folder.state(key, {"max_steps": 10}) == "done"
    assert folder.state(key, {"max_steps": 20}) == "stale"
    folder.write(cell(key, 0.9, training_seconds=601.0))
    assert folder.state(key, {"max_steps": 10}) == "over time"
    folder.write(cell(key, 0.9, is_trial=True))
    assert folder.state(key, {"max_steps": 10}) == "trial"


def test_the_table_gives_mean_and_spread_of_the_seeds_and_whether_the_floor_is_met() -> None:
    floor = TASKS["sst2"].methods["prefix"].min_score
    assert floor is not None
    scores = [floor - 0.02, floor + 0.01, floor + 0.04]
    keys = [CellKey("sst2", "prefix", "fp32", seed) for seed in range(3)]
    cells = [cell(key, score) for key, score in zip(keys, scores, strict=True)]
    below = cell(CellKey("trec", "prefix", "fp32", 0), 0.5, training_seconds=700.0)
    words = cell(CellKey("sst2", BAG_OF_WORDS, "none", 0), 0.8, training_seconds=None)
    lines = table([below, words, *cells]).splitlines()[2:]
    ours, beside, missed = ([part.strip() for part in line.split("|")[1:-1]] for line in lines)
    assert ours[1] == "`prefix`"
    assert ours[3] == f"**{statistics.fmean(scores):.3f}** ({scores[0]:.3f} to {scores[2]:.3f})"
    assert ours[4:6] == ["3", f"{floor:.2f}: met"]
    assert beside[1] == "bag of words"
    assert "missed by 0.430" in missed[5]
    assert missed[6] == "700 over time"


def test_the_table_replaces_what_stands_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "quality.md"
    document.write_text(f"before\n{BEGIN_MARK}\nold\n{END_MARK}\nbehind\n", encoding="utf-8")
    made = cell(CellKey("trec", "prefix", "fp32", 0), 0.95)
    write_table(document, [made])
    text = document.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("behind\n")
    assert "old" not in text
    assert table([made]) in text
    assert "Commits: abc1234." in text
    document.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="needs the lines"):
        write_table(document, [made])


def test_bleu_takes_all_references_of_a_prompt(tmp_path: Path) -> None:
    references = tmp_path / "refs.jsonl"
    records = [
        {"prompt": "name[A]", "references": ["A is a pub by the river .", "There is a pub, A ."]},
        {"prompt": "name[B]", "references": ["B serves cheap food in town ."]},
    ]
    references.write_text("".join(json.dumps(record) + "\n" for record in records))
    pairs = [Pair("name[B]", "B serves cheap food in town ."), Pair("name[A]", "")]
    answers = ["b serves cheap food in town .", "There is a pub, A ."]
    assert bleu_scores(pairs, answers, references)["bleu"] == pytest.approx(100.0)
    swapped = bleu_scores(pairs, answers[::-1], references)
    assert swapped["bleu"] < 20.0


def test_an_untuned_answer_ends_with_its_first_line() -> None:
    assert first_line("\n A pub .\nname[B]") == "A pub ."


def test_lora_starts_as_the_base_and_learns(tiny_model: Path, label_rows: Path) -> None:
    from quality_torch import Request, compute

    agreement = Request(
        kind="agreement",
        train=str(label_rows),
        test=str(label_rows),
        template="{prompt}\nKind:",
        is_free_text=False,
        max_rows=12,
        model=str(tiny_model),
    )
    assert compute(agreement).num_agreeing == 12
    training = msgspec.structs.replace(
        agreement, kind="lora", batch_size=48, training_seconds=1e6, max_steps=6
    )
    trained = compute(training)
    assert trained.steps == 6
    # Each step sees all rows, so the losses can be compared.
    assert trained.losses == sorted(trained.losses, reverse=True)
