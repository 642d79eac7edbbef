"""The whole path through the command line, with the tiny model: train, eval, export, run, chat."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ptune_tui.jobs import attach
from ptune_tui.results import Evaluation
from tests.cli.conftest import Outcome, run_ptune


@dataclass(frozen=True)
class Journey:
    """A run and a bundle that the command line made."""

    home: Path
    run: Path
    bundle: Path
    rows: Path
    trained: Outcome
    exported: Outcome

    def ptune(self, *arguments: object, stdin: str = "") -> Outcome:
        return run_ptune(*arguments, home=self.home, stdin=stdin)


@pytest.fixture(scope="module")
def journey(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, label_rows: Path
) -> Journey:
    home = tmp_path_factory.mktemp("journey")
    run, bundle = home / "run", home / "bundle"
    options = ["--max-steps", 8, "--batch-size", 8, "--evaluate-every", 4, "--threads", 1]
    trained = run_ptune(
        *("train", "--model", tiny_model, "--data", label_rows, "--num-virtual-tokens", 5),
        *("--out", run, *options),
        home=home,
    )
    assert trained.code == 0, trained.err
    exported = run_ptune("export", run, "--out", bundle, "--name", "mine", home=home)
    assert exported.code == 0, exported.err
    return Journey(home, run, bundle, label_rows, trained, exported)


def test_train_talks_on_stderr_only_and_names_the_next_command(journey: Journey) -> None:
    assert journey.trained.out == ""
    assert "step 8/8" in journey.trained.err
    assert "without a soft prompt: accuracy" in journey.trained.err
    assert f"ptune export {journey.run}" in journey.trained.err


def test_export_prints_what_the_gate_measured(journey: Journey) -> None:
    assert "exact: relative error" in journey.exported.err
    assert "20 of 20 greedy texts identical" in journey.exported.err
    assert (journey.bundle / "manifest.json").is_file()


def test_a_prompt_is_added_to_a_bundle_and_answers(journey: Journey, tmp_path: Path) -> None:
    bundle = shutil.copytree(journey.bundle, tmp_path / "bundle")
    added = journey.ptune("export", journey.run, "--into", bundle, "--name", "again")
    assert added.code == 0, added.err
    assert "--prompt again" in added.err
    answers = [
        journey.ptune("run", bundle, "the cat sat", "--prompt", name).out
        for name in ("mine", "again")
    ]
    assert answers[0] == answers[1] != ""


def test_an_export_needs_one_place_to_go_to(journey: Journey) -> None:
    for places in ((), ("--out", "a", "--into", "b")):
        done = journey.ptune("export", journey.run, *places)
        assert done.code == 2
        assert "--into BUNDLE" in done.err


def test_a_run_is_written_for_transformers(journey: Journey, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    done = journey.ptune("export", journey.run, "--out", folder, "--format", "transformers")
    assert done.code == 0, done.err
    assert f"written: {folder}" in done.err
    assert {"config.json", "model.safetensors", "chat_template.jinja", "ptune.json"} <= {
        path.name for path in folder.iterdir()
    }


@pytest.mark.parametrize(
    "options",
    [
        ("--into", "bundle", "--format", "gguf"),
        ("--out", "folder", "--format", "gguf", "--precision", "exact"),
        ("--out", "folder", "--dtype", "bfloat16"),
    ],
)
def test_options_that_a_format_does_not_have_are_refused(
    journey: Journey, options: tuple[str, ...]
) -> None:
    done = journey.ptune("export", journey.run, *options)
    assert done.code == 2
    assert "Leave it out" in done.err


def test_generation_options_reach_the_answer(journey: Journey) -> None:
    free = ("run", journey.bundle, "the cat sat", "--generate", "--max-new-tokens", 6, "--json")
    plain = json.loads(journey.ptune(*free).out)
    assert plain["finish_reason"] in ("length", "end")
    stop = plain["answer"][1:3]
    stopped = json.loads(journey.ptune(*free, "--stop", stop).out)
    assert stopped["answer"] == plain["answer"][: plain["answer"].index(stop)]
    assert stopped["finish_reason"] == "stop"
    refused = journey.ptune(*free, "--top-p", 0)
    assert refused.code == 2
    assert "top_p is 0" in refused.err


@pytest.mark.parametrize("which", ["run", "bundle"])
def test_eval_prints_one_json_object_with_scikit_learn_s_scores(
    journey: Journey, tmp_path: Path, which: str
) -> None:
    target = journey.run if which == "run" else journey.bundle
    answers, table = tmp_path / "answers.jsonl", tmp_path / "table.json"
    done = journey.ptune(
        *("eval", target, "--data", journey.rows, "--json", "--base", "--no-forgetting"),
        *("--predictions", answers, "--out", table),
    )
    assert done.code == 0, done.err
    found = msgspec.json.decode(done.out, type=Evaluation)
    assert msgspec.json.decode(table.read_bytes(), type=Evaluation) == found
    base, tuned = found.contenders
    assert base.key == "base"
    rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    expected = [row["expected"] for row in rows]
    given = [row["answer"] for row in rows]
    assert found.num_rows == len(rows) == 48
    assert tuned.score("accuracy") == pytest.approx(accuracy_score(expected, given))
    assert tuned.score("macro_f1") == pytest.approx(
        f1_score(expected, given, average="macro", zero_division=0)
    )
    assert tuned.seconds > 0
    assert found.command.startswith(f"ptune eval {target} --data")
    flipped = [flip.row for flip in found.flips]
    assert [flip.after for flip in found.flips] == [given[row - 1] for row in flipped]


def test_run_and_exact_bundle_answer_alike_and_flips_are_listed(journey: Journey) -> None:
    done = journey.ptune(
        *("eval", journey.bundle, "--precision", "exact", "--data", journey.rows),
        *("--against", journey.run, "--json"),
    )
    assert done.code == 0, done.err
    found = msgspec.json.decode(done.out, type=Evaluation)
    shipped, trained = found.contenders
    assert (found.flips_from, found.flips_to) == (trained.title, shipped.title)
    assert found.flips == []
    assert trained.computed_by in ("torch, stream", "torch, cached")
    assert shipped.computed_by == "onnxruntime, exact"
    assert shipped.confusion == trained.confusion


def test_eval_makes_one_table_of_the_run_its_baselines_and_its_bundle(journey: Journey) -> None:
    done = journey.ptune(
        *("eval", journey.run, "--data", journey.rows, "--max-rows", 12, "-v"),
        *("--bundle", journey.bundle, "--examples", 4),
    )
    assert done.code == 0, done.err
    for title in ("base (zero-shot)", "instruction", "few-shot (4 examples)", "tuned prompt"):
        assert f"\n{title} " in done.out
        assert f"evaluate ({title})" in done.err
    assert "\nbundle (" in done.out
    assert max(map(len, done.out.splitlines()[2:8])) <= 80
    assert "12 rows, 3 labels" in done.out
    assert (journey.run / "evaluation.json").is_file()
    card = (journey.run / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "few-shot (4 examples)" in card
    stored = (journey.run / "evaluation.json").read_bytes()
    quick = ("--max-rows", 3, "--baselines", "none", "--no-forgetting")
    looked = journey.ptune("eval", journey.run, "--data", journey.rows, *quick)
    assert looked.code == 0, looked.err
    assert "12 rows and 5 lines" in looked.err
    assert "`--out`" in looked.err
    assert (journey.run / "evaluation.json").read_bytes() == stored
    adapter = (journey.run / "adapter" / "adapter_model.safetensors").read_bytes()
    assert json.loads(stored)["prompt_hash"] == hashlib.sha256(adapter).hexdigest()


def test_eval_refuses_what_no_line_of_the_table_would_read(journey: Journey) -> None:
    for options in (("--instruction", "Say it."), ("--train", journey.rows), ("--examples", 3)):
        done = journey.ptune(
            "eval", journey.run, "--data", journey.rows, "--baselines", "base", *options
        )
        assert done.code == 2
        assert f"`{options[0]}` was given" in done.err


def test_eval_checks_places_and_options_before_it_loads_a_model(journey: Journey) -> None:
    for target, options, message in (
        (journey.run, ("--predictions", "nowhere/x.jsonl"), "There is no folder nowhere"),
        (journey.bundle, ("--force",), "`--force` was given"),
    ):
        done = journey.ptune("eval", target, "--data", journey.rows, *options)
        assert done.code == 2, done.err
        assert message in done.err
        assert "load" not in done.err


def test_a_line_break_in_an_instruction_is_written_as_in_a_template(journey: Journey) -> None:
    done = journey.ptune(
        *("eval", journey.bundle, "--data", journey.rows, "--max-rows", 2, "--json"),
        *("--baselines", "instruction", "--instruction", "Q: {prompt}\\nA:", "--no-forgetting"),
    )
    assert done.code == 0, done.err
    (told, _) = msgspec.json.decode(done.out, type=Evaluation).contenders
    assert told.detail.startswith("Q: {prompt}\nA:")


def test_run_answers_an_argument_a_file_and_standard_input_alike(
    journey: Journey, tmp_path: Path
) -> None:
    one = journey.ptune("run", journey.bundle, "the cat sat", "--json")
    assert one.code == 0, one.err
    answer = json.loads(one.out)
    assert answer["answer"] in ("good", "bad red", "bad green")
    assert 1 / 3 <= answer["probability"] <= 1
    assert answer["log_probability"] < 0
    calm = journey.ptune("run", journey.bundle, "the cat sat", "--json", "--no-spin")
    assert json.loads(calm.out)["answer"] == answer["answer"]
    piped = journey.ptune("run", journey.bundle, stdin="the cat sat\nthe dog\n")
    assert piped.out.splitlines()[0] == answer["answer"]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.txt"
    source.write_text('{"prompt": "the cat sat"}\n{"prompt": "the dog"}\n', encoding="utf-8")
    filed = journey.ptune("run", journey.bundle, "--input", source, "--output", target)
    assert filed.out == ""
    missing = journey.ptune("run", journey.bundle, "--input", "nowhere.txt")
    assert "There is no file nowhere.txt." in missing.err
    assert missing.code == 3
    assert target.read_text(encoding="utf-8") == piped.out


def test_chat_answers_lines_with_base_and_tuned(journey: Journey) -> None:
    done = journey.ptune("chat", journey.bundle, stdin="the cat\n")
    assert done.code == 0, done.err
    base, tuned = done.out.splitlines()
    assert base.startswith("base: ")
    assert tuned.startswith("tuned: ")


def test_runs_and_models_are_listed_for_people_and_programs(
    journey: Journey, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"no such file")
    trained = journey.ptune(
        *("train", "--model", damaged, "--data", journey.rows, "--max-steps", 1)
    )
    assert trained.code == 4
    listed = json.loads(journey.ptune("runs", "--json").out)
    assert [run["status"] for run in listed] == ["failed", "finished"]  # the other lies elsewhere
    assert "damaged.gguf" in listed[0]["error"]
    assert json.loads(journey.ptune("models", "--json").out) == []
    assert "No models" in journey.ptune("models").err


def test_events_come_as_json_lines_on_stdout(journey: Journey, tiny_model: Path) -> None:
    done = journey.ptune(
        *("train", "--model", tiny_model, "--data", journey.rows, "--max-steps", 2),
        *("--batch-size", 4, "--display", "json", "--threads", 1),
    )
    kinds = [json.loads(line)["type"] for line in done.out.splitlines()]
    assert kinds[0] == "TaskStarted"
    assert kinds[-1] == "TaskFinished"
    assert kinds.count("StepDone") == 2
    assert done.err == ""


def test_version_and_doctor(journey: Journey) -> None:
    assert journey.ptune("--version").out.startswith("ptune ")
    found = json.loads(journey.ptune("doctor", "--json").out)
    assert any(check["name"] for check in found)


def test_a_run_is_found_by_its_name(journey: Journey, tiny_model: Path) -> None:
    done = journey.ptune("eval", "nosuchrun", "--data", journey.rows)
    assert done.code == 2
    assert "nosuchrun" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_an_interrupt_stops_after_the_step_saves_and_ends_with_130(
    tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "ptune_tui", "train", "--model", str(tiny_model), "--data"),
        *(str(label_rows), "--max-steps", "100000", "--threads", "1", "--out", str(run)),
    ]
    environment = {**os.environ, "PTUNE_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell's background job ignores the signal, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        events = run / "events.jsonl"
        deadline = time.monotonic() + 120
        while not (events.is_file() and b"StepDone" in events.read_bytes()):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=120)
    finally:
        process.kill()
        attach(run).kill()  # the worker is in a session of its own
    assert process.returncode == 130
    assert "Stopping after this step and saving" in talk
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    assert b"TaskFinished" in events.read_bytes().splitlines()[-1]
