"""A bundle of the tiny model, written once: through training and the worker, as users get it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.tasks import ExportTask, TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from ptune_tui.worker.train import train


@dataclass(frozen=True)
class Exported:
    """A run and its bundle."""

    run: Path
    bundle: Path
    rows: Path


def train_and_export(folder: Path, model: Path, data: DataConfig, scheme: str = "int4") -> Exported:
    """A short run and its bundle, in this process."""
    run, bundle = folder / "run", folder / "bundle"
    run.mkdir(parents=True)
    config = RunConfig(
        model=ModelConfig(source=str(model), scheme=scheme),  # type: ignore[arg-type]
        data=data,
        method=MethodConfig(num_virtual_tokens=5),
        training=TrainingConfig(max_steps=6, batch_size=8, evaluate_every=6, num_threads=1),
    )
    list(train(TrainTask(config), run, Channel(run)))
    list(export(ExportTask(str(run), str(bundle), "mine"), Channel(run)))
    return Exported(run, bundle, Path(data.train))


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, label_rows: Path
) -> Exported:
    """A bundle with labels; do not change it."""
    folder = tmp_path_factory.mktemp("exported")
    return train_and_export(folder, tiny_model, DataConfig(train=str(label_rows)))


@pytest.fixture(scope="session")
def exported_text(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Exported:
    """A bundle with free text and the chat template; do not change it."""
    folder = tmp_path_factory.mktemp("exported-text")
    rows = folder / "text.jsonl"
    rows.write_text(
        "".join(f'{{"prompt": "say {n}", "response": "word {n} it"}}\n' for n in range(20)),
        encoding="utf-8",
    )
    return train_and_export(folder, tiny_model, DataConfig(train=str(rows)))


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    """A copy of the bundle that may be spoilt."""
    return Path(shutil.copytree(exported.bundle, tmp_path / "copied"))
