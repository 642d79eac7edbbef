"""Time of a one-shot `ptune run`, from the start of the process to the first token.

    python bench/one_shot.py BUNDLE [--runs 10]

Beside it, alternating, an interpreter that only starts: what no program can go below. Prints
medians as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds_to_first_byte(command: list[str]) -> float:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    seconds = time.perf_counter() - started
    process.stdout.read()
    process.wait()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    ours = [sys.executable, "-m", "ptune_tui", "run", str(options.bundle), "where is my parcel?"]
    empty = [sys.executable, "-c", "print(1)"]
    times: dict[str, list[float]] = {"ptune run": [], "python": []}
    seconds_to_first_byte(ours)
    for _ in range(options.runs):
        times["ptune run"].append(seconds_to_first_byte(ours))
        times["python"].append(seconds_to_first_byte(empty))
    print(json.dumps({name: statistics.median(values) for name, values in times.items()}))


if __name__ == "__main__":
    main()
