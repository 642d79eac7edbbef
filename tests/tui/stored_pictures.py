"""Waits for a stored picture, and says in words where another one differs."""

from __future__ import annotations

import difflib
import html
import re
import time
from collections import defaultdict

from pytest_textual_snapshot import normalize_svg
from textual.pilot import Pilot

MAX_SECONDS = 15.0  # a busy machine is slow to draw; what is never drawn costs so long

_WORDS = re.compile(r'<text class="terminal-(r\d+)" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>')
_STYLES = re.compile(r"\.terminal-(r\d+) \{([^}]*)\}")


def picture_of(pilot: Pilot[None]) -> str:
    """What is drawn now, as it is stored."""
    return normalize_svg(pilot.app.export_screenshot(title=pilot.app.title, simplify=True))


async def wait_for_picture(pilot: Pilot[None], expected: str) -> str:
    """Wait until the picture is drawn and stays; gives the last one that was seen."""
    deadline = time.monotonic() + MAX_SECONDS
    num_alike, seen = 0, ""
    while num_alike < 2 and time.monotonic() < deadline:
        await pilot.pause(0.1)
        seen = picture_of(pilot)
        num_alike = num_alike + 1 if seen == expected else 0
    return seen


def picture_lines(picture: str) -> list[str]:
    """Each line of text with its place and its styles."""
    styles = dict(_STYLES.findall(picture))
    rows: dict[float, list[tuple[float, str]]] = defaultdict(list)
    for style, x, y, words in _WORDS.findall(picture):
        text = html.unescape(words).replace("\xa0", " ")
        rows[float(y)].append((float(x), f"{x} {text!r} {styles.get(style, '').strip()}"))
    return [f"line at {y}: {words}" for y in sorted(rows) for _, words in sorted(rows[y])]


def differences(expected: str, seen: str) -> str:
    """Where two pictures differ, in words; where only surfaces do, that."""
    if seen == expected:
        return "it was drawn, and then something else"
    lines = difflib.unified_diff(
        picture_lines(expected), picture_lines(seen), "stored", "drawn", n=0, lineterm=""
    )
    return "\n".join(lines) or "the words are the same: colours of surfaces differ"
