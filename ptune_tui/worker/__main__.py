"""Entry of the child process."""

from __future__ import annotations

import sys

from ptune_tui.worker.main import main

sys.exit(main(sys.argv[1:]))
