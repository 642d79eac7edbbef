"""Whole runs on a card: trained and scored through the command line, as in the quality table."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from quality_data import TaskData
from quality_runs import OurRun, training_options
from quality_settings import CellKey

# A prefix with floats that are kept, and a prompt with floats made at each product.
RUNS = (
    (CellKey("trec", "prefix", "fp32", 0), "cached"),
    (CellKey("sst2", "prompt", "fp32", 0), "stream"),
)


def trained_on_card(
    data: Path, work: Path, *, device: str, steps_override: int | None = None
) -> list[dict[str, Any]]:
    """Train and score some runs of the quality table on a device.

    Args:
        data (Path): The folder of data sets.
        work (Path): Runs and intermediate files.
        device (str): As `ptune train --device` takes it.
        steps_override (int | None): Fewer steps, to try the harness.

    Raises:
        subprocess.CalledProcessError: A command failed; it said why.
    """
    found = []
    for key, kernel in RUNS:
        rows = TaskData(key.task, data, work)
        options = training_options(key, rows, "default", steps_override)
        options += ["--kernel", kernel, "--device", device]
        run = OurRun(f"{key.name}-{kernel}-{device}", options, work / "runs")
        run.train()
        begun = time.perf_counter()
        scored, answers = run.answers(rows.test_file())
        found.append(
            {
                "run": key.name,
                "kernel": kernel,
                "device": device,
                "scores": rows.scores(answers),
                "num_rows": len(answers),
                "scored_in_seconds": scored.seconds,
                "whole_evaluation_seconds": time.perf_counter() - begun,
                "computed_by": scored.computed_by,
                **run.figures(),
            }
        )
    return found
