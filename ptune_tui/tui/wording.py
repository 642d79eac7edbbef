"""Numbers as people read them."""

from __future__ import annotations

import math
from pathlib import Path

from rich.cells import cell_len


def seconds_text(seconds: float) -> str:
    """A duration: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bytes_text(num_bytes: float) -> str:
    """A size in the units of the command line: `12 kB`, `85 MB`, `1.2 GB`."""
    if num_bytes <= 999e3:
        return f"{math.ceil(num_bytes / 1e3)} kB"
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes < 999.5e6 else f"{num_bytes / 1e9:.1f} GB"


def share_text(share: float) -> str:
    """A share of one as a percentage: `88.6 %`."""
    return f"{100 * share:.1f} %"


def loss_text(loss: float) -> str:
    """A loss with its name, which no score may go without: `loss 1.31`."""
    return f"loss {loss:.2f}"


def rate_text(rate: float) -> str:
    """A learning rate in three significant digits."""
    return f"{rate:.3g}"


def path_text(path: Path) -> str:
    """A path as people write it: `~` for their own folder."""
    home = Path.home()
    if path == home:
        return "~"
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def end_of(text: str, width: int) -> str:
    """The end of a text that is too long, with an ellipsis before it.

    Args:
        text (str): In one line.
        width (int): Cells that there are.
    """
    if cell_len(text) <= width:
        return text
    start = next(at for at in range(len(text) + 1) if cell_len(text[at:]) < width)
    return f"…{text[start:]}"


def one_line(text: str) -> str:
    """A text with its line breaks shown."""
    return text.replace("\r", "").replace("\n", "↵").replace("\t", "⇥")
