"""The list of keys, written from the app's own table: python bench/keys.py docs/keys.md."""

from __future__ import annotations

import sys
from pathlib import Path

from ptune_tui.tui.keymap import keys_document

if __name__ == "__main__":
    Path(sys.argv[1]).write_text(keys_document(), encoding="utf-8")
