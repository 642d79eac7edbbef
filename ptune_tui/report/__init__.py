"""The report of a run: one HTML file without a script and without a request. Torch-free."""

from __future__ import annotations
