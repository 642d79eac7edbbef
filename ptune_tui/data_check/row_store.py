"""All rows in a temporary file, to be looked up by position: the texts of a check are on disk."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass

import msgspec
import numpy as np

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.column import Column
from ptune_tui.data_check.report import Split
from ptune_tui.data_check.scratch import ScratchFile
from ptune_tui.reading.row import Turn
from ptune_tui.rows import Row

_PLACE = np.dtype(
    [
        ("offset", "<u8"),
        ("prompt_bytes", "<u4"),
        ("response_bytes", "<u4"),
        ("turns_bytes", "<u4"),
        ("line", "<u4"),
        ("item", "<u4"),
        ("file", "<u2"),
    ]
)

_turns_encoder = msgspec.msgpack.Encoder()
_turns_decoder = msgspec.msgpack.Decoder(tuple[Turn, ...])


@dataclass(frozen=True)
class StoredPlace:
    """Where a row came from, and where its texts lie.

    Attributes:
        split: Which file it is of.
        source: The file.
        line: Its place there.
        item: As in `Record`.
        offset: Of its texts in the file of texts.
        sizes: Bytes of prompt, response and turns, one behind the other.
    """

    split: Split
    source: str
    line: int
    item: int
    offset: int
    sizes: tuple[int, int, int]

    @property
    def is_conversation(self) -> bool:
        """Whether the prompt is a conversation."""
        return self.sizes[2] > 0


@dataclass(frozen=True)
class StoredRow:
    """A row that was looked up.

    Attributes:
        number: Its position among all rows of all files.
        split: Which file it is of.
        row: The row.
    """

    number: int
    split: Split
    row: Row


class RowStore:
    """Writes rows as they stream by, and gives back any of them.

    Two temporary files hold the texts and 30 bytes a row; both are gone when it is closed.
    """

    def __init__(self) -> None:
        self._texts = ScratchFile()
        self._places = Column(_PLACE)
        self._numbers: dict[tuple[Split, str], int] = {}  # of the files
        self._files: list[tuple[Split, str]] = []
        # Rows come split by split: the position of each one's first row.
        self._firsts: list[int] = []
        self._splits: list[Split] = []
        self.num_rows = 0

    def close(self) -> None:
        """Delete the files."""
        self._texts.close()
        self._places.close()

    def add(self, batch: Batch) -> None:
        """Write the rows of a batch."""
        prompts = [prompt.encode() for prompt in batch.prompts]
        responses = [response.encode() for response in batch.responses]
        turns = [_turns_encoder.encode(row.turns) if row.turns else b"" for row in batch.rows]
        places = np.zeros(len(batch.rows), _PLACE)
        places["prompt_bytes"] = [len(prompt) for prompt in prompts]
        places["response_bytes"] = [len(response) for response in responses]
        places["turns_bytes"] = [len(part) for part in turns]
        places["line"] = [row.line for row in batch.rows]
        places["item"] = [row.item for row in batch.rows]
        places["file"] = [self._number(batch.split, row.source) for row in batch.rows]
        lengths = places["prompt_bytes"].astype(np.uint64) + places["response_bytes"]
        lengths += places["turns_bytes"]
        ends = np.cumsum(lengths)
        places["offset"] = ends - lengths + np.uint64(self._texts.num_bytes)
        parts = zip(prompts, responses, turns, strict=True)
        self._texts.append(b"".join(text for part in parts for text in part))
        self._places.append(places)
        if not self._splits or self._splits[-1] != batch.split:
            self._firsts.append(batch.first)
            self._splits.append(batch.split)
        self.num_rows += len(batch.rows)

    def row(self, number: int) -> StoredRow:
        """The row of a position.

        Args:
            number (int): Position among all rows.
        """
        place = self.place(number)
        content = self._texts.read(place.offset, sum(place.sizes))
        prompt_bytes, response_bytes, _ = place.sizes
        turns = content[prompt_bytes + response_bytes :]
        row = Row(
            content[:prompt_bytes].decode(),
            content[prompt_bytes : prompt_bytes + response_bytes].decode(),
            place.source,
            place.line,
            turns=_turns_decoder.decode(turns) if turns else (),
            item=place.item,
        )
        return StoredRow(number, place.split, row)

    def place(self, number: int) -> StoredPlace:
        """Where the row of a position came from; its texts are not read."""
        offset, *sizes, line, item, file = self._places.at([number])[0].tolist()
        prompt_bytes, response_bytes, turns_bytes = sizes
        split, source = self._files[file]
        lengths = (prompt_bytes, response_bytes, turns_bytes)
        return StoredPlace(split, source, line, item, offset, lengths)

    def split_of(self, number: int) -> Split:
        """The split of the row of a position; nothing is read for it."""
        return self._splits[bisect(self._firsts, number) - 1]

    def _number(self, split: Split, source: str) -> int:
        number = self._numbers.setdefault((split, source), len(self._files))
        if number == len(self._files):
            self._files.append((split, source))
        return number
