"""The terminal app: set a run up, watch it, talk to what it made."""

from __future__ import annotations
