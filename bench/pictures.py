"""The README's pictures, made by the program itself.

    python bench/pictures.py RUN docs/pictures

RUN is a finished run, for example of `ptune demo`. Writes setup.svg, train.svg and, where there is
Chromium, the top of its report as report.png.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path

from ptune_tui.report.contents import read_report
from ptune_tui.report.page import render
from ptune_tui.tui.app import PTuneApp

SIZE = (100, 32)
SETTLE_SECONDS = 8.0
REPORT_SIZE = (1100, 805)


async def picture(app: PTuneApp, path: Path) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLE_SECONDS)
        path.write_text(app.export_screenshot(), encoding="utf-8")


def report_picture(run: Path, path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print(f"no Chromium here: {path} stays as it is")
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(render(read_report(run)), encoding="utf-8")
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        size = f"--window-size={REPORT_SIZE[0]},{REPORT_SIZE[1]}"
        where = f"--screenshot={path.absolute()}"
        profile = f"--user-data-dir={folder}/profile"
        subprocess.run(
            [*command, size, where, profile, page.as_uri()], check=True, stderr=subprocess.DEVNULL
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    report_picture(options.run, options.folder / "report.png")
    asyncio.run(picture(PTuneApp("setup"), options.folder / "setup.svg"))
    asyncio.run(picture(PTuneApp(attach=options.run), options.folder / "train.svg"))


if __name__ == "__main__":
    main()
