"""What may not be loaded is not loaded: looked up in `sys.modules` of a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAINING = {"torch", "transformers", "peft", "onnx", "bitsandbytes", "quant", "accelerate"}
APP = TRAINING | {
    *("onnxruntime", "ptune_tui.engine", "ptune_tui.worker", "ptune_tui.server", "export"),
    *("starlette", "uvicorn"),
}


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import ptune_tui.cli", APP | {"textual", "textual_plot"}),
        ("import ptune_tui.tui.app", APP | {"textual_plot"}),
        ("import ptune_tui.jobs, ptune_tui.runs, ptune_tui.chats", APP | {"textual"}),
        ("import export.runtime", TRAINING | {"ptune_tui", "textual", "llguidance"}),
        ("import ptune_tui.worker.chat", TRAINING | {"textual", "ptune_tui.engine"}),
        ("import ptune_tui.server.web_server", TRAINING | {"textual", "typer", "ptune_tui.engine"}),
        ("import ptune_tui.server.endpoints", TRAINING | {"textual", "typer", "ptune_tui.worker"}),
        ("import ptune_tui.worker.bench.train", APP - {"ptune_tui.worker", "export"} | {"textual"}),
        ("import ptune_tui.worker.bench.run", APP - {"ptune_tui.worker", "export"} | {"textual"}),
        (
            "import ptune_tui.worker.bench.answering.ours",
            TRAINING | {"textual", "ptune_tui.engine"},
        ),
        ("import ptune_tui.worker.bench.ours", {"textual", "typer", "peft", "bitsandbytes"}),
        ("import ptune_tui.limits, ptune_tui.known_models", APP | {"textual"}),
        ("import ptune_tui.report.page", APP | {"textual", "typer"}),
        ("import ptune_tui.data, ptune_tui.metrics", TRAINING | {"textual", "onnxruntime"}),
        ("import ptune_tui.engine.trainer, export.writer, quant.loading", {"textual", "typer"}),
    ],
)
def test_a_fresh_import_loads_nothing_of_the_forbidden(code: str, forbidden: set[str]) -> None:
    script = f"import sys\n{code}\nprint(sorted(set({sorted(forbidden)!r}) & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_an_estimate_loads_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['ptune', 'estimate', '--memory', '8GB']\n"
        "from ptune_tui.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded:', sorted(set({sorted(APP | {'textual'})!r}) & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "peak" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['ptune', '--help']\nfrom ptune_tui.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print('loaded:', sorted(set({sorted(APP)!r}) & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"
    for command in [
        "demo",
        "train",
        "learning-curve",
        "estimate",
        "eval",
        "report",
        "inspect",
        "export",
        "run",
        "chat",
        "serve",
        "models",
        "runs",
        "doctor",
        "bench",
    ]:
        assert command in done.stdout
