"""What can be trained: one file a method, behind one protocol."""

from __future__ import annotations
