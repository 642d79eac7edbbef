"""The parts that the places are made of."""

from __future__ import annotations
