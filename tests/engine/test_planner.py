"""Plans: what is forced is kept, what is chosen is said, and a probe leaves no trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

from ptune_tui import config as configuration
from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.engine import gradient
from ptune_tui.engine import planner as planning
from ptune_tui.engine.checkpoints import read_latest
from ptune_tui.engine.fused.step import FusedStep
from ptune_tui.engine.fused.weights import FloatWeight
from ptune_tui.engine.gradient import LayerStep
from ptune_tui.engine.methods.factory import make_method
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.planner import Planner
from ptune_tui.engine.product_speed import int8_speedup
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.events import Command, Event, PlanMade, StepDone, Stop
from ptune_tui.tasks import TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.train import train
from quant.native import passes
from quant.native.build import Build, build
from tests.engine.test_families import LEAD, ROWS

PACKAGE = Path(configuration.__file__).parent
needs_compiler = pytest.mark.skipif(build().library is None, reason=build().reason)


@pytest.fixture(scope="module")
def frozen(tiny_model: Path) -> FrozenModel:
    return load_frozen(tiny_model, "tiny", "int4", "stream")


@pytest.fixture
def _no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient, "build", lambda: Build(None, "there is no C++ compiler here"))
    monkeypatch.setattr(passes, "is_available", lambda: False)


def planner(frozen: FrozenModel, model: ModelConfig | None = None, **settings: object) -> Planner:
    start = VirtualTokens(frozen.embed(torch.tensor([3, 4, 5])))
    method = make_method("prompt", frozen, start, mlp_size=8, rank=4, reparametrise=False, seed=0)
    training = TrainingConfig(batch_size=8, **settings)  # type: ignore[arg-type]
    return Planner(frozen, method, ROWS * 3, LEAD, MethodConfig(), model or ModelConfig(), training)


@pytest.mark.parametrize("kernel", ["stream", "cached", "int8"])
def test_what_is_forced_is_kept(frozen: FrozenModel, kernel: str) -> None:
    planned = planner(
        frozen,
        ModelConfig(kernel=kernel, num_outlier_channels=3),  # type: ignore[arg-type]
        micro_batch_size=3,
        checkpointing="on",
        bucket_width=24,
    ).make()
    plan, event = planned.plan, planned.event
    assert (plan.kernel, plan.micro_batch_size, plan.bucket_width) == (kernel, 3, 24)
    assert plan.checkpointing
    assert (event.kernel, event.micro_batch_size, event.bucket_width) == (kernel, 3, 24)
    assert event.checkpointing
    assert any(f"`{kernel}`, as asked" in reason for reason in event.reasons)
    counts = {len(channels) for channels in plan.outlier_channels.values()}
    assert counts == ({3} if kernel == "int8" else set())


@pytest.mark.parametrize(
    ("speedup", "free_bytes", "kernel", "reason"),
    [
        (3.0, 10**11, "int8", "3.0 times as fast"),
        (1.1, 10**11, "cached", "only 1.1 times"),
        (1.1, 10**5, "stream", "only 1.1 times"),
    ],
)
def test_the_kernel_goes_by_measured_products_and_free_memory(
    frozen: FrozenModel,
    monkeypatch: pytest.MonkeyPatch,
    speedup: float,
    free_bytes: int,
    kernel: str,
    reason: str,
) -> None:
    monkeypatch.setattr(planning, "int8_speedup", lambda _: speedup)
    monkeypatch.setattr(planning, "free_bytes", lambda _: free_bytes)
    event = planner(frozen).make().event
    assert event.kernel == kernel
    assert any(reason in said for said in event.reasons)


@needs_compiler
@pytest.mark.parametrize(
    ("kernel", "asked", "processor", "chosen"),
    [
        ("int8", "auto", "bfloat16", "bfloat16"),
        ("int8", "auto", "float32", "float32"),
        ("int8", "float32", "bfloat16", "float32"),
        ("int8", "bfloat16", "float32", "bfloat16"),
        ("stream", "bfloat16", "bfloat16", "float32"),
    ],
)
def test_virtual_tokens_beside_integers_take_the_type_that_is_asked_for_or_faster(
    frozen: FrozenModel,
    monkeypatch: pytest.MonkeyPatch,
    kernel: str,
    asked: str,
    processor: str,
    chosen: str,
) -> None:
    monkeypatch.setattr(planning, "faster_type", lambda: processor)
    model = ModelConfig(kernel=kernel, prefix_type=asked)  # type: ignore[arg-type]
    planned = planner(frozen, model).make()
    assert planned.plan.prefix_type == chosen
    assert isinstance(planned.step, FusedStep)
    weight = planned.step.prefix_decoder.layers[0].qkv
    assert isinstance(weight, FloatWeight)
    assert weight.dtype == getattr(torch, chosen)
    told = [reason for reason in planned.event.reasons if "before the rows" in reason]
    (sentence,) = told
    assert ("changes nothing" in sentence) == (kernel == "stream")
    assert chosen in sentence or kernel == "stream"


@needs_compiler
@pytest.mark.parametrize(("lead", "chosen"), [([], "float32"), (LEAD, "bfloat16")])
def test_keys_and_values_alone_are_computed_from_nothing(
    frozen: FrozenModel, monkeypatch: pytest.MonkeyPatch, lead: list[int], chosen: str
) -> None:
    monkeypatch.setattr(planning, "faster_type", lambda: "bfloat16")
    start = VirtualTokens(frozen.embed(torch.tensor([3, 4, 5])))
    method = make_method("prefix", frozen, start, mlp_size=8, rank=4, reparametrise=False, seed=0)
    made = replace(planner(frozen, ModelConfig(kernel="int8")), method=method, lead=lead)
    assert made.make().plan.prefix_type == chosen


@pytest.mark.usefixtures("_no_compiler")
def test_a_type_that_nothing_reads_is_said(frozen: FrozenModel) -> None:
    model = ModelConfig(kernel="int8", prefix_type="bfloat16")
    planned = planner(frozen, model).make()
    assert planned.plan.prefix_type == "float32"
    assert any("changes nothing" in reason for reason in planned.event.reasons)


def test_layers_are_computed_again_before_micro_batches_get_tiny(
    frozen: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = planner(frozen, ModelConfig(kernel="stream"))
    sizes = {
        (size, again): whole._needed("stream", size, checkpointing=again)
        for size in (8, 4, 2, 1)
        for again in (False, True)
    }
    assert whole.make().plan.micro_batch_size == 8
    short = (sizes[4, True] or 0) / planning._MEMORY_SHARE
    monkeypatch.setattr(planning, "free_bytes", lambda _: int(short) + 1)
    found = planner(frozen, ModelConfig(kernel="stream")).make()
    needed = sizes[found.plan.micro_batch_size, found.plan.checkpointing]
    assert needed is not None
    assert needed <= short * planning._MEMORY_SHARE + 1
    assert found.plan.micro_batch_size >= 4
    assert (sizes[8, False] or 0) > needed


def test_a_plan_that_may_not_fit_says_so(
    frozen: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "free_bytes", lambda _: 1000)
    planned = planner(frozen, ModelConfig(kernel="stream")).make()
    assert (planned.plan.micro_batch_size, planned.plan.checkpointing) == (1, True)
    assert any("may not fit" in reason for reason in planned.event.reasons)


def test_planning_leaves_random_numbers_and_gradients_alone(frozen: FrozenModel) -> None:
    made = planner(frozen)
    state = torch.get_rng_state()
    made.make()
    assert torch.get_rng_state().equal(state)
    assert all(parameter.grad is None for parameter in made.method.parameters())


@needs_compiler
def test_without_compiled_passes_transformers_layers_compute_it(
    frozen: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(planner(frozen).make().step, FusedStep)
    monkeypatch.setattr(gradient, "build", lambda: Build(None, "there is no C++ compiler here"))
    planned = planner(frozen).make()
    assert isinstance(planned.step, LayerStep)
    assert not planned.plan.is_fused
    assert any("no C++ compiler" in reason for reason in planned.event.reasons)
    assert any("multiples of 8 tokens" in reason for reason in planned.event.reasons)


Run = Callable[..., list[Event]]


@pytest.fixture
def run(tiny_model: Path, label_rows: Path, tmp_path: Path) -> Run:
    def go(
        name: str = "run",
        model: ModelConfig | None = None,
        resume: bool = False,
        stop_at: int = 0,
        **training: object,
    ) -> list[Event]:
        settings = {"max_steps": 4, "batch_size": 6, "evaluate_every": 4, "num_threads": 1}
        settings |= {"seed": 1, "max_validation_rows": 2, "learning_rate": 1.0, **training}
        config = RunConfig(
            model=msgspec.structs.replace(model or ModelConfig(), source=str(tiny_model)),
            data=DataConfig(train=str(label_rows)),
            method=MethodConfig(num_virtual_tokens=5),
            training=TrainingConfig(**settings),  # type: ignore[arg-type]
        )
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        channel = Channel(folder)
        events: list[Event] = []

        def commands() -> list[Command]:
            return [Stop(save=True)] if len(losses(events)) == stop_at else []

        channel.commands = commands  # type: ignore[method-assign]
        for event in train(TrainTask(config, resume), folder, channel):
            events.append(event)
        return events

    return go


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepDone)]


def plan_of(events: list[Event]) -> PlanMade:
    (plan,) = [event for event in events if isinstance(event, PlanMade)]
    return plan


def test_every_kernel_trains_and_the_float_ones_agree(run: Run) -> None:
    found = {}
    for kernel in ("stream", "cached", "int8"):
        events = run(kernel, ModelConfig(kernel=kernel))  # type: ignore[arg-type]
        assert plan_of(events).kernel == kernel
        found[kernel] = losses(events)
    assert found["cached"] == pytest.approx(found["stream"], rel=1e-4)
    # Later the roundings of a random model have grown.
    assert found["int8"][:3] == pytest.approx(found["stream"][:3], rel=0.1)
    assert found["int8"] != found["stream"]


def test_a_run_computes_the_same_with_and_without_a_probe(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_probe = run("with")
    assert plan_of(with_probe).seconds_per_step is not None
    monkeypatch.setattr(planning, "probe", lambda *_: (0.0, 0))
    assert losses(run("without")) == losses(with_probe)


def test_a_resumed_run_keeps_its_plan(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    forced = {"micro_batch_size": 2, "checkpointing": "on", "bucket_width": 16}
    whole = run("whole", ModelConfig(kernel="auto"), **forced)
    first = run("parts", ModelConfig(kernel="auto"), stop_at=2, **forced)
    # Whatever would be chosen now, the plan is that of the checkpoint.
    monkeypatch.setattr(planning, "int8_speedup", lambda _: 0.1)
    second = run("parts", ModelConfig(kernel="auto"), resume=True, **forced)
    before, after = plan_of(first), plan_of(second)
    for name in ("kernel", "micro_batch_size", "checkpointing", "bucket_width"):
        assert getattr(after, name) == getattr(before, name)
    assert after.reasons[0] == "As the checkpoint says."
    assert losses(first) + losses(second) == losses(whole)


@needs_compiler
def test_a_run_resumed_where_there_is_no_compiler_says_so_and_goes_on(
    run: Run, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    first = run(model=ModelConfig(kernel="int8"), stop_at=2)
    channels = read_latest(tmp_path / "run").card.plan.outlier_channels
    request.getfixturevalue("_no_compiler")
    second = run(model=ModelConfig(kernel="int8"), resume=True)
    plan = plan_of(second)
    assert plan.kernel == "int8"
    assert any("no C++ compiler" in reason for reason in plan.reasons)
    assert len(losses(first) + losses(second)) == 4
    stored = read_latest(tmp_path / "run").card.plan
    assert not stored.is_fused
    assert stored.outlier_channels == channels


@pytest.mark.usefixtures("_no_compiler")
def test_every_kernel_trains_without_compiled_passes(run: Run) -> None:
    found = {}
    for kernel in ("stream", "int8"):
        model = ModelConfig(kernel=kernel)  # type: ignore[arg-type]
        found[kernel] = losses(run(kernel, model, checkpointing="on", micro_batch_size=2))
    assert found["int8"] == pytest.approx(found["stream"], rel=0.1)


def test_more_outlier_channels_change_what_int8_computes(run: Run) -> None:
    found = [
        losses(run(str(number), ModelConfig(kernel="int8", num_outlier_channels=number)))
        for number in (0, 8)
    ]
    assert found[0] != found[1]


@pytest.mark.usefixtures("_no_compiler")
def test_the_width_of_buckets_is_that_of_the_batches(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: set[int] = set()
    compute = LayerStep.__call__

    def listening(step: LayerStep, prompt: object, lead: object, batches: object) -> float:
        widths.update(batch.input_ids.shape[1] for batch in batches)  # type: ignore[attr-defined]
        return compute(step, prompt, lead, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(LayerStep, "__call__", listening)
    run(model=ModelConfig(kernel="stream"), bucket_width=48, max_steps=1)
    assert widths == {48}


@pytest.mark.parametrize("dotted", configuration.field_names())
def test_every_field_of_the_configuration_is_read_by_what_trains(dotted: str) -> None:
    part, field = dotted.split(".")
    read = re.compile(rf"\b(config|settings|training|asked|{part})\.{field}\b")
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.parts[len(PACKAGE.parts)] in ("engine", "worker", "reading", "data.py", "rows.py")
    ]
    assert any(read.search(path.read_text(encoding="utf-8")) for path in files)


def test_a_method_of_many_numbers_needs_more_memory(frozen: FrozenModel) -> None:
    few = planner(frozen, ModelConfig(kernel="stream"))
    large = MethodConfig(name="prefix", reparametrise=True, mlp_size=4096)
    many = replace(few, method_config=large)
    needed = [one._needed("stream", 8, checkpointing=False) for one in (few, many)]
    assert needed[0] is not None
    assert needed[1] is not None
    # A value, a gradient and AdamW's two, of at least the MLP's output.
    num_outputs = frozen.config.num_hidden_layers * 2 * frozen.config.num_key_value_heads
    assert needed[1] - needed[0] > 4 * 4 * 4096 * num_outputs * frozen.config.head_dim


def test_measured_products_leave_threads_and_random_numbers_as_they_were() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        speedup = int8_speedup(64)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert 0.05 < speedup < 100
    assert torch.equal(torch.get_rng_state(), state)
