"""A real browser, headless: Chromium by its command line, and what it says."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MEASURE = """
const found = [];
for (const frame of document.querySelectorAll("iframe")) {
  const inner = frame.contentDocument;
  const boxes = {};
  for (const each of inner.querySelectorAll("figure, figure svg, figure table")) {
    const box = each.getBoundingClientRect();
    const figure = each.closest("figure");
    if (!box.width || !box.height) { boxes[figure.id] = 0; }
    else if (boxes[figure.id] === undefined) { boxes[figure.id] = box.width * box.height; }
  }
  const clipped = [];
  for (const text of inner.querySelectorAll("svg.plot text")) {
    const box = text.getBoundingClientRect(), svg = text.closest("svg").getBoundingClientRect();
    if (box.left < svg.left - 1 || box.right > svg.right + 1
        || box.top < svg.top - 1 || box.bottom > svg.bottom + 1) {
      clipped.push(text.textContent);
    }
  }
  const names = (each) => each.closest("figure")?.id || each.closest("section")?.id;
  const drawn = [...inner.querySelectorAll("table, svg.plot, pre")].filter(
    (each) => each.checkVisibility());
  const overlapping = [];
  for (const [number, one] of drawn.entries()) {
    const box = one.getBoundingClientRect();
    for (const other of drawn.slice(number + 1)) {
      const next = other.getBoundingClientRect();
      if (box.left < next.right - 1 && next.left < box.right - 1
          && box.top < next.bottom - 1 && next.top < box.bottom - 1) {
        overlapping.push(names(one) + " and " + names(other));
      }
    }
  }
  const edge = inner.body.getBoundingClientRect().right;
  const cut = drawn.filter((each) => each.getBoundingClientRect().right > edge + 1).map(names);
  const scrolled = [...inner.querySelectorAll(".scroll")].filter(
    (each) => each.scrollWidth > each.clientWidth + 1).map(names);
  found.push({
    scrolled: scrolled,
    overlapping: overlapping,
    cut: cut,
    width: frame.clientWidth,
    overflow: inner.documentElement.scrollWidth - frame.clientWidth,
    boxes: boxes,
    clipped: clipped,
    title: inner.title,
    background: getComputedStyle(inner.body).backgroundColor,
  });
}
const measured = document.createElement("pre");
measured.id = "measured";
measured.textContent = JSON.stringify(found);
document.body.append(measured);
"""


def browser() -> str | None:
    """Chromium's command, where there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


@dataclass(frozen=True)
class Seen:
    """What the browser made of a page.

    Attributes:
        frames: Measures of the page at each width.
        console: What it said on its console.
    """

    frames: list[dict[str, Any]]
    console: list[str]


def run(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Chromium with a profile of its own, which does nothing by itself.

    Args:
        profile (Path): A folder for it.
        *arguments (str): What to do with which page.
    """
    command = browser()
    assert command is not None
    quiet = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
        *("--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}"),
    ]
    return subprocess.run(
        [command, *quiet, *arguments], capture_output=True, text=True, timeout=60, check=True
    )


def as_printed(page: str) -> str:
    """The page as it is laid out on paper, for a browser that shows it on a screen."""
    assert page.count("@media print {") == 1
    return page.replace("@media print {", "@media screen {")


def look(page: str, folder: Path, widths: list[int], *flags: str) -> Seen:
    """Open a page at several widths and measure it.

    The page stands in frames beside a script of ours: it is not changed, its own policy holds.

    Args:
        page (str): The HTML.
        folder (Path): Where files may be written.
        widths (list[int]): Of the frames, in CSS pixels.
        *flags (str): More of Chromium's.
    """
    frames = "".join(
        f'<iframe srcdoc="{html.escape(page)}" style="width:{width}px;height:900px;border:0">'
        "</iframe>"
        for width in widths
    )
    around = folder / "around.html"
    around.write_text(
        f'<!doctype html><meta charset="utf-8"><body>{frames}'
        f"<script>addEventListener('load', () => {{{_MEASURE}}})</script>",
        encoding="utf-8",
    )
    done = run(folder / "profile", *flags, "--dump-dom", around.as_uri())
    measured = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    assert measured is not None, done.stderr
    console = re.findall(r"CONSOLE[:(].*", done.stderr)
    return Seen(json.loads(html.unescape(measured[1])), console)
