"""The options of `ptune run` that hold free answers to JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptune_tui.errors import UsageError
from ptune_tui.reading.text_file import read_text

if TYPE_CHECKING:
    from export.answering import Answerer
    from export.constraint import Constraint

JsonSchemaOption = Annotated[
    Path | None,
    typer.Option(help="Free answers are JSON of the schema in this file (needs the extra `json`)."),
]
JsonObjectOption = Annotated[
    bool, typer.Option("--json-object", help="Free answers are JSON objects.")
]


def form_of(
    answerer: Answerer, schema_file: Path | None, *, is_object: bool, is_scored: bool
) -> Constraint | None:
    """What holds the answers to JSON; None where no such option was given.

    Args:
        answerer (Answerer): What answers.
        schema_file (Path | None): `--json-schema`.
        is_object (bool): `--json-object`.
        is_scored (bool): Whether the answers are labels.

    Raises:
        UsageError: The options exclude each other, or the answers are labels.
        DataError: There is no such file.
        ConstraintError: The schema cannot be kept to, or the extra is not installed.
    """
    if schema_file is None and not is_object:
        return None
    if schema_file is not None and is_object:
        raise UsageError(
            "`--json-schema` and `--json-object` were both given.", "Give one of them."
        )
    if is_scored:
        raise UsageError(
            f"`{'--json-object' if is_object else '--json-schema'}` is for free answers, and this "
            "prompt answers with one of its labels.",
            "Add `--generate` to write freely.",
        )
    from export.constraint import ANY_OBJECT, json_constraint
    from export.errors import ConstraintError

    if schema_file is None:
        return json_constraint(answerer, ANY_OBJECT)
    text = read_text(schema_file)
    try:
        return json_constraint(answerer, text)
    except ConstraintError as error:
        raise UsageError(f"{schema_file}: {error.message}", error.hint) from None
