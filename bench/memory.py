"""Measured memory and time of training beside what `ptune estimate` says, on the default model.

    python bench/memory.py [--store FILE] [--threads N] [--fresh] [--fit] [--json]

Every cell is a process of its own: it loads the model, takes three steps through the engine and
reports its peak resident memory. Cells are kept in the store, so a run that was stopped goes on
where it was; `--fresh` measures all of them again. Rows are random tokens, two of them labels.
A step's seconds are the clock's: measure on a quiet machine.

`--fit` derives the coefficients of `ptune_tui.estimate` from the cells of the method `prompt`:
`loading_bytes` is the largest growth while a model is loaded, the others are the least squares,
relative to the measured peaks, of

    peak - counted parts = process_bytes + kept_share * kept

with `checkpointed_share` in its place where layers are computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ptune_tui.activations import kept_floats
from ptune_tui.default_model import DEFAULT_MODEL
from ptune_tui.estimate import OUTLIER_CHANNELS, estimate
from ptune_tui.hardware import machine
from ptune_tui.model_numbers import DEFAULT_MODEL_NUMBERS
from ptune_tui.step_setting import Setting
from ptune_tui.throughput import processor_throughput

NUM_STEPS = 3
# Step (fused, or through transformers' layers), kernel, rows, tokens of a row, virtual tokens,
# checkpointing, method.
CELLS = [
    ("fused", "stream", 16, 48, 20, False, "prompt"),
    ("fused", "stream", 32, 128, 20, False, "prompt"),
    ("fused", "stream", 16, 48, 20, True, "prompt"),
    ("fused", "cached", 1, 16, 8, False, "prompt"),
    ("fused", "cached", 16, 48, 20, False, "prompt"),
    ("fused", "cached", 16, 32, 100, False, "prompt"),
    ("fused", "cached", 32, 64, 20, False, "prompt"),
    ("fused", "cached", 32, 64, 20, True, "prompt"),
    ("fused", "int8", 16, 48, 20, False, "prompt"),
    ("fused", "int8", 16, 32, 100, False, "prompt"),
    ("fused", "int8", 32, 128, 20, False, "prompt"),
    ("fused", "int8", 32, 128, 20, True, "prompt"),
    ("fused", "int8", 16, 64, 100, False, "prefix"),
    ("fused", "cached", 16, 96, 50, False, "p-tuning"),
    ("layers", "stream", 4, 32, 20, False, "prompt"),
    ("layers", "stream", 16, 32, 100, False, "prompt"),
    ("layers", "stream", 32, 64, 20, False, "prompt"),
    ("layers", "stream", 8, 16, 200, False, "prompt"),
    ("layers", "cached", 16, 48, 20, False, "prompt"),
    ("layers", "cached", 32, 64, 20, True, "prompt"),
    ("layers", "stream", 16, 48, 20, True, "prompt"),
    ("layers", "cached", 16, 96, 50, True, "prompt"),
    ("layers", "cached", 8, 256, 20, False, "prompt"),
    ("layers", "cached", 16, 96, 50, False, "prompt"),
    ("layers", "int8", 16, 48, 20, False, "prompt"),
    ("layers", "int8", 32, 64, 20, False, "prompt"),
    ("layers", "stream", 16, 48, 50, False, "prefix"),
    ("layers", "cached", 16, 80, 20, False, "p-tuning"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("bench/memory-cells.json"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(measure(Setting(**json.loads(arguments.cell)), arguments.threads)))
        return
    stored: dict[str, Any] = {}
    if arguments.store.is_file() and not arguments.fresh:
        stored = json.loads(arguments.store.read_text())
    for cell in CELLS:
        setting = setting_of(cell)
        key = key_of(setting)
        if (
            "clock_seconds" not in stored.get(key, {})
            or stored[key]["threads"] != arguments.threads
        ):
            stored[key] = run_cell(setting, arguments.threads)
            arguments.store.write_text(json.dumps(stored, indent=1) + "\n")
    settings = [setting_of(cell) for cell in CELLS]
    cells = [(setting, stored[key_of(setting)]) for setting in settings]
    if arguments.fit:
        for step in ("fused", "layers"):
            print(step, json.dumps(fitted([cell for cell in cells if step_of(cell[0]) == step])))
        return
    report(cells, arguments.json)


def setting_of(cell: tuple[Any, ...]) -> Setting:
    step, kernel, batch_size, num_row_tokens, num_virtual_tokens, checkpointing, method = cell
    return Setting(
        method=method,
        num_virtual_tokens=num_virtual_tokens,
        batch_size=batch_size,
        num_row_tokens=num_row_tokens,
        kernel=kernel,
        checkpointing=checkpointing,
        has_compiled_passes=step == "fused",
    )


def key_of(setting: Setting) -> str:
    checkpointing = ", checkpointing" if setting.checkpointing else ""
    return (
        f"{step_of(setting)}, {setting.kernel}, {setting.method}, "
        f"{setting.batch_size} x {setting.num_row_tokens}, "
        f"P={setting.num_virtual_tokens}{checkpointing}"
    )


def step_of(setting: Setting) -> str:
    return "fused" if setting.has_compiled_passes else "layers"


def run_cell(setting: Setting, num_threads: int) -> dict[str, Any]:
    key = json.dumps(dataclasses.asdict(setting))
    command = [sys.executable, __file__, "--cell", key, "--threads", str(num_threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the cell {key} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{key_of(setting)}: {found}", file=sys.stderr)
    return found


def measure(setting: Setting, num_threads: int) -> dict[str, float]:
    """Peak resident bytes of three steps, and the median step's seconds."""
    import torch

    from export.encoding import EncodedRow
    from ptune_tui.engine.batches import collate
    from ptune_tui.engine.gradient import make_step
    from ptune_tui.engine.methods.factory import make_method
    from ptune_tui.engine.model import load_frozen
    from ptune_tui.engine.outliers import outlier_channels
    from ptune_tui.engine.product_speed import faster_type
    from ptune_tui.engine.prompt import VirtualTokens

    torch.set_num_threads(num_threads)
    imported = peak_bytes()
    held = "cached" if setting.kernel == "cached" else "stream"
    frozen = load_frozen(DEFAULT_MODEL.path, "default", "int4", held)
    loaded = peak_bytes()
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        return torch.randint(3, 49000, (count,), generator=generator).tolist()

    # The last token is predicted only, so a row has one more than are computed.
    num_prompt_tokens = setting.num_row_tokens - setting.num_label_tokens + 1
    rows = [
        EncodedRow(ids(num_prompt_tokens), ids(setting.num_label_tokens))
        for _ in range(setting.batch_size)
    ]
    start = VirtualTokens(frozen.embed(torch.tensor(ids(setting.num_virtual_tokens))))
    method = make_method(
        setting.method, frozen, start, mlp_size=128, rank=64, reparametrise=False, seed=0
    )
    batch = collate(rows, 0)
    outliers = {}
    if setting.kernel == "int8":
        outliers = outlier_channels(frozen, start, [], collate(rows[:4], 0), OUTLIER_CHANNELS)
    step = make_step(
        frozen,
        setting.kernel,
        outliers,
        checkpointing=setting.checkpointing,
        fused=setting.has_compiled_passes,
        prefix_dtype=getattr(torch, faster_type()),
    )
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    seconds = []
    for _ in range(NUM_STEPS):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        step(method(), [], [batch])
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return {
        "imported_bytes": imported,
        "loaded_bytes": loaded,
        "peak_bytes": peak_bytes(),
        "clock_seconds": statistics.median(seconds),
        "threads": num_threads,
    }


def peak_bytes() -> int:
    """The most this process has had resident."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def fitted(cells: list[tuple[Setting, dict[str, Any]]]) -> dict[str, float]:
    """Coefficients of one kind of step from its measured cells."""
    import numpy as np

    rows, values, loading = [], [], []
    for setting, found in cells:
        said = estimate(DEFAULT_MODEL_NUMBERS, setting)
        fixed = said.weights + said.copies
        loading.append(found["loaded_bytes"] - fixed)
        if said.loading or setting.method != "prompt":
            continue  # its peak is that of loading, or it is there to try the fit on
        peak = found["peak_bytes"]
        own, shared = kept_floats(DEFAULT_MODEL_NUMBERS, setting)
        counted = fixed + said.trained + said.logits + said.work_space
        owns = [0, own] if setting.checkpointing else [own, 0]
        rows.append([1 / peak, *(4 * count / peak for count in owns)])
        values.append(1 - (counted + 4 * shared) / peak)
    process, kept, checkpointed = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return {
        "process_bytes": float(process),
        "loading_bytes": max(loading) - float(process),
        "kept_share": float(kept),
        "checkpointed_share": float(checkpointed),
    }


def report(cells: list[tuple[Setting, dict[str, Any]]], as_json: bool) -> None:
    lines = []
    for setting, found in cells:
        throughput = processor_throughput(machine().processor_flags, found["threads"])
        said = estimate(DEFAULT_MODEL_NUMBERS, setting, throughput)
        lines.append(
            {
                **dataclasses.asdict(setting),
                "step": step_of(setting),
                **found,
                "estimated_bytes": said.peak_bytes,
                "ratio": said.peak_bytes / found["peak_bytes"],
                "estimated_seconds": said.seconds,
                "seconds_ratio": said.seconds / found["clock_seconds"] if said.seconds else None,
            }
        )
    if as_json:
        print(json.dumps(lines, indent=1))
        return
    print(
        "| step | kernel | method | rows x tokens | P | checkpointing "
        "| memory | estimated | ratio | a step | estimated | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for line in lines:
        print(
            f"| {line['step']} | {line['kernel']} | {line['method']} "
            f"| {line['batch_size']} x {line['num_row_tokens']} | {line['num_virtual_tokens']} "
            f"| {'yes' if line['checkpointing'] else 'no'} "
            f"| {line['peak_bytes'] / 1e9:.2f} GB | {line['estimated_bytes'] / 1e9:.2f} GB "
            f"| {line['ratio']:.2f} | {line['clock_seconds']:.2f} s "
            f"| {line['estimated_seconds']:.2f} s | {line['seconds_ratio']:.2f} |"
        )


if __name__ == "__main__":
    main()
