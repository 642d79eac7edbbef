"""What `ptune inspect` found in the prompt: a table of its tokens, and a plot of its beginnings."""

from __future__ import annotations

from dataclasses import dataclass

from ptune_tui.inspection import Inspection
from ptune_tui.inspection_words import left_out_alone, share
from ptune_tui.report.axis import linear_axis
from ptune_tui.report.plot import Plot, Series


@dataclass(frozen=True)
class TokenRow:
    """One virtual token: its texts as the table shows them, empty where nothing was measured."""

    number: int
    norms: str
    nearest: list[str]
    attention_text: str
    attention_answer: str
    loss_without: str


def token_rows(found: Inspection) -> list[TokenRow]:
    """The table of tokens.

    Args:
        found (Inspection): What was found.
    """
    alone, whole = left_out_alone(found), found.whole
    rows = []
    for number, token in enumerate(found.tokens):
        norms = [token.key_norm, token.value_norm] if found.has_layers else [token.norm]
        change = ""
        if alone and whole is not None:
            change = f"{alone[number].loss - whole.loss:+.3f}"
        rows.append(
            TokenRow(
                number,
                " / ".join(f"{norm:.2f}" for norm in norms if norm is not None),
                [near.text for near in token.nearest],
                share(token.attention_text),
                share(token.attention_answer),
                change,
            )
        )
    return rows


def beginnings_plot(found: Inspection) -> Plot | None:
    """The loss with the first tokens alone; None where no rows were looked at.

    Args:
        found (Inspection): What was found.
    """
    if found.whole is None or found.base is None:
        return None
    parts = [found.base, *found.first, found.whole]
    points = [(float(len(part.kept)), part.loss) for part in parts]
    titles = [f"the first {len(part.kept)}: loss {part.loss:.3f}" for part in parts]
    losses = [part.loss for part in parts]
    return Plot(
        key="beginnings",
        title="Loss with the first tokens alone",
        summary=f"From {losses[0]:.3f} without a prompt to {losses[-1]:.3f} with all of it.",
        x=linear_axis("tokens kept", [count for count, _ in points]),
        y=linear_axis("loss of the response (nats)", losses),
        series=[Series("loss", points, 0, has_markers=True, titles=titles)],
        caption=f"On {found.num_rows} rows. The tokens behind the first ones are left out, as in a "
        "prompt that never had them.",
    )
