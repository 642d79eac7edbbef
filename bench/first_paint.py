"""First paint of the app beside an empty Textual app, alternating, in one run.

    python bench/first_paint.py [--starts 10]

Each start is a process of its own with a pseudo-terminal of 80x24; the clock runs from the start of
the process to the app's first screen update. Prints both medians and their ratio as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import statistics
import subprocess
import sys
import tempfile
import time

EMPTY = "from textual.app import App\nclass Empty(App): pass\nEmpty().run()"
OURS = "from ptune_tui.tui.app import run_app\nrun_app()"
# The end of Textual's first frame: synchronized output is switched off again.
FRAME_END = b"\x1b[?2026l"


def seconds_to_first_paint(code: str, home: str) -> float:
    parent, child = pty.openpty()
    environment = {**os.environ, "PTUNE_HOME": home, "TERM": "xterm-256color"}
    environment |= {"COLUMNS": "80", "LINES": "24"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
        start_new_session=True,
    )
    os.close(child)
    seen = b""
    try:
        while time.perf_counter() - started < 30:
            ready, _, _ = select.select([parent], [], [], 0.05)
            if not ready:
                continue
            seen += os.read(parent, 65536)
            if b"\x1b[?2026$p" in seen and b"\x1b[?2026;1$y" not in seen:
                # The app asks whether the terminal knows synchronized output; it does.
                os.write(parent, b"\x1b[?2026;1$y")
                seen += b"\x1b[?2026;1$y"
            if len(seen) > 2000 and (FRAME_END in seen or b"\x1b[0m" in seen):
                return time.perf_counter() - started
        raise TimeoutError(f"no frame in 30 s; saw {seen[:200]!r}")
    finally:
        process.kill()
        process.wait()
        os.close(parent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"empty": [], "ptune": []}
    with tempfile.TemporaryDirectory() as home:
        for code in (EMPTY, OURS):  # a start each to warm the disk's cache
            seconds_to_first_paint(code, home)
        for _ in range(options.starts):
            times["empty"].append(seconds_to_first_paint(EMPTY, home))
            times["ptune"].append(seconds_to_first_paint(OURS, home))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["ptune"] / medians["empty"]
    print(json.dumps({"median_seconds": medians, "ratio": ratio, "starts": options.starts}))


if __name__ == "__main__":
    main()
