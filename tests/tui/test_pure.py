"""What the app shows, before anything draws it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import msgspec
import pytest

from ptune_tui.bundles import prompt_name_of
from ptune_tui.command_line import train_command
from ptune_tui.config import DataConfig, RunConfig, description, field_names, override
from ptune_tui.data import load_data
from ptune_tui.errors import DataError
from ptune_tui.events import (
    Continued,
    Diverged,
    ExportDone,
    Paused,
    PreviewRow,
    RolledBack,
    StageFinished,
    StageProgress,
    StageStarted,
    StepDone,
    TaskFailed,
    TaskStarted,
)
from ptune_tui.hardware import Accelerator, machine
from ptune_tui.known_models import numbers_of
from ptune_tui.model_catalogue import CATALOGUE
from ptune_tui.model_numbers import DEFAULT_MODEL_NUMBERS
from ptune_tui.series import Thinned, decimate
from ptune_tui.tasks import ExportTask
from ptune_tui.tui import fields, fitting, form_values, preset_form
from ptune_tui.tui.bindings import ACTIONS
from ptune_tui.tui.export_state import ExportState
from ptune_tui.tui.run_state import RunState
from ptune_tui.tui.run_status import run_status
from ptune_tui.tui.screens.questions import work_words
from ptune_tui.tui.session import Work
from ptune_tui.tui.widgets.axes import TensAxis, UpAxis
from ptune_tui.tui.widgets.plan_panel import plan_text
from ptune_tui.tui.widgets.preview_pane import row_text
from ptune_tui.tui.widgets.run_panels import ending_lines, scores_text
from ptune_tui.tui.widgets.stage_list import stage_text, waiting_sentence
from ptune_tui.tui.widgets.tiles import figures
from ptune_tui.tui.wording import bytes_text, seconds_text
from tests.tui import fakes


def state_of(events: list) -> RunState:
    state = RunState()
    for event in events:
        state.add(event)
    return state


def test_form_has_the_configuration_s_descriptions_and_defaults() -> None:
    by_name = {field.name: field for field in fields.form_fields()}
    assert by_name["training.max_steps"].help == "optimiser steps"
    assert by_name["training.max_steps"].default == "300"
    assert by_name["method.init"].choices == ("labels", "prompt", "text", "vocabulary")
    assert by_name["method.reparametrise"].choices == ("off", "on")
    for name in field_names():
        part, key = name.split(".")
        value = getattr(getattr(RunConfig(), part), key)
        assert by_name[name].help == description(name)
        default = by_name[name].default
        assert default == ("" if value is None else "off" if value is False else str(value))
    assert set(by_name) == {*field_names(), fields.PRESET}


def test_untouched_form_is_the_default_configuration() -> None:
    assert form_values.read_form(form_values.write_form(RunConfig())) == (RunConfig(), {})


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("training.max_steps", "0", "Expected int >= 1."),
        ("training.max_steps", "many", "A whole number is needed, not `many`."),
        ("training.learning_rate", "-1", "Expected float > 0.0."),
        ("training.batch_size", "", "Something is needed here; the default is 32."),
        ("data.validation", "nowhere.jsonl", "There is no file nowhere.jsonl."),
        ("model.source", "./nowhere.gguf", "There is no model `./nowhere.gguf`"),
        ("data.train", "", "Write the path of a data file or folder, or a hub id"),
        ("data.template", "Topic:", "It needs {prompt} exactly once"),
        ("data.template", "{{ title", "The template is not valid Jinja"),
    ],
)
def test_each_field_says_what_is_wrong_with_it(name: str, text: str, sentence: str) -> None:
    config, problems = form_values.read_form({**form_values.write_form(RunConfig()), name: text})
    assert config is None
    assert list(problems) == [name]
    assert problems[name].startswith(sentence)


@pytest.mark.parametrize(
    "name", ["model.source", "data.train", "data.validation", "method.init_prompt"]
)
@pytest.mark.parametrize("text", ["~no-such-user/x", "x" * 300], ids=["no user", "too long"])
def test_text_that_can_be_no_path_is_a_problem_of_its_field(name: str, text: str) -> None:
    texts = form_values.write_form(RunConfig())
    if name == "method.init_prompt":
        texts["method.init"] = "prompt"
    config, problems = form_values.read_form({**texts, name: text})
    assert config is None
    assert list(problems) == [name]
    assert problems[name].startswith(("There is no user of", "This path cannot be used: file name"))


def test_form_holds_any_configuration(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "response": "b"}\n')
    changes = {
        "data.train": str(path),
        "data.template": "News: {{ title | replace('\\n', ' ') }}\n Topic: ",
        "data.response_field": "label",
        "method.name": "prefix",
        "method.reparametrise": True,
        "method.mlp_size": 64,
        "method.init_text": " two\nlines ",
        "training.learning_rate": 1e-5,
        "training.checkpointing": "on",
    }
    config = override(RunConfig(), changes)
    assert form_values.read_form(form_values.write_form(config)) == (config, {})


def test_command_names_what_is_not_default() -> None:
    assert train_command(RunConfig()) == "ptune train"
    changes = {"model.source": "my model", "training.max_steps": 7, "method.num_virtual_tokens": 9}
    config = override(RunConfig(), changes)
    command = "ptune train --model 'my model' --num-virtual-tokens 9 --max-steps 7"
    assert train_command(config) == command


def test_rows_are_measured_by_their_longest_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("x" * 299 + "\n" + "y\n")
    assert fitting.row_tokens(DataConfig(train=str(path))) == 101
    assert fitting.row_tokens(DataConfig(train=str(path), max_tokens=64)) == 64
    assert fitting.row_tokens(DataConfig(train="nowhere")) == 512


def test_fit_takes_the_kernel_that_fits_then_fewer_rows_and_looks_at_the_card() -> None:
    def line(free_bytes: int, *flags: str, card: Accelerator | None = None) -> fitting.FitLine:
        here = dataclasses.replace(
            machine(),
            available_memory_bytes=free_bytes,
            processor_flags=flags,
            accelerator=card,
        )
        return fitting._compare(RunConfig(), DEFAULT_MODEL_NUMBERS, here)

    assert line(64 << 30).fit == "fits"
    assert "(cached, " in line(64 << 30).text
    assert "(int8, " in line(64 << 30, "avx512_vnni").text
    fewer = line(2 << 30)
    assert fewer.fit == "fits"
    assert "rows at a time" in fewer.text
    little = line(600 << 20)
    assert (little.fit, "1 row at a time" in little.text) == ("does not fit", True)
    assert little.advice == "close other programs"
    assert not fewer.advice
    assert "of 25.8 GB free" in line(1 << 30, card=Accelerator("Card", 24 << 30, 24 << 30)).text


@pytest.mark.parametrize(
    ("source", "gibibytes", "changes"),
    [
        ("default", 1.0, {"training.micro_batch_size": 32}),
        ("default", 1.0, {"model.kernel": "cached"}),
        ("google/gemma-3-1b-it", 1.7, {}),
        ("google/gemma-3-1b-it", 1.55, {"data.train": "nowhere", "model.kernel": "int8"}),
        ("microsoft/Phi-3-mini-4k-instruct", 2.0, {}),
    ],
)
def test_advice_that_is_taken_makes_it_fit(
    source: str, gibibytes: float, changes: dict[str, object]
) -> None:
    here = dataclasses.replace(
        machine(),
        available_memory_bytes=int(gibibytes * (1 << 30)),
        processor_flags=(),
        accelerator=None,
    )

    def line(config: RunConfig) -> fitting.FitLine:
        numbers = numbers_of(config.model.source)
        assert numbers is not None
        return fitting._compare(config, numbers, here)

    config = override(RunConfig(), {"model.source": source, **changes})
    first = line(config)
    assert first.fit != "fits"
    before, _, name = first.advice.partition("such as ")
    if name:
        (known,) = (model.hub_id for model in CATALOGUE if model.hub_id.endswith(f"/{name}"))
        assert line(override(config, {"model.source": known})).fit == "fits"
        return
    settings = before.removeprefix("set ").removesuffix(", or 0 for what fits")
    places = {"batch": "training", "checkpointing": "training", "kernel": "model", "tokens": "data"}
    for setting in settings.replace(", and ", ", ").split(", "):
        words, value = setting.split(" to ")
        part = next(places[word] for word in words.split() if word in places)
        number = int(value) if value.isdigit() else value
        config = override(config, {f"{part}.{words.replace(' ', '_')}": number})
    assert line(config).fit == "fits", first.advice


def test_state_folds_a_run() -> None:
    state = state_of(fakes.finished())
    assert len(state.losses) == 300
    assert state.base is not None
    assert state.base.accuracy == 0.614
    assert state.best is not None
    assert state.best.step == 300
    assert [sample.step for sample in state.samples] == [300] * 3
    assert state.task.stages["evaluate"].num_passes == 4
    assert state.task.is_over


def test_failed_run_keeps_its_seconds_and_marks_its_stage() -> None:
    state = state_of(fakes.failed("log"))
    assert isinstance(state.task.failure, TaskFailed)
    assert stage_text(state.task.stages["train"], 0.0).startswith("✗ train           53 s")
    assert state.task.stages["save"].status == "left out"


def test_divergence_is_a_notice() -> None:
    state = state_of([Diverged(3, "loss")])
    assert "step 3" in state.task.notices[0].message


def test_rolled_back_and_resumed_run_forgets_the_steps_that_are_done_again() -> None:
    state = state_of(fakes.diverged())
    assert [number for number, _ in state.losses] == list(range(1, 136))
    assert [notice.code for notice in state.task.notices] == ["rows-cut", "rolled-back", "resumed"]
    assert "went back to step 125, at a peak rate of 0.0062" in state.task.notices[1].message
    assert not state.task.is_over
    assert state.task.stages["save"].detail == "best 100, last 125"


def test_plan_is_said_in_a_line() -> None:
    assert plan_text(fakes.PLAN) == (
        "int8, float32 on cpu · 0.7 s a step · 16 rows at a time · widths in steps of 8 · 2.0 GB"
    )
    frugal = msgspec.structs.replace(fakes.PLAN, checkpointing=True, seconds_per_step=None)
    assert "layers recomputed" in plan_text(frugal)
    packed = msgspec.structs.replace(fakes.PLAN, is_packed=True)
    assert "widths" not in plan_text(packed)
    assert "a step" not in plan_text(frugal)


def test_preset_leaves_what_was_written() -> None:
    before = preset_form.preset_texts(None, DataConfig())
    now = preset_form.preset_texts("best", DataConfig())
    texts = {**before, "method.num_virtual_tokens": "9"}
    found = preset_form.changes(texts, before, now)
    assert found["method.name"] == "prefix"
    assert "method.num_virtual_tokens" not in found
    assert preset_form.changes({**texts, **found}, now, before)["method.name"] == "prompt"


def test_size_of_the_data_is_that_of_the_rows_to_train_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "abc", "response": "b"}\n' * 40)
    size = preset_form.data_size(DataConfig(train=str(path)))
    assert (size.num_train_rows, size.mean_characters, size.has_labels) == (36, 4.0, True)
    split = load_data(DataConfig(train=str(path)), 0)
    assert len(split.train) == size.num_train_rows
    own = DataConfig(train=str(path), validation=str(path))
    assert preset_form.data_size(own).num_train_rows == 40


def test_size_of_a_folder_is_that_of_its_training_split(tmp_path: Path) -> None:
    line = '{"prompt": "abc", "response": "b"}\n'
    (tmp_path / "train.jsonl").write_text(line * 40)
    assert preset_form.data_size(DataConfig(train=str(tmp_path))).num_train_rows == 36
    (tmp_path / "dev.jsonl").write_text(line * 4)
    data = DataConfig(train=str(tmp_path), max_tokens=64)
    assert preset_form.data_size(data).num_train_rows == len(load_data(data, 0).train) == 40
    assert fitting.row_tokens(data) == 64
    with pytest.raises(DataError, match="owner/name is not on this disk yet"):
        preset_form.data_size(DataConfig(train="owner/name"))


def test_rates_are_named_on_their_axis() -> None:
    axis = TensAxis()
    assert axis.get_ticks_and_labels(-3.05, -0.9)[1] == ["0.001", "0.003", "0.01", "0.03", "0.1"]
    assert axis.get_ticks_and_labels(-3.05, 2.05)[1] == ["0.001", "0.01", "0.1", "1", "10", "100"]


@pytest.mark.parametrize("num_rows", [4, 5, 7, 10, 30])
@pytest.mark.parametrize(
    ("low", "high"), [(0.02, 2.61), (-1.0, 7.3), (1e-5, 9.6e-5), (3.0, 3.04), (0.3, 2.3)]
)
def test_ticks_of_an_axis_that_goes_up_never_share_a_row(
    num_rows: int, low: float, high: float
) -> None:
    ticks, labels = UpAxis(lambda: num_rows).get_ticks_and_labels(low, high)
    assert 2 <= len(ticks) == len(set(labels)) <= max(3, num_rows // 2 + 1)
    rows = [round((tick - low) / (high - low) * (num_rows - 1)) for tick in ticks]
    assert len(set(rows)) == len(rows)
    assert all(len(label) <= 5 for label in labels)
    assert [float(label) for label in labels] == pytest.approx(ticks, abs=1e-9)


def test_running_stage_counts_seconds_and_says_how_far_it_is() -> None:
    state = state_of(fakes.running())
    now = fakes.START + 130
    assert stage_text(state.task.stages["train"], now).split() == [
        "▸", "train", "1", "min", "53", "s", "120/300",
    ]  # fmt: skip


def test_training_and_the_validations_within_it_are_not_counted_twice() -> None:
    started = fakes.START + 10
    state = state_of([*fakes.paused()])
    train = state.task.stages["train"]
    assert train.seconds_at(started + 500) == pytest.approx(120 * 0.9 - 2 * 3.4)
    for event in (StageStarted("evaluate", started + 300), StageFinished("evaluate", 20.0)):
        state.add(event)
        assert state.is_scoring is isinstance(event, StageStarted)
    state.add(Continued(120, 200.0))
    assert train.seconds_at(started + 330) == pytest.approx(330 - 200 - 2 * 3.4 - 20)
    state.add(StageStarted("evaluate", started + 330))
    assert train.seconds_at(started + 350) == train.seconds_at(started + 330)
    state.add(StageFinished("evaluate", 20.0))
    state.add(StageFinished("train", 150.0))
    assert train.seconds_at(started + 999) == pytest.approx(150 - 2 * 3.4 - 2 * 20)
    assert state.task.stages["evaluate"].seconds == pytest.approx(3 * 3.4 + 2 * 20)


@pytest.mark.parametrize(
    ("told", "words", "status"),
    [
        ("is_stopping", "Stopping once the validation rows are scored...", "▸ stopping, scoring"),
        ("is_pausing", "Pausing once the validation rows are scored...", "▸ evaluating 120/300"),
        ("is_paused", None, "‖ paused, scoring 120/300"),
    ],
)
def test_a_run_that_scores_before_it_obeys_says_so(
    told: str, words: str | None, status: str
) -> None:
    state = state_of([*fakes.running(), StageStarted("evaluate", fakes.START)])
    setattr(state, told, True)
    assert ending_lines(state, None, "") == ([words] if words else [])
    assert run_status(state, is_active=True).startswith(status)


def test_export_state_knows_its_bundle(tmp_path: Path) -> None:
    state = ExportState(ExportTask("run", str(tmp_path), "prompt"))
    for event in fakes.exported(tmp_path):
        state.add(event)
    assert state.bundle == tmp_path
    assert state.task.stages["parity"].status == "done"
    folder = ExportState(ExportTask("run", str(tmp_path), "prompt", format="gguf"))
    assert list(folder.task.stages) == ["load", "build", "write"]
    folder.add(ExportDone(str(tmp_path), 1 << 20))
    assert folder.bundle is None


def test_prompt_is_named_by_its_data() -> None:
    names = [prompt_name_of(data) for data in ("support_inbox", "/a/trec/train.jsonl", "a b.csv")]
    assert names == ["support_inbox", "trec", "a-b"]


def test_decimation_keeps_peaks_and_drops_what_is_not_finite() -> None:
    points = [(float(step), 1.0) for step in range(1000)]
    points[500] = (500.0, 9.0)
    points[7] = (7.0, math.inf)
    kept = decimate(points, 40)
    assert len(kept) <= 40
    assert (500.0, 9.0) in kept
    assert kept == sorted(kept)
    assert decimate([(1.0, math.nan)], 40) == []


def test_preview_marks_the_loss_without_colour() -> None:
    row = PreviewRow(["It", " broke", "\n", "returns", "<end>"], [False] * 3 + [True] * 2, True)
    assert row_text(row).plain == "…It broke↵[returns|<end>]"


def test_numbers_read_well() -> None:
    assert [seconds_text(value) for value in (0.42, 12.4, 59.9, 185, 7800)] == [
        "0.4 s", "12 s", "1 min 00 s", "3 min 05 s", "2 h 10 min",
    ]  # fmt: skip
    assert [bytes_text(value) for value in (85 << 20, 3 << 29)] == ["89 MB", "1.6 GB"]


def test_a_run_that_went_back_forgets_the_steps_it_does_again() -> None:
    state = RunState()
    for number in (1, 2, 3):
        state.add(fakes.step(number))
    state.add(Diverged(4, "loss"))
    state.add(RolledBack(4, 1, 0.1, "the loss of step 4 is not finite"))
    assert [number for number, _ in state.losses] == [1]
    state.add(fakes.step(2))
    assert [number for number, _ in state.losses] == [1, 2]
    assert [notice.code for notice in state.task.notices] == ["rolled-back"]


def test_a_run_that_was_told_to_wait_says_so_until_it_does() -> None:
    state = RunState()
    for event in fakes.running():
        state.add(event)
    state.is_pausing = True
    assert ending_lines(state, None, "") == ["Pausing after this step..."]
    state.add(Paused(120))
    assert ending_lines(state, None, "") == []
    stage = state.task.stages["train"]
    assert stage.seconds_at(fakes.START + 9999) == stage.elapsed == 120 * 0.9 - 2 * 3.4
    state.add(Continued(120, 500.0))
    assert stage.seconds_at(fakes.START + 10 + 500 + 200) == pytest.approx(200 - 2 * 3.4)


def test_status_names_the_stage_and_the_ending() -> None:
    state = RunState()
    said = [run_status(state, is_active=True)]
    for event in fakes.running():
        state.add(event)
        words = run_status(state, is_active=True)
        if words.split("/")[0].rstrip("0123456789") != said[-1].split("/")[0].rstrip("0123456789"):
            said.append(words)
    assert said == [
        "▸ starting",
        "▸ preparing",
        "▸ loading",
        "▸ preparing",
        "▸ tokenising",
        "▸ preparing",
        "▸ probing",
        "▸ preparing",
        "▸ evaluating",
        "▸ preparing",
        "▸ training",
        "▸ training 1/300",
        "▸ evaluating 50/300",
        "▸ training 50/300",
        "▸ evaluating 100/300",
        "▸ training 100/300",
    ]
    state.add(TaskFailed("interrupted", "Interrupted.", "", ""))
    assert run_status(state, is_active=False) == "□ interrupted"


def test_free_text_is_told_by_its_matches_and_its_loss() -> None:
    state = RunState()
    for event in fakes.free_text():
        state.add(event)
    text = scores_text(state.base, state.tuned, state.best).plain
    assert text == ("exact, loss  base 0.0 %, 2.87   tuned 2.0 %, 1.31 step 50   best step 50")
    assert state.validation_points == [(0, 2.87), (50, 1.31)]


def test_what_goes_on_is_said_before_the_first_step() -> None:
    progress = RunState().task
    assert "Python and torch take some seconds" in waiting_sentence(progress, 0.0)
    progress.add(TaskStarted(fakes.START, 1, "train"))
    progress.add(StageStarted("load", fakes.START))
    progress.add(StageProgress("load", 120, 272, "quantise layer 13 of 30"))
    assert waiting_sentence(progress, 0.0) == "load: quantise layer 13 of 30 (120 of 272)"
    load = stage_text(progress.stages["load"], fakes.START + 2)
    assert load == "▸ load           2.0 s quantise layer 13 of 30"


def test_a_worker_that_goes_on_shows_nothing_of_the_one_before() -> None:
    state = RunState()
    for event in fakes.running():
        state.add(event)
    before = figures(state)
    assert run_status(state, is_active=True) == "▸ training 120/300"

    def waits(words: str) -> None:
        assert run_status(state, is_active=True) == words
        stages = [stage for stage in state.task.stages.values() if stage.name != "import"]
        assert {stage.status for stage in stages} == {"waiting"}
        assert not any(stage.seconds_at(fakes.START + 999) for stage in stages)
        assert stage_text(state.task.stages["save"], 0.0) == "· save      best 100, last 100"
        assert figures(state) == (*before[:4], "-", before[5])

    state.go_on()  # in the app that resumes it
    waits("▸ starting")
    state.task.is_up = True
    state.add(TaskStarted(fakes.START + 100, 4250, "train"))  # in any app
    waits("▸ preparing")
    state.add(StageStarted("import", fakes.START + 100, "torch"))
    waits("▸ starting")
    assert next(iter(state.task.stages)) == "import"
    said = waiting_sentence(state.task, fakes.START + 112)
    assert said == "The worker starts: importing torch (12 s)."
    state.add(StageFinished("import", 13.0))
    waits("▸ preparing")
    for event in fakes.resumed():
        state.add(event)
    assert run_status(state, is_active=True) == "▸ training 135/300"
    assert figures(state)[4] == "2 min 28 s"
    assert state.task.stages["evaluate"].status == "waiting"


@pytest.mark.parametrize(
    ("num_steps", "words"), [(300, "300/300"), (60_000, "60000/60000"), (100_000, "100000")]
)
def test_steps_fit_into_their_tile(num_steps: int, words: str) -> None:
    state = RunState()
    for event in fakes.beginning():
        state.add(event)
    state.add(StepDone(num_steps, num_steps, 0.5, 0.01, 1.0, 2000.0, 1 << 30, 9.0, 0.0))
    assert figures(state)[0] == words


def test_no_key_of_a_place_is_another_action_s_too() -> None:
    for place in {action.place for action in ACTIONS} - {"app"}:
        keys = [
            key
            for action in ACTIONS
            if action.place in ("app", place)
            for key in action.key.split(",")
        ]
        assert len(keys) == len(set(keys)), place


def test_a_curve_that_grows_is_thinned_as_it_is_at_once() -> None:
    curve = [(float(step), math.sin(step * 1.7) * step) for step in range(5000)]
    curve[17] = (17.0, math.nan)
    finite = [point for point in curve if math.isfinite(point[1])]
    thinned = Thinned(100)
    for length in (0, 1, 99, 100, 101, 3000, 5000):
        kept = thinned.follow(curve[:length])
        assert kept == sorted(kept)
        assert len(kept) <= 100
        if length:
            losses = [loss for _, loss in finite if _ < length]
            assert (max(kept, key=lambda p: p[1])[1], min(p[1] for p in kept)) == (
                max(losses), min(losses),
            )  # fmt: skip
    assert kept == Thinned(100).follow(curve)
    back = [*curve[:40], (40.0, 7.0)]  # the run went back, and did a step again
    assert thinned.follow(back) == [point for point in back if math.isfinite(point[1])]
    other = [(float(step), 1.0) for step in range(6000)]
    assert thinned.follow(other)[0] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("work", "is_paused", "words"),
    [
        (["training"], False, "The training still goes on."),
        (["training"], True, "The training is paused."),
        (["export"], False, "The export still goes on."),
        (["range test"], False, "The range test still goes on."),
        (["training", "comparison"], True, "The training is paused. The comparison still goes on."),
        (["training", "export"], False, "The training and the export still go on."),
        (
            ["training", "export", "comparison"],
            False,
            "The training, the export and the comparison still go on.",
        ),
    ],
)
def test_all_work_is_named_on_leaving(work: list[Work], is_paused: bool, words: str) -> None:
    assert work_words(work, is_paused) == words
