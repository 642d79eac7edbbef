"""The child process: a task's folder in, events out; or a chat over pipes.

python -P -m ptune_tui.worker FOLDER
python -P -m ptune_tui.worker --chat BUNDLE
"""

from __future__ import annotations
