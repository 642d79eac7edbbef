"""The app opens fast because it imports little."""

from __future__ import annotations

import subprocess
import sys

HEAVY = [
    "torch", "transformers", "onnxruntime", "onnx", "numpy", "textual_plot", "tokenizers",
    "safetensors", "ptune_tui.data", "ptune_tui.engine", "ptune_tui.worker", "quant", "export",
]  # fmt: skip


def test_app_imports_nothing_heavy() -> None:
    code = f"import sys, ptune_tui.tui.app; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_chat_client_imports_no_terminal() -> None:
    code = (
        "import sys, ptune_tui.chats\n"
        f"print([n for n in {[*HEAVY, 'textual', 'rich']!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
