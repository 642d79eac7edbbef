"""The curve, the stages and the answers of a run, and how they share the room that there is."""

from __future__ import annotations

from dataclasses import dataclass

from textual.containers import Grid
from textual.message import Message

LEAST_CHART = 8  # rows with its frame: five of the curve, so that its axis has two numbers
SMALLEST_CHART = 6  # below which there is nothing to see
LEAST_ANSWERS = 3  # rows with the frame
FRAME = 2
BESIDE_WIDTH, WIDE_WIDTH = 72, 100  # from where the curve may stand, or always stands, beside them


@dataclass(frozen=True)
class Arrangement:
    """Who stands where.

    Attributes:
        rows: Heights of the grid's two rows, as styles take them.
        is_beside: Whether the curve stands beside the others, not above them.
        is_line: Whether the stages are one line.
        has_answers: Whether there is room for the answers.
        has_chart: Whether there is room for the curve: an error may take it all.
    """

    rows: str
    is_beside: bool = False
    is_line: bool = False
    has_answers: bool = True
    has_chart: bool = True


def arrangement(width: int, height: int, num_stages: int) -> Arrangement:
    """Give the curve what it needs: answers give way first, then the stages.

    Args:
        width (int): Cells.
        height (int): Rows.
        num_stages (int): Lines of the stages.
    """
    stages = num_stages + FRAME
    if width < WIDE_WIDTH and height - stages >= LEAST_CHART:
        return Arrangement(f"1fr {stages}")
    if width < BESIDE_WIDTH or height < stages:
        has_chart = height - 1 >= SMALLEST_CHART
        rows = "1fr 1" if has_chart else "1 1fr"
        return Arrangement(rows, is_line=True, has_answers=False, has_chart=has_chart)
    has_answers = height - stages >= LEAST_ANSWERS
    return Arrangement(f"{stages} 1fr", is_beside=True, has_answers=has_answers)


class RunPanes(Grid):
    """The boxes; the class `-asked` gives what is asked for the place of what gives way last."""

    class Shared(Message):
        """The room is shared in another way."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._num_stages = 0
        self._is_asked = False
        self._arranged: object = None

    @property
    def is_line(self) -> bool:
        """Whether the stages are one line."""
        return self.has_class("-line")

    def share(self, num_stages: int, *, is_asked: bool) -> None:
        """Share the room.

        Args:
            num_stages (int): Lines of the stages.
            is_asked (bool): Whether the box of the answers has to be seen, room or not.
        """
        self._num_stages, self._is_asked = num_stages, is_asked
        self._share()

    def on_resize(self) -> None:
        """Share it anew."""
        self._share()

    def _share(self) -> None:
        if not self._num_stages or not self.size.width:
            return
        chosen = arrangement(self.size.width, self.size.height, self._num_stages)
        is_asked = self._is_asked and not chosen.has_answers
        if (chosen, is_asked) == self._arranged:
            return
        self._arranged = (chosen, is_asked)
        self.set_class(chosen.is_beside, "-beside")
        self.set_class(chosen.is_line, "-line")
        self.set_class(not chosen.has_answers, "-no-answers")
        self.set_class(not chosen.has_chart, "-no-chart")
        self.set_class(is_asked, "-asked")
        self.styles.grid_rows = "1 1fr" if chosen.is_line and is_asked else chosen.rows
        self.post_message(self.Shared())
