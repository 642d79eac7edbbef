"""`ptune bench`: contenders in processes of their own that take turns.

python -P -m ptune_tui.worker.bench FOLDER prepare
python -P -m ptune_tui.worker.bench FOLDER ptune:KERNEL
python -P -m ptune_tui.worker.bench FOLDER peft:PRECISION
python -P -m ptune_tui.worker.bench FOLDER answering:prepare
python -P -m ptune_tui.worker.bench FOLDER answering:prepare:SIDE:VARIANT
python -P -m ptune_tui.worker.bench FOLDER answering:SIDE:VARIANT

Those that prepare write what the others read, and end; the others load and do their part when
asked. The first three are of `ptune bench train`, the last three (in `answering`) of `ptune bench
run`.
"""

from __future__ import annotations
