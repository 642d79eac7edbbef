"""What the terminal app costs and how fast it answers, in a pseudo-terminal of 80x24.

    python bench/app.py first-paint    # first frame, beside an empty Textual app
    python bench/app.py idle           # processor time of a place that nobody touches
    python bench/app.py long-run       # open 100,000 events; keys while they grow
    python bench/app.py latency        # keys and frames while the default model trains
    python bench/app.py cost           # training with the app attached and without, in turn

Each prints one JSON object. `latency` and `cost` train the default model, which `ptune models
--fetch` gets.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from first_paint import EMPTY, OURS, seconds_to_first_paint
from pseudo_terminal import PseudoTerminal

from ptune_tui.config import RunConfig, TrainingConfig
from ptune_tui.events import (
    Event,
    LineFollower,
    StageStarted,
    StepDone,
    TaskStarted,
    decode_event,
    encode_line,
)
from ptune_tui.jobs import Job, start
from ptune_tui.locks import write_lock
from ptune_tui.paths import models_folder
from ptune_tui.tasks import EVENTS_FILE, TrainTask, write_task

FRAME_END = b"\x1b[?2026l"
APP = [sys.executable, "-P", "-m", "ptune_tui"]


def first_paint(num_starts: int = 10) -> dict[str, object]:
    times: dict[str, list[float]] = {"empty": [], "ptune": []}
    with tempfile.TemporaryDirectory() as home:
        for code in (EMPTY, OURS):  # a start each to warm the disk's cache
            seconds_to_first_paint(code, home)
        for _ in range(num_starts):
            times["empty"].append(seconds_to_first_paint(EMPTY, home))
            times["ptune"].append(seconds_to_first_paint(OURS, home))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {"median_seconds": medians, "ratio": medians["ptune"] / medians["empty"]}


def idle(seconds: float = 15.0) -> dict[str, object]:
    """Share of one core in each place, with ten runs that have ended."""
    shares = {}
    with tempfile.TemporaryDirectory() as home:
        for number in range(10):
            write_run(Path(home) / "runs" / f"run-{number}", 300)
        with app(home) as terminal:
            terminal.wait_for("run-9")
            for key, place in (("\x1b[21~", "runs"), ("\x1bOQ", "setup"), ("\x1bOR", "train")):
                terminal.press(key)
                settle(terminal, 4.0)
                process = psutil.Process(terminal.process.pid)
                before = process.cpu_times()
                settle(terminal, seconds)
                after = process.cpu_times()
                used = after.user + after.system - before.user - before.system
                shares[place] = used / seconds
    return {"share_of_a_core": shares, "seconds_each": seconds}


def long_run(num_steps: int = 100_000, num_keys: int = 60) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as home:
        run = write_run(Path(home) / "runs" / "long", num_steps)
        write_lock(run)  # it goes on: this process adds to it
        with app(home) as terminal:
            terminal.wait_for("long")
            settle(terminal, 2.0)
            pressed = time.perf_counter()
            terminal.press("enter")
            terminal.wait_for("[3 Train]")
            terminal.wait_for(f"{num_steps}/{num_steps}")
            terminal.wait_for("loss, all steps")
            opened = time.perf_counter() - pressed
            settle(terminal, 1.0)
            steps = iter(range(num_steps + 1, 10 * num_steps))

            def grow() -> None:
                with (run / EVENTS_FILE).open("ab") as file:
                    file.write(encode_line(step(next(steps), num_steps)))

            latencies = key_latencies(terminal, num_keys, grow)
    return {"events": num_steps, "seconds_to_open": opened, "latency": summary_of(latencies)}


def latency(num_keys: int = 60, quiet_seconds: float = 10.0) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as home, training(home) as job, app(home) as terminal:
        open_run(terminal, "training")
        wait_for_steps(job, 3)
        settle(terminal, 2.0)
        before = terminal.written.count(FRAME_END)
        settle(terminal, quiet_seconds)
        frames = (terminal.written.count(FRAME_END) - before) / quiet_seconds
        latencies = key_latencies(terminal, num_keys)
    return {"latency": summary_of(latencies), "frames_per_second": frames}


def cost(num_pairs: int = 3, seconds: float = 8.0) -> dict[str, object]:
    """Steps a second of the same run, with the app attached and without, in turn."""
    speeds: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as home, training(home) as job:
        wait_for_steps(job, 6)
        for _ in range(num_pairs):
            speeds["without"].append(speed_of(job, seconds))
            with app(home) as terminal:
                open_run(terminal, "training")
                speeds["with"].append(speed_of(job, seconds, terminal))
    means = {name: statistics.fmean(values) for name, values in speeds.items()}
    return {
        "steps_per_second": speeds,
        "slower_by": 1 - means["with"] / means["without"],
        "seconds_each": seconds,
    }


@contextmanager
def app(home: str) -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(APP, {"PTUNE_HOME": home})
    try:
        yield terminal
    finally:
        terminal.close()


def open_run(terminal: PseudoTerminal, name: str) -> None:
    terminal.wait_for(name)
    settle(terminal, 1.0)
    terminal.press("enter")
    terminal.wait_for("[3 Train]")


@contextmanager
def training(home: str) -> Iterator[Job]:
    """A run of the default model that does not end by itself, and validates nothing meanwhile."""
    (Path(home) / "models").symlink_to(models_folder())
    run = Path(home) / "runs" / "training"
    settings = TrainingConfig(max_steps=100_000, evaluate_every=100_000, save_every=100_000)
    os.environ["PTUNE_HOME"] = home
    job = start(run, TrainTask(RunConfig(training=settings)))
    try:
        wait_for_steps(job, 1)
        yield job
    finally:
        job.kill()


def write_run(folder: Path, num_steps: int) -> Path:
    write_task(folder, TrainTask(RunConfig()))
    events: list[Event] = [
        TaskStarted(time.time(), os.getpid(), "train"),
        StageStarted("train", time.time()),
    ]
    events += [step(number, num_steps) for number in range(1, num_steps + 1)]
    (folder / EVENTS_FILE).write_bytes(b"".join(map(encode_line, events)))
    return folder


def step(number: int, max_steps: int) -> StepDone:
    loss = 1.0 + 5.0 / (1 + number / 50) + 0.1 * (number * 7919 % 13) / 13
    return StepDone(number, max_steps, loss, 0.01, 1.0, 2000.0, 1 << 30, 0.5 * number, 60.0)


def settle(terminal: PseudoTerminal, seconds: float) -> None:
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        terminal.read(0.05)


def key_latencies(
    terminal: PseudoTerminal, num_keys: int, meanwhile: Callable[[], None] = lambda: None
) -> list[float]:
    """Seconds from a key to the end of the frame that it makes: the help comes and goes."""
    latencies = []
    for number in range(num_keys):
        # Not Escape, which terminals make one wait for. What is below the help is drawn again.
        wanted = b"Escape closes" if number % 2 == 0 else b"loss, all steps"
        meanwhile()
        # Not in step with the app's own polls, and long enough for the frame before to be through.
        settle(terminal, 0.2 + 0.013 * (number % 19))
        mark = len(terminal.written)
        pressed = time.perf_counter()
        terminal.press("?")
        while True:
            terminal.read(0.02, draws=False)
            ended = time.perf_counter()
            new = terminal.written[mark:]
            if wanted in new and FRAME_END in new[new.index(wanted) :]:
                break
            if ended - pressed > 5:
                raise TimeoutError(terminal.text)
        latencies.append(ended - pressed)
    return latencies


def summary_of(latencies: list[float]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {
        "keys": len(ordered),
        "median_ms": 1000 * statistics.median(ordered),
        "p95_ms": 1000 * ordered[int(0.95 * (len(ordered) - 1))],
        "max_ms": 1000 * ordered[-1],
    }


def steps_of(job: Job) -> list[StepDone]:
    lines = LineFollower(job.folder / EVENTS_FILE).new_lines()
    found = [decode_event(line) for line in lines if line.startswith(b'{"type":"StepDone"')]
    return [event for event in found if isinstance(event, StepDone)]


def wait_for_steps(job: Job, number: int) -> None:
    deadline = time.monotonic() + 120
    while len(steps_of(job)) < number:
        if time.monotonic() > deadline or not job.is_alive():
            raise TimeoutError(job.log_path.read_text())
        time.sleep(0.2)


def speed_of(job: Job, seconds: float, terminal: PseudoTerminal | None = None) -> float:
    """Steps a second within a time, counted in whole steps."""
    before = len(steps_of(job)) + 1  # the one that is under way began earlier
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        if terminal is not None:
            terminal.read(0.05)
        else:
            time.sleep(0.05)
    done = steps_of(job)
    took = done[-1].elapsed_seconds - done[before - 1].elapsed_seconds
    return (len(done) - before) / took


COMMANDS: dict[str, Callable[[], dict[str, object]]] = {
    "first-paint": first_paint,
    "idle": idle,
    "long-run": long_run,
    "latency": latency,
    "cost": cost,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    found = COMMANDS[parser.parse_args().command]()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(json.dumps({"commit": commit.stdout.strip(), **found}))


if __name__ == "__main__":
    main()
