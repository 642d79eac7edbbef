"""`ptune bench run` with the tiny model: every contender in processes of its own."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from export.bundle import read_manifest
from ptune_tui.answering_speed import AnsweringContender, AnsweringSetting, AnsweringSpeed
from ptune_tui.config import DataConfig
from ptune_tui.data import load_data
from ptune_tui.rows import read_rows
from ptune_tui.worker.bench.answering.files import AnsweringFolder, ChildSetting
from ptune_tui.worker.bench.answering.inputs import rows_to_score
from ptune_tui.worker.bench.answering.turn import Turn
from ptune_tui.worker.bench.messages import Taken, TakenFigure
from ptune_tui.worker.bench.run import _rounds
from tests.cli.conftest import Ptune
from tests.cli.test_bad_input import one_sentence
from tests.export.conftest import Exported, exported  # noqa: F401  (a fixture of that folder)

SMALL = ("--rows", 6, "--new-tokens", 5, "--prefill", "16,40", "--threads", 1)
OF_ALL = {"decode", "prefill 16", "prefill 40", "load", "memory", "disk"}
OF_OURS = {"first token P=0", "first token P=20", "first token P=100", "swap P=20", "swap P=100"}


def figures(contender: AnsweringContender) -> dict[str, float]:
    assert contender.unavailable is None, contender
    return {figure.name: figure.median for figure in contender.figures}


def test_every_figure_of_every_contender_is_there(
    ptune: Ptune, tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime_genai")
    pytest.importorskip("onnx_ir")
    done = ptune(
        *("bench", "run", "--model", tiny_model, "--data", label_rows, *SMALL),
        *("--rounds", 2, "--only", "ptune,genai,transformers", "--json"),
    )
    assert done.code == 0, done.err
    speed = msgspec.json.decode(done.out, type=AnsweringSpeed)
    by_name = {contender.name: contender for contender in speed.contenders}
    ours = [name for name in by_name if name.startswith("ptune ")]
    assert {"ptune fast", "ptune exact"} <= set(ours)
    assert list(by_name) == [*ours, "genai int4", "transformers fp32"]
    assert set(figures(by_name["genai int4"])) == OF_ALL
    assert set(figures(by_name["transformers fp32"])) == OF_ALL | {"scoring"}
    for name in ours:
        assert set(figures(by_name[name])) == OF_ALL | OF_OURS | {"scoring"}
    for contender in speed.contenders:
        for figure in contender.figures:
            assert len(figure.values) == 2
            assert all(math.isfinite(value) and value > 0 for value in figure.values), figure
    found = {(ratio.ours, ratio.theirs, ratio.figure): ratio for ratio in speed.ratios}
    ratio = found["ptune exact", "transformers fp32", "scoring"]
    expected = figures(by_name["ptune exact"])["scoring"]
    assert ratio.ratio == expected / figures(by_name["transformers fp32"])["scoring"]
    assert ratio.lowest <= ratio.highest
    # The same rows behind the same soft prompt: ours and theirs compute one thing.
    assert by_name["ptune exact"].label_agreement == 1.0
    assert list((tmp_path / "home").rglob("*.safetensors")) == []


def test_a_bundle_that_is_given_says_which_graphs_there_are(
    ptune: Ptune,
    tiny_model: Path,
    label_rows: Path,
    exported: Exported,  # noqa: F811
) -> None:
    done = ptune(
        *("bench", "run", "--model", tiny_model, "--data", label_rows, *SMALL),
        *("--bundle", exported.bundle, "--rounds", 1, "--only", "decode,disk,ptune"),
    )
    assert done.code == 0, done.err
    for precision in read_manifest(exported.bundle).graphs:
        (line,) = [line for line in done.out.splitlines() if line.startswith(f"ptune {precision} ")]
        assert "/s" in line
        assert "MB" in line


def test_what_cannot_run_is_named_and_the_others_go_on(
    ptune: Ptune, tiny_model: Path, label_rows: Path
) -> None:
    done = ptune(
        *("bench", "run", "--model", tiny_model, "--data", label_rows, *SMALL),
        *("--rounds", 1, "--only", "decode,ptune:fast,llama.cpp", "--json"),
    )
    assert done.code == 0, done.err
    ours, *theirs = msgspec.json.decode(done.out, type=AnsweringSpeed).contenders
    assert set(figures(ours)) == {"decode"}
    assert [contender.variant for contender in theirs] == ["file", "Q4_0", "Q4_K_M"]
    for contender in theirs:
        assert contender.unavailable is not None
        assert contender.figures == ()
        reasons = ("is not a GGUF file", "The package `xllamacpp` is not installed")
        assert any(reason in contender.unavailable for reason in reasons)


def test_contenders_take_turns_measure_by_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Said:
        def progress(self, _: object) -> None:
            pass

    class Child:
        def __init__(self, name: str) -> None:
            self.name = name

        def ask(self, request: object, _: object) -> Taken:
            measure = request.measure  # type: ignore[attr-defined]
            asked.append(f"{self.name} {measure}")
            return Taken([TakenFigure(measure, "tokens/s", float(len(asked)))])

    monkeypatch.setattr("ptune_tui.worker.bench.answering.turn.SETTLE_SECONDS", 0.0)
    turns = []
    for variant in ("one", "two"):
        turn = Turn("ptune", variant, AnsweringFolder(Path("nowhere")), 1)
        turn.child = Child(variant)  # type: ignore[assignment]
        turn.measures = ("decode", "prefill") if variant == "one" else ("decode",)
        turns.append(turn)
    setting = AnsweringSetting(num_rounds=2, measures=("decode", "prefill"))
    list(_rounds(turns, setting, Said()))  # type: ignore[arg-type]
    assert asked == ["one decode", "two decode", "one prefill"] * 3
    # The first round does not count.
    assert turns[0].values == {"decode": [4.0, 7.0], "prefill": [6.0, 9.0]}
    assert turns[1].values == {"decode": [5.0, 8.0]}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "decode,vllm"], "'vllm'"),
        (["--only", "llama.cpp:Q9"], "'llama.cpp:Q9'"),
        (["--only", "decode,ptune:tiny", "--new-tokens", "4", "--prefill", "8"], "'ptune:tiny'"),
        (["--prefill", "128,many"], "'many'"),
        (["--prefill", "600"], "601 tokens"),
    ],
)
def test_impossible_options_end_with_2(
    ptune: Ptune, tiny_model: Path, label_rows: Path, options: list[str], words: str
) -> None:
    done = ptune("bench", "run", "--model", tiny_model, "--data", label_rows, *options)
    assert words in one_sentence(done, 2)


def test_a_bundle_of_other_weights_is_refused(
    ptune: Ptune,
    tiny_model: Path,
    label_rows: Path,
    exported: Exported,  # noqa: F811
    tmp_path: Path,
) -> None:
    import torch
    import transformers

    other = tmp_path / "other"
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(2)
    model.save_pretrained(other)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(other)
    done = ptune(
        *("bench", "run", "--model", other, "--data", label_rows, *SMALL),
        *("--bundle", exported.bundle, "--only", "decode,ptune"),
    )
    assert "is of other weights" in one_sentence(done, 2)


def test_all_rows_of_a_file_are_scored_once_where_as_many_are_asked_for(label_rows: Path) -> None:
    rows = read_rows(label_rows, DataConfig())
    data = load_data(DataConfig(train=str(label_rows)), seed=0)
    assert len(data.train) < len(rows)
    scored = rows_to_score(data, len(rows))
    assert sorted(row.line for row in scored) == [row.line for row in rows]
    assert rows_to_score(data, len(rows) + 3)[-3:] == scored[:3]


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("side", "module"), [("llama.cpp", "xllamacpp"), ("llama-cpp-python", "llama_cpp")]
)
def test_llama_cpp_runs_the_default_model_in_every_type(
    ptune: Ptune, default_model: Path, side: str, module: str
) -> None:
    pytest.importorskip(module)
    done = ptune(
        *("bench", "run", "--model", default_model, *SMALL, "--rounds", 1),
        *("--only", f"decode,prefill,disk,{side}", "--json"),
    )
    assert done.code == 0, done.err
    contenders = msgspec.json.decode(done.out, type=AnsweringSpeed).contenders
    assert [contender.variant for contender in contenders] == ["file", "Q4_0", "Q4_K_M"]
    for contender in contenders:
        found = figures(contender)
        assert set(found) == {"decode", "prefill 16", "prefill 40", "disk"}
        assert all(math.isfinite(value) and value > 0 for value in found.values())


def test_what_does_not_fit_into_memory_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = AnsweringFolder(tmp_path)
    folder.write_setting(ChildSetting(AnsweringSetting(), str(tmp_path / "model.gguf"), "tiny"))
    (tmp_path / "model.gguf").write_bytes(b"x" * 100)
    assert folder.model_bytes("llama.cpp", "file") == 100
    monkeypatch.setattr("ptune_tui.worker.bench.answering.turn.LOADED_SHARE", 1e15)
    turn = Turn("llama.cpp", "file", folder, 1)
    with ExitStack() as children:
        turn.load(children)
    assert turn.child is None
    assert "of memory are free" in (turn.result().unavailable or "")
