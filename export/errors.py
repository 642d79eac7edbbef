"""Errors of templates, graphs and bundles, with a hint each."""

from __future__ import annotations


class ExportError(Exception):
    """Something cannot be exported or answered.

    Args:
        message (str): What is wrong, with the value and the place.
        hint (str): What to do about it.
    """

    category = "bundle"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BundleError(ExportError):
    """A bundle is damaged, of another version, or not a bundle."""


class ParityError(ExportError):
    """The exported graph does not compute what the trained model computes."""


class UnsupportedModelError(ExportError):
    """The graph writer does not know this family of models."""

    category = "model"


class NotCarriedError(ExportError):
    """Programs other than our own runtime cannot carry this prompt."""


class TemplateError(ExportError):
    """A template cannot be used."""

    category = "usage"


class RenderingError(ExportError):
    """No process that renders chat templates can be started."""

    category = "resources"


class SamplingError(ExportError):
    """Tokens cannot be drawn like this."""

    category = "usage"


class ConstraintError(ExportError):
    """Answers cannot be held to this form."""

    category = "usage"


class RowError(ExportError):
    """A row does not fit."""

    category = "data"
