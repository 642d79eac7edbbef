"""Errors of the frozen weights, with a hint each."""

from __future__ import annotations


class QuantError(Exception):
    """A model cannot be read or put on the grid.

    Args:
        message (str): What is wrong, with the value and the place.
        hint (str): What to do about it.
    """

    category = "model"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
