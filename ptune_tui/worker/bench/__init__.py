"""`ptune bench train`: contenders in processes of their own that take turns.

python -P -m ptune_tui.worker.bench FOLDER prepare
python -P -m ptune_tui.worker.bench FOLDER ptune:KERNEL
python -P -m ptune_tui.worker.bench FOLDER peft:PRECISION

The first writes what all the others read, and ends; the others load and do a step when asked.
"""

from __future__ import annotations
