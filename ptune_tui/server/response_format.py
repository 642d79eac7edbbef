"""`response_format`: what an answer has to look like, in OpenAI's words."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from export.answering import Answerer
from export.constraint import ANY_OBJECT, Constraint, json_constraint
from export.errors import ConstraintError
from ptune_tui.server.refusal import Refusal

FIELD = "response_format"


class Text(Struct, frozen=True, tag_field="type", tag="text", forbid_unknown_fields=True):
    """Any text."""


class JsonObject(
    Struct, frozen=True, tag_field="type", tag="json_object", forbid_unknown_fields=True
):
    """Any JSON object."""


class NamedSchema(Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON schema; an answer always keeps to it, whatever `strict` says.

    Attributes:
        schema: The schema.
        name: It changes no answer, like the description.
        description: For a provider that tells the model.
        strict: Whether answers have to keep to it.
    """

    schema: dict[str, Any]
    name: str = ""
    description: str | None = None
    strict: bool | None = None


class JsonSchema(
    Struct, frozen=True, tag_field="type", tag="json_schema", forbid_unknown_fields=True
):
    """JSON of a schema."""

    json_schema: NamedSchema


ResponseFormat = Text | JsonObject | JsonSchema


def constraint_of(answerer: Answerer, asked: ResponseFormat) -> Constraint | None:
    """What holds answers to a format; None for any text.

    Args:
        answerer (Answerer): What answers.
        asked (ResponseFormat): The format.

    Raises:
        Refusal: The schema cannot be kept to, or the package for it is not installed.
    """
    if isinstance(asked, Text):
        return None
    schema = asked.json_schema.schema if isinstance(asked, JsonSchema) else ANY_OBJECT
    try:
        return json_constraint(answerer, schema)
    except ConstraintError as error:
        raise Refusal(400, error.message, param=FIELD) from None
