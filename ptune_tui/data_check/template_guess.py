"""What the first rows of a stream were taken for, where tokens are counted before all are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TemplateGuess:
    """What the first training rows looked like, on which the model's own template depends.

    Attributes:
        is_closed: Whether their responses looked like labels.
        num_rows: How many they were.
    """

    is_closed: bool
    num_rows: int

    def refuted(self) -> str:
        """What to say where all of them together are the other kind."""
        kinds = ("labels", "text") if self.is_closed else ("text", "labels")
        guessed, found = (f"`{kind}`" for kind in kinds)
        return (
            f"The first {self.num_rows:,} training rows looked like {guessed}, all of them are "
            f"{found}: tokens were counted with the template of {guessed}, and training takes that "
            f"of {found}. Count again with `--scoring {kinds[1]}`."
        )
