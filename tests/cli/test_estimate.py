"""`ptune estimate`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Ptune
from tests.cli.test_bad_input import one_sentence

CONFIG = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 1000,
}


def write(tmp_path: Path, **changes: object) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**CONFIG, **changes}))
    return file


def test_table_names_parts_peak_verdict_speed_and_limits(ptune: Ptune) -> None:
    done = ptune(
        "estimate", "--memory", "64GB", "--batch-size", 16, "--tokens", 48, "--kernel", "cached"
    )
    assert done.code == 0, done.err
    assert "16 x 48 tokens; cached" in done.out
    for word in ["process", "weights", "copies", "kept activations", "peak", "fits: ", "tokens/s"]:
        assert word in done.out
    assert "largest that fits, one at a time: " in done.out
    assert "does not fit: " in ptune("estimate", "--memory", "600MB").out


def test_json_is_one_object_whose_parts_sum_to_the_peak(ptune: Ptune, tmp_path: Path) -> None:
    arguments = ["--model", write(tmp_path), "--memory", "8GB", "--method", "prefix"]
    arguments += ["--num-virtual-tokens", 7, "--kernel", "stream", "--checkpointing"]
    done = ptune("estimate", *arguments, "--threads", 1, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert sum(found["parts"].values()) == found["peak_bytes"]
    assert (found["available_bytes"], found["verdict"]) == (8 * 10**9, "fits")
    assert found["setting"]["method"] == "prefix"
    assert found["setting"]["num_virtual_tokens"] == 7
    assert found["setting"]["checkpointing"] is True
    assert found["seconds"] > 0
    assert found["largest"]["num_rows"] >= 32
    assert found["parts"]["trained"] == 16 * 7 * 4 * 2 * 256


def test_cards_name_the_largest_model_and_say_that_nothing_was_measured(ptune: Ptune) -> None:
    done = ptune("estimate", "--device", "cuda", "--memory", "8GiB", "--json")
    cards = json.loads(done.out)["largest_model_by_card"]
    assert set(cards) == {"6 GB", "8 GB", "12 GB"}
    assert "not measured" in done.err
    assert json.loads(done.out)["memory_source"] == "not measured"


def test_unknown_family_is_estimated_and_the_assumption_said(ptune: Ptune, tmp_path: Path) -> None:
    done = ptune("estimate", "--model", write(tmp_path, model_type="novel"), "--memory", "8GB")
    assert done.code == 0
    assert "`novel` is not known here" in done.err


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "sentence"),
    [
        ({"num_local_experts": 8}, [], 4, "mixture of experts"),
        ({"layer_types": ["mamba"]}, [], 4, "layers without attention (mamba)"),
        ({"hidden_size": "wide"}, [], 4, "`hidden_size` is 'wide'"),
        ({}, ["--memory", "much"], 2, "`--memory much`"),
        ({}, ["--memory", "0GB"], 2, "`--memory 0GB`"),
    ],
)
def test_bad_input_is_one_sentence(
    ptune: Ptune,
    tmp_path: Path,
    changes: dict[str, object],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    done = ptune("estimate", "--model", write(tmp_path, **changes), *arguments)
    assert sentence in one_sentence(done, code)


def test_model_that_is_not_here_lists_what_can_be_named(ptune: Ptune) -> None:
    done = ptune("estimate", "--model", "nobody/nothing")
    assert "`nobody/nothing`" in one_sentence(done, 4)
    assert "Llama-3.2-1B" in done.err
