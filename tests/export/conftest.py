"""A bundle of the tiny model, written once: through training and the worker, as users get it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ptune_tui.config import (
    DataConfig,
    MethodConfig,
    MethodName,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)
from ptune_tui.engine.adapter import save_adapter
from ptune_tui.engine.prompt import LayerPrefix
from ptune_tui.run_prompt import ADAPTER_FOLDER
from ptune_tui.tasks import ExportPrecision, ExportTask, TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from ptune_tui.worker.train import train
from ptune_tui.worker.tuned_model import TunedModel, TunedModelStage


@dataclass(frozen=True)
class Exported:
    """A run and its bundle."""

    run: Path
    bundle: Path
    rows: Path


def train_and_export(
    folder: Path,
    model: Path,
    data: DataConfig,
    scheme: str = "int4",
    method: MethodName = "prompt",
    precision: ExportPrecision = "fast",
    num_virtual_tokens: int = 5,
) -> Exported:
    """A short run and its bundle, in this process."""
    run, bundle = folder / "run", folder / "bundle"
    run.mkdir(parents=True)
    config = RunConfig(
        model=ModelConfig(source=str(model), scheme=scheme),  # type: ignore[arg-type]
        data=data,
        method=MethodConfig(name=method, num_virtual_tokens=num_virtual_tokens),
        training=TrainingConfig(max_steps=6, batch_size=8, evaluate_every=6, num_threads=1),
    )
    list(train(TrainTask(config), run, Channel(run)))
    list(export(ExportTask(str(run), str(bundle), "mine", precision), Channel(run)))
    return Exported(run, bundle, Path(data.train))


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, label_rows: Path
) -> Exported:
    """A bundle with labels; do not change it."""
    folder = tmp_path_factory.mktemp("exported")
    return train_and_export(folder, tiny_model, DataConfig(train=str(label_rows)))


@pytest.fixture(scope="session")
def exported_throughput(tmp_path_factory: pytest.TempPathFactory, exported: Exported) -> Exported:
    """The same run with the graph that takes rows together; do not change it."""
    bundle = tmp_path_factory.mktemp("exported-throughput") / "bundle"
    list(
        export(
            ExportTask(str(exported.run), str(bundle), "mine", "throughput"), Channel(exported.run)
        )
    )
    return Exported(exported.run, bundle, exported.rows)


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


def tuned_model(run: Path) -> TunedModel:
    """A run's prompt and its base, in torch."""
    stage = TunedModelStage(run, Channel(run))
    list(stage.events())
    return stage.tuned


def export_layer_prefix(made: Exported, folder: Path, num_virtual_tokens: int = 5) -> Exported:
    """The same run with random keys and values in place of its prompt, and its bundle."""
    run, bundle = folder / "run", folder / "bundle"
    shutil.copytree(made.run, run)
    tuned = tuned_model(run)
    config = tuned.frozen.config
    shape = (
        config.num_hidden_layers,
        2,
        config.num_key_value_heads,
        num_virtual_tokens,
        config.head_dim,
    )
    prefix = LayerPrefix(torch.randn(shape, generator=torch.Generator().manual_seed(3)))
    save_adapter(run / ADAPTER_FOLDER, tuned.frozen, prefix, tuned.card)
    list(export(ExportTask(str(run), str(bundle), "mine", "fast"), Channel(run)))
    return Exported(run, bundle, made.rows)


@pytest.fixture(scope="session")
def exported_prefix(tmp_path_factory: pytest.TempPathFactory, exported: Exported) -> Exported:
    """A bundle with labels whose prompt is keys and values of every layer; do not change it."""
    return export_layer_prefix(exported, tmp_path_factory.mktemp("exported-prefix"))


@pytest.fixture(scope="session")
def exported_prefix_text(
    tmp_path_factory: pytest.TempPathFactory, exported_text: Exported
) -> Exported:
    """The same with free text and the chat template, whose lead follows the prompt."""
    return export_layer_prefix(exported_text, tmp_path_factory.mktemp("exported-prefix-text"))


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    """A copy of the bundle that may be spoilt."""
    return Path(shutil.copytree(exported.bundle, tmp_path / "copied"))
