"""`ptune bench train` with the tiny model: every contender in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
import torch

from ptune_tui.training_speed import TrainingSpeed
from tests.cli.conftest import Ptune
from tests.cli.test_bad_input import one_sentence

SMALL = ("--rounds", 1, "--rows", 3, "--tokens", 40, "--num-virtual-tokens", 5, "--threads", 1)


def test_contenders_compute_the_same_gradient_and_all_are_measured(
    ptune: Ptune, tiny_model: Path, label_rows: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    done = ptune(
        *("bench", "train", "--model", tiny_model, "--data", label_rows, *SMALL),
        *("--kernel", "cached", "--kernel", "int8", "--against", "fp32,bf16,nf4", "--json"),
    )
    assert done.code == 0, done.err
    speed = msgspec.json.decode(done.out, type=TrainingSpeed)
    by_name = {contender.name: contender for contender in speed.contenders}
    assert list(by_name) == ["ptune cached", "ptune int8", "peft fp32", "peft bf16", "peft nf4"]
    for contender in speed.contenders:
        assert contender.unavailable is None, contender
        assert len(contender.step_seconds) == 1
        assert contender.seconds_per_step == contender.step_seconds[0]
        assert contender.tokens_per_second == pytest.approx(3 * 40 / contender.step_seconds[0])
        assert contender.peak_memory_bytes is not None
        assert contender.peak_memory_bytes > 50 << 20
        assert contender.speed_ratio is not None
        assert contender.memory_ratio is not None
    reference = by_name["peft fp32"]
    cosines = {name: contender.gradient_cosine or 0.0 for name, contender in by_name.items()}
    assert cosines["ptune cached"] >= 0.9999
    assert by_name["ptune cached"].loss == pytest.approx(reference.loss, rel=1e-4)
    assert 0.9 < cosines["ptune int8"] < 0.999999
    # Other weights and roundings have other gradients: the figure is no constant.
    assert 0.9 < cosines["peft bf16"] < 0.999999
    assert cosines["peft nf4"] < 0.999
    assert speed.fastest in ("peft fp32", "peft bf16", "peft nf4")
    assert by_name[speed.fastest].speed_ratio == 1.0


def test_keys_and_values_have_peft_s_gradient(
    ptune: Ptune, tiny_model: Path, label_rows: Path
) -> None:
    done = ptune(
        *("bench", "train", "--model", tiny_model, "--data", label_rows, *SMALL),
        *("--method", "prefix", "--kernel", "cached", "--against", "fp32", "--json"),
    )
    assert done.code == 0, done.err
    ours, theirs = msgspec.json.decode(done.out, type=TrainingSpeed).contenders
    assert ours.gradient_cosine is not None
    assert ours.gradient_cosine >= 0.9999
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-4)


def test_ours_alone_prints_a_table_and_leaves_no_model_behind(
    ptune: Ptune, tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    done = ptune(
        *("bench", "train", "--model", tiny_model, "--data", label_rows, *SMALL),
        *("--kernel", "cached", "--against", "none"),
    )
    assert done.code == 0, done.err
    assert "3 rows of 40 tokens, 5 virtual tokens" in done.out
    (line,) = [line for line in done.out.splitlines() if line.startswith("ptune cached  ")]
    assert "GB" in line
    assert list((tmp_path / "home").rglob("*.safetensors")) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--against", "fp32,fp8"], "'fp8'"),
        (["--kernel", "fastest"], "'fastest'"),
        (["--num-virtual-tokens", "500"], "500 virtual tokens"),
    ],
)
def test_impossible_options_end_with_2(
    ptune: Ptune, tiny_model: Path, label_rows: Path, options: list[str], words: str
) -> None:
    done = ptune(
        *("bench", "train", "--model", tiny_model, "--data", label_rows, "--tokens", 40),
        *options,
    )
    assert words in one_sentence(done, 2)


@pytest.mark.parametrize("option", ["--rows", "--rounds", "--num-virtual-tokens"])
def test_nothing_to_measure_ends_with_2(ptune: Ptune, option: str) -> None:
    assert ptune("bench", "train", option, 0).code == 2


def test_a_row_without_room_is_named(ptune: Ptune, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(f'{{"prompt": "a", "response": "{"word " * 30}"}}\n' * 2)
    done = ptune("bench", "train", "--model", tiny_model, "--data", path, "--tokens", 20)
    assert "leave no room for the prompt in 20 tokens" in one_sentence(done, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_ends_every_process(
    tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "ptune_tui", "bench", "train", "--model", str(tiny_model)),
        *("--data", str(label_rows), *map(str, SMALL), "--rounds", "100000"),
        *("--kernel", "cached", "--against", "none"),
    ]
    environment = {**os.environ, "PTUNE_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A job in the background of a shell ignores interrupts, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("measure"):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2  # the worker and the contender
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
    finally:
        process.kill()
        process.wait()


def test_a_card_that_is_not_there_is_one_sentence(
    ptune: Ptune, tiny_model: Path, label_rows: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    done = ptune(
        *("bench", "train", "--model", tiny_model, "--data", label_rows, *SMALL),
        *("--device", "cuda"),
    )
    assert "CUDA" in one_sentence(done, 2)
