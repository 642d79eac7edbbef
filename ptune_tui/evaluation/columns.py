"""Which columns of a data file are scored."""

from __future__ import annotations

from dataclasses import dataclass

from ptune_tui.config import DataConfig


@dataclass(frozen=True)
class Columns:
    """Names of a data file's columns; None for those of training, or to recognise them.

    Attributes:
        prompt: The input.
        response: The answer.
    """

    prompt: str | None = None
    response: str | None = None

    def data_config(self, template: str) -> DataConfig:
        """As `recognise_rows` takes them.

        Args:
            template (str): Jinja that made the prompts of training of several columns, or nothing.
        """
        return DataConfig(
            prompt_field=self.prompt,
            response_field=self.response,
            template=template if template and self.prompt is None else None,
        )


RECOGNISED = Columns()
