"""What `auto` takes: the fastest graph that passed the gate, and nothing else is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from export import parity, writer
from export.bundle import read_manifest
from export.errors import UnsupportedModelError
from export.genai import genai_graph
from export.manifest import ParityRecord
from export.pace import Timed, fastest
from export.precisions import PRECISIONS, Precision
from ptune_tui.events import ExportDone, Notice
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from tests.export.conftest import Exported


def timed(**seconds: float) -> list[Timed]:
    return [Timed(name, value) for name, value in seconds.items()]  # type: ignore[arg-type]


def records(*passing: Precision) -> dict[str, ParityRecord]:
    return {name: ParityRecord(0.1, 0.1, 1.0, 1, 1, name in passing) for name in PRECISIONS}


@pytest.mark.parametrize(
    ("seconds", "passing", "expected"),
    [
        ({"fast": 1.0, "exact": 2.0, "throughput": 0.5}, PRECISIONS, "throughput"),
        ({"fast": 1.0, "exact": 2.0, "throughput": 0.95}, PRECISIONS, "fast"),
        ({"fast": 1.0, "exact": 0.5, "throughput": 2.0}, PRECISIONS, "exact"),
        ({"fast": 1.0, "exact": 2.0, "throughput": 0.5}, ("fast", "exact"), "fast"),
        ({"fast": 1.0, "exact": 2.0, "throughput": 0.5}, ("exact",), "exact"),
        ({"fast": 1.0, "exact": 2.0}, PRECISIONS, "fast"),
    ],
)
def test_the_fastest_that_passed_is_taken_and_near_ties_go_to_fast(
    seconds: dict[str, float], passing: tuple[Precision, ...], expected: str
) -> None:
    assert fastest(timed(**seconds), records(*passing)) == expected


def test_other_programs_get_no_graph_with_a_layout() -> None:
    assert genai_graph("throughput", records(*PRECISIONS)) == "fast"
    assert genai_graph("throughput", records("exact", "throughput")) == "exact"
    assert genai_graph("exact", records(*PRECISIONS)) == "exact"


def auto_export(
    made: Exported, bundle: Path, monkeypatch: pytest.MonkeyPatch, **seconds: float
) -> ExportDone:
    monkeypatch.setattr(writer, "seconds_per_answer", lambda *_: timed(**seconds))
    events = list(export(ExportTask(str(made.run), str(bundle), "mine"), Channel(made.run)))
    return next(event for event in events if isinstance(event, ExportDone))


def test_a_throughput_that_is_slower_is_not_shipped(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    done = auto_export(exported, bundle, monkeypatch, fast=1.0, exact=2.0, throughput=3.0)
    assert done.precision == "fast"
    assert done.seconds_per_answer == {"fast": 1.0, "exact": 2.0, "throughput": 3.0}
    weights = (bundle / "model.data").stat().st_size
    assert done.read_bytes == {
        "fast": weights + (bundle / "model.onnx").stat().st_size,
        "exact": weights + (bundle / "exact.onnx").stat().st_size,
    }
    assert not list(bundle.glob("throughput*"))
    assert set(read_manifest(bundle).graphs) == {"fast", "exact"}
    told = {"manifest.json", "README.md"}
    assert {path.name for path in bundle.iterdir() if path.is_file()} - told == {
        name for name in read_manifest(bundle).files if "/" not in name
    }


def test_the_fastest_is_what_the_bundle_answers_in(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    done = auto_export(exported, bundle, monkeypatch, fast=1.0, exact=2.0, throughput=0.5)
    manifest = read_manifest(bundle)
    assert done.precision == manifest.default_precision == "throughput"
    assert manifest.parity["throughput"].passed
    assert {"throughput.onnx", "throughput.data"} <= set(manifest.files)


def test_a_throughput_that_fails_the_gate_is_said_and_not_taken(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MAX_KL_DIVERGENCE", 0.0)
    monkeypatch.setattr(
        writer, "seconds_per_answer", lambda *_: timed(fast=1.0, exact=2.0, throughput=0.5)
    )
    task = ExportTask(str(exported.run), str(tmp_path / "bundle"), "mine")
    events = list(export(task, Channel(exported.run)))
    notices = {event.code for event in events if isinstance(event, Notice)}
    assert {"fast-failed", "throughput-failed"} <= notices
    assert read_manifest(tmp_path / "bundle").default_precision == "exact"


def test_a_traced_model_has_no_throughput(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export import graph_files

    real = graph_files.store_graphs

    def traced(*arguments: object) -> object:
        import dataclasses

        return dataclasses.replace(real(*arguments), build_throughput=None, refusal="no spec.")  # type: ignore[arg-type]

    monkeypatch.setattr(graph_files, "store_graphs", traced)
    task = ExportTask(str(exported.run), str(tmp_path / "bundle"), "mine", "throughput")
    with pytest.raises(UnsupportedModelError, match="no `throughput`"):
        list(export(task, Channel(exported.run)))
    assert not (tmp_path / "bundle").exists()
