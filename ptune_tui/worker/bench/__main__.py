"""Entry of a bench's child process."""

from __future__ import annotations

import sys

from ptune_tui.worker.bench.child import main

sys.exit(main(sys.argv[1:]))
