"""Data checked before it is trained on: what `ptune data check` finds and mends. Torch-free."""
