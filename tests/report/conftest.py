"""A short run of the tiny model with its events on disk, and a report that has everything."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from ptune_tui.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.events import TaskStarted
from ptune_tui.inspection import INSPECTION_FILE, write_inspection
from ptune_tui.results import EVALUATION_FILE, LEARNING_CURVE_FILE, write_result
from ptune_tui.tasks import TrainTask, write_task
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.train import train
from tests.report.results import evaluation, inspection, learning_curve


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, label_rows: Path) -> Path:
    """A finished run; do not change it."""
    run = tmp_path_factory.mktemp("report") / "run"
    task = TrainTask(
        RunConfig(
            model=ModelConfig(source=str(tiny_model)),
            data=DataConfig(train=str(label_rows)),
            method=MethodConfig(num_virtual_tokens=4),
            training=TrainingConfig(max_steps=6, batch_size=8, evaluate_every=2, num_threads=1),
        )
    )
    write_task(run, task)
    channel = Channel(run)
    channel.say(TaskStarted(time.time(), 7, "train"))
    for event in train(task, run, channel):
        channel.say(event)
    channel.close()
    return run


@pytest.fixture
def full_run(tiny_run: Path, tmp_path: Path) -> Path:
    """The run with a table, a learning curve and an inspection; may be changed."""
    run = Path(shutil.copytree(tiny_run, tmp_path / "full-run"))
    write_result(run / EVALUATION_FILE, evaluation())
    write_result(run / LEARNING_CURVE_FILE, learning_curve())
    write_inspection(run / INSPECTION_FILE, inspection())
    return run
