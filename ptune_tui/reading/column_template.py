r"""Templates in Jinja over a record's fields, rendered in Jinja's sandbox.

`News: {{ title }} - {{ text }}\nTopic:` is taken apart: what stands before the first mark and
behind the last is the same in every row and becomes the template that the model sees, with
`{prompt}` for what is rendered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ptune_tui.errors import DataError, UsageError
from ptune_tui.reading.record import Record

_OPENING = re.compile(r"\{\{|\{%|\{#")
_CLOSING = re.compile(r"\}\}|%\}|#\}")
_RENDERING_ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


def is_jinja(template: str | None) -> bool:
    """Whether a template is Jinja, not text with `{prompt}`."""
    return template is not None and _OPENING.search(template) is not None


@dataclass(frozen=True)
class ColumnTemplate:
    """Makes one text of a record's fields.

    Attributes:
        source: Jinja.

    Raises:
        UsageError: It is not valid Jinja.
    """

    source: str

    def __post_init__(self) -> None:
        self.columns  # noqa: B018 - a broken template is told before a row is read

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The fields that it names."""
        try:
            return tuple(sorted(meta.find_undeclared_variables(_sandbox().parse(self.source))))
        except TemplateError as error:
            raise UsageError(
                f"The template is not valid Jinja: {error}",
                'For example `--template "{{ title }} - {{ text }}"`.',
            ) from None

    def render(self, record: Record) -> str:
        """The text of a record.

        Raises:
            DataError: It names a field that the record does not have, or cannot be rendered.
        """
        try:
            text = self._template.render(record.fields)
        except _RENDERING_ERRORS as error:
            found = ", ".join(f"`{name}`" for name in record.fields)
            raise DataError(
                f"{record.place}: the template cannot be filled in: {error}.",
                f"The row has {found}. Mend the template, or name the input with `--prompt-field`.",
            ) from None
        if not text.strip():
            raise DataError(
                f"{record.place}: the template makes an empty text of this row.",
                "Fill in its fields, or leave the row out.",
            )
        return text

    @cached_property
    def _template(self) -> Template:
        return _sandbox().from_string(self.source)


def taken_apart(template: str) -> tuple[str | None, str]:
    """The model's template and the Jinja that makes the prompt, of a template in Jinja.

    Args:
        template (str): `is_jinja`.

    Returns:
        tuple[str | None, str]: Text with `{prompt}`, or None where nothing stands around the Jinja
        and the model's own is to be used; and the Jinja.

    Raises:
        UsageError: It holds `{prompt}` besides.
    """
    opening = _OPENING.search(template)
    assert opening is not None
    start = opening.start()
    stop = max((match.end() for match in _CLOSING.finditer(template)), default=len(template))
    lead, jinja, tail = template[:start], template[start:stop], template[stop:]
    if "{prompt}" in template:
        raise UsageError(
            f"The template mixes {{prompt}} with Jinja: {template!r}",
            "Name columns only: {{ prompt }} is one of them.",
        )
    if jinja[2:3] == "-":
        lead = lead.rstrip()
    if jinja[-3:-2] == "-":
        tail = tail.lstrip()
    if not lead and not tail:
        return None, jinja
    return f"{lead}{{prompt}}{tail or chr(10)}", jinja


def _sandbox() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else value,
    )
