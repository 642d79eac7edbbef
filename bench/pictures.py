"""The README's pictures, made by the app itself.

    python bench/pictures.py RUN docs/pictures

RUN is a finished run, for example of `ptune demo`. Writes setup.svg and train.svg.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from ptune_tui.tui.app import PTuneApp

SIZE = (100, 32)
SETTLE_SECONDS = 8.0


async def picture(app: PTuneApp, path: Path) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETTLE_SECONDS)
        path.write_text(app.export_screenshot(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(picture(PTuneApp(), options.folder / "setup.svg"))
    asyncio.run(picture(PTuneApp(attach=options.run), options.folder / "train.svg"))


if __name__ == "__main__":
    main()
