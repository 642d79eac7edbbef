"""All rows in a temporary file, to be looked up by position: the texts of a check are on disk."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import numpy as np

from ptune_tui.data_check.batch import Batch
from ptune_tui.data_check.column import Column
from ptune_tui.data_check.report import Split
from ptune_tui.rows import Row

_PLACE = np.dtype(
    [
        ("offset", "<u8"),
        ("prompt_bytes", "<u4"),
        ("response_bytes", "<u4"),
        ("line", "<u4"),
        ("file", "<u2"),
    ]
)


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

    Two temporary files hold the texts and 22 bytes a row; both are gone when it is closed.
    """

    def __init__(self) -> None:
        self._texts = tempfile.TemporaryFile(prefix="ptune-", buffering=0)  # noqa: SIM115
        self._places = Column(_PLACE)
        self._num_bytes = 0
        self._files: dict[tuple[Split, str], int] = {}
        self.num_rows = 0

    def close(self) -> None:
        """Delete the files."""
        self._texts.close()
        self._places.close()

    def add(self, batch: Batch) -> None:
        """Write the rows of a batch."""
        prompts = [prompt.encode() for prompt in batch.prompts]
        responses = [response.encode() for response in batch.responses]
        places = np.zeros(len(batch.rows), _PLACE)
        places["prompt_bytes"] = [len(prompt) for prompt in prompts]
        places["response_bytes"] = [len(response) for response in responses]
        places["line"] = [row.line for row in batch.rows]
        places["file"] = [
            self._files.setdefault((batch.split, row.source), len(self._files))
            for row in batch.rows
        ]
        lengths = places["prompt_bytes"].astype(np.uint64) + places["response_bytes"]
        ends = np.cumsum(lengths)
        places["offset"] = ends - lengths + np.uint64(self._num_bytes)
        pairs = zip(prompts, responses, strict=True)
        self._texts.seek(self._num_bytes)
        self._num_bytes += self._texts.write(b"".join(text for pair in pairs for text in pair))
        self._places.append(places)
        self.num_rows += len(batch.rows)

    def row(self, number: int) -> StoredRow:
        """The row of a position.

        Args:
            number (int): Position among all rows.
        """
        offset, prompt_bytes, response_bytes, line, file = self._places.at([number])[0].tolist()
        self._texts.seek(offset)
        content = self._texts.read(prompt_bytes + response_bytes)
        split, source = self._file(file)
        prompt, response = content[:prompt_bytes].decode(), content[prompt_bytes:].decode()
        return StoredRow(number, split, Row(prompt, response, source, line))

    def split_of(self, number: int) -> Split:
        """The split of the row of a position."""
        return self._file(int(self._places.at([number])["file"][0]))[0]

    def _file(self, index: int) -> tuple[Split, str]:
        return list(self._files)[index]
