"""The README's pictures, made by the program itself: `make pictures`.

    python bench/pictures.py docs/pictures

Trains two runs on built-in data, compares and exports one, and opens the app on what came of it: in
a folder of its own, which is thrown away, with the default model from where it lies. Writes an SVG
of each place and, where there is Chromium, the top of the report as report.png.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ptune_tui.paths import models_folder
from ptune_tui.report.contents import read_report
from ptune_tui.report.page import render
from ptune_tui.tui.app import PTuneApp

SIZE = (100, 32)
SETTLE_SECONDS = 8.0
ANSWER_SECONDS = 2.0
REPORT_SIZE = (1100, 805)
RUN, OTHER = "support-inbox", "support-tokens"
TRAIN = "--data support_inbox --batch-size 16 --evaluate-every 50 --display none"
TRAININGS = (
    f"train {TRAIN} --method prompt --max-steps 150 --out ptune/runs/{OTHER}",
    f"train {TRAIN} --method prefix --max-steps 200 --out ptune/runs/{RUN}",
)
MEASUREMENTS = (
    f"export ptune/runs/{RUN} --name support --out ptune/runs/{RUN}/bundle",
    f"eval ptune/runs/{RUN} --baselines base,instruction,few-shot,bundle"
    f" --bundle ptune/runs/{RUN}/bundle",
)
QUESTIONS = (
    "my card was charged twice this month",
    "my parcel says delivered but the porch is empty",
    "the app closes itself whenever I open a photo",
    "how do I change the name on my profile?",
)


async def picture(app: PTuneApp, path: Path, *keys: str) -> None:
    """Open the app, press keys, and draw it once nothing moves any more."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLE_SECONDS)
        for key in keys:
            await pilot.press(key)
            if key == "enter":
                await pilot.pause(ANSWER_SECONDS)
        await pilot.pause(SETTLE_SECONDS)
        app.clear_notifications()
        await pilot.pause()
        path.write_text(app.export_screenshot(), encoding="utf-8")


def typed(text: str) -> list[str]:
    """The keys that write a text."""
    names = {" ": "space", "?": "question_mark"}
    return [names.get(letter, letter) for letter in text]


def report_picture(run: Path, path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print(f"no Chromium here: {path} stays as it is", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(render(read_report(run)), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        size = f"--window-size={REPORT_SIZE[0]},{REPORT_SIZE[1]}"
        where = f"--screenshot={path}"
        profile = f"--user-data-dir={folder}/profile"
        subprocess.run(
            [*command, size, where, profile, page.as_uri()], check=True, stderr=subprocess.DEVNULL
        )


def ptune(words: str) -> None:
    print(f"$ ptune {words}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "ptune_tui", *words.split()], check=True)


async def draw(folder: Path) -> None:
    """Run the commands, and draw each place once there is something to see in it."""
    run = Path("ptune", "runs", RUN)
    for words in TRAININGS:
        ptune(words)
    await picture(PTuneApp("setup"), folder / "setup.svg")
    await picture(PTuneApp(attach=run), folder / "train.svg")
    for words in MEASUREMENTS:
        ptune(words)
    await picture(PTuneApp("runs"), folder / "runs.svg", "space", "down", "space", "up")
    await picture(PTuneApp("compare"), folder / "compare.svg")
    talk = PTuneApp(bundle=run / "bundle")
    keys = [key for question in QUESTIONS for key in (*typed(question), "enter")]
    await picture(talk, folder / "chat.svg", *keys)
    report_picture(run, folder / "report.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    ptune("models --fetch")
    models = models_folder()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        home = Path("ptune")
        home.mkdir()
        (home / "models").symlink_to(models, target_is_directory=True)
        os.environ["PTUNE_HOME"] = str(home)
        asyncio.run(draw(folder))


if __name__ == "__main__":
    main()
