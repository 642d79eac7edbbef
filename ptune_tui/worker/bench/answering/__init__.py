"""`ptune bench run`: the contenders of answering, one a file, and what they read."""

from __future__ import annotations
