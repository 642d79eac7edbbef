"""A stream of JSON in which values are found without decoding them.

Nothing is in memory but the value that is looked at and a little behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ptune_tui.errors import DataError
from ptune_tui.reading.json_object import DECODING_ERRORS, json_fault
from ptune_tui.reading.record import place_of
from ptune_tui.reading.text_file import MAX_RECORD_BYTES, ByteStream

_CHUNK_BYTES = 1 << 18
_MARK = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_REST_OF_LINE = re.compile(rb"[ \t\r]*,?[ \t\r]*")
_SCALAR_END = re.compile(rb"[ \t\r\n,\]}]")
SHAPE = 'A JSON file holds an array of objects, or an object such as {"data": [...]}.'


class Element(NamedTuple):
    """An element of an array: its bytes, the line that it begins on, and `Record`'s item."""

    content: bytes
    line: int
    item: int


class JsonScanner:
    """Finds values in a stream of JSON without decoding them.

    Args:
        file (ByteStream): The stream.
        path (Path): Its file, for errors.
    """

    def __init__(self, file: ByteStream, path: Path) -> None:
        self.path = path
        self.line = 1
        # Of the element that is being read: `Record`'s item, as far as is known, and its line.
        self._item = self._item_line = 0
        self._file = file
        self._buffer = b""
        self._position = 0
        self._is_at_end = False

    def error(self, message: str, hint: str) -> DataError:
        """An error at the place that was reached."""
        item = self._item if self.line == self._item_line else 0
        return DataError(f"{place_of(str(self.path), self.line, item)}: {message}", hint)

    def peek(self) -> bytes:
        """The next byte that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            assert match is not None
            self._advance(match.end())
            if self._position < len(self._buffer) or not self._read_more():
                return self._buffer[self._position : self._position + 1]

    def take(self, mark: bytes) -> None:
        """Go behind the next byte, which has to be `mark`."""
        found = self.peek()
        if found != mark:
            raise self._unexpected(found, f"`{mark.decode()}`")
        self._advance(self._position + 1)

    def take_comma(self, closing: bytes) -> None:
        """Go behind a comma, unless the closing mark comes next."""
        if self.peek() == closing:
            return
        self.take(b",")
        if self.peek() == closing:
            raise self.error("there is a comma behind the last element.", "Leave it out.")

    def elements(self) -> Iterator[Element]:
        """The elements of the array that begins here."""
        self.take(b"[")
        number = 0
        self._item_line = 0
        while self.peek() != b"]":
            number += 1
            self._item = number if self.line == self._item_line else 0
            self._item_line = self.line
            content = self._value()
            if self.line == self._item_line and self._is_followed():
                self._item = number
            yield Element(content, self._item_line, self._item)
            self.take_comma(b"]")
        self._item = 0
        self.take(b"]")

    def _is_followed(self) -> bool:
        """Whether another element begins on the line that the last one ends on."""
        while True:
            match = _REST_OF_LINE.match(self._buffer, self._position)
            assert match is not None
            if match.end() < len(self._buffer):
                return self._buffer[match.end() : match.end() + 1] not in (b"\n", b"]")
            if not self._read_more():
                return False

    def is_array_of_objects(self) -> bool:
        """Whether the array that begins here begins with an object."""
        while len(self._buffer) - self._position < _CHUNK_BYTES and self._read_more():
            pass
        match = _SPACE.match(self._buffer, self._position + 1)
        assert match is not None
        return self._buffer[match.end() : match.end() + 1] == b"{"

    def key(self) -> str:
        """The name of the member that begins here."""
        found = self.peek()
        if found != b'"':
            raise self._unexpected(found, "a name in quotation marks")
        name: str = self._decoded(self._value(), str)
        return name

    def skip_value(self) -> None:
        """Go behind a value that is not needed."""
        self._decoded(self._value(), object)

    def _decoded(self, content: bytes, kind: type) -> Any:
        try:
            return msgspec.json.decode(content, type=kind)
        except DECODING_ERRORS as error:
            raise json_fault(error, content, str(self.path), self.line).error() from None

    def _value(self) -> bytes:
        """The bytes of the value that begins here."""
        first = self.peek()
        length = self._scalar_length() if first not in (b"{", b"[", b'"') else self._nested_length()
        content = self._buffer[self._position : self._position + length]
        self._advance(self._position + length)
        return content

    def _nested_length(self) -> int:
        """Bytes of the string, array or object that begins here."""
        depth = 0
        behind = 0
        while True:
            for match in _MARK.finditer(self._buffer, self._position + behind):
                mark = match[0]
                if mark == b'"':
                    break  # a string that goes on behind the buffer
                behind = match.end() - self._position
                depth += (mark in (b"{", b"[")) - (mark in (b"}", b"]"))
                if depth == 0:
                    return behind
            self._need_more()

    def _scalar_length(self) -> int:
        while True:
            match = _SCALAR_END.search(self._buffer, self._position)
            if match is not None:
                if match.start() == self._position:
                    raise self._unexpected(match[0], "a value")
                return match.start() - self._position
            self._need_more()

    def _need_more(self) -> None:
        length = len(self._buffer) - self._position
        if length > MAX_RECORD_BYTES:
            raise self.error(
                f"this record is longer than {MAX_RECORD_BYTES >> 20} MiB.",
                "Is a quotation mark or a bracket missing?",
            )
        if not self._read_more():
            raise self.error(
                "the file ends inside the record that begins here.",
                "It is cut, or a quotation mark or a bracket is missing.",
            )

    def _read_more(self) -> bool:
        """Read on, twice as much for a long value; false at the end of the file."""
        rest = self._buffer[self._position :]
        more = b"" if self._is_at_end else self._file.read(max(_CHUNK_BYTES, len(rest)))
        self._is_at_end = not more
        self._buffer, self._position = rest + more, 0
        return bool(more)

    def _advance(self, position: int) -> None:
        self.line += self._buffer.count(b"\n", self._position, position)
        self._position = position

    def _unexpected(self, found: bytes, wanted: str) -> DataError:
        if not found:
            return self.error("the file ends before its JSON does.", "It is cut: fetch it again.")
        what = repr(found.decode("latin-1"))
        return self.error(f"{wanted} was expected here, not {what}.", SHAPE)
