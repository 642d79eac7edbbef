"""What of `bench/on_cuda.py` runs without a card: its arguments, its models, its step."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ptune_tui.known_models import KNOWN_MODELS
from ptune_tui.model_numbers import ModelNumbers

BENCH = Path(__file__).parents[1] / "bench"
CPU = torch.device("cpu")
TINY = ModelNumbers(64, 2, 96, 100, 4, 2, 16, True, 64, num_vector_weights=5 * 64)
TINY_QWEN = ModelNumbers(
    64, 2, 96, 100, 4, 2, 16, False, 64, num_vector_weights=5 * 64 + 2 * (64 + 2 * 32)
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("on_cuda")


def test_without_a_card_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    done = subprocess.run(
        [sys.executable, BENCH / "on_cuda.py", "--out", "/does/not/exist"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "finds no CUDA card" in done.stdout


def test_arguments(bench: Any) -> None:
    options = bench.parse(["--parts", "fit,tests", "--cards", "6,24"])
    assert options.parts == ["fit", "tests"]
    assert options.cards == [6.0, 24.0]
    with pytest.raises(SystemExit):
        bench.parse(["--parts", "fit,wrong"])


@pytest.mark.parametrize("scheme", ["int4", "nf4"])
@pytest.mark.parametrize(("numbers", "family"), [(TINY, "llama"), (TINY_QWEN, "qwen2")])
def test_random_models_have_the_sizes_and_take_a_step(
    bench: Any, scheme: str, numbers: ModelNumbers, family: str
) -> None:
    frozen = bench.random_model(
        "tiny", numbers, scheme, device=CPU, compute_dtype=torch.float32, drawn_on=CPU
    )
    assert frozen.config.model_type == family
    assert not any(parameter.is_meta for parameter in frozen.network.parameters())
    is_tied = frozen.network.get_output_embeddings().store is (
        frozen.network.get_input_embeddings().store
    )
    assert is_tied == numbers.is_tied
    weight = frozen.network.model.layers[0].mlp.up_proj.weight
    assert weight.shape == (96, 64)
    assert float(weight.dequantize().std()) == pytest.approx(0.02, rel=0.1)
    whole, loss = bench.gradient(frozen, "stream", bench.StepShape(4, 8, 3, 4))
    assert loss > 0
    assert float(whole.norm()) > 0
    parts, _ = bench.gradient(frozen, "stream", bench.StepShape(4, 8, 3, 1, True))
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


def test_parity_is_nearly_that_of_float32_and_not_quite(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN_MODELS, "tiny", TINY)
    lines = bench.parity("tiny", device=CPU)
    assert [(line["scheme"], line["kernel"]) for line in lines] == [
        ("int4", "stream"),
        ("int4", "cached"),
        ("int4", "int8"),
        ("nf4", "stream"),
    ]
    for line in lines:
        assert 0.9 < line["gradient_cosine"] < 1 - 1e-9
        assert line["loss"] == pytest.approx(line["float32_loss"], rel=0.05)


def test_models_are_tried_from_small_to_large(bench: Any) -> None:
    known = list(KNOWN_MODELS)
    assert [known.index(name) for name in bench.FIT_MODELS] == sorted(
        known.index(name) for name in bench.FIT_MODELS
    )
