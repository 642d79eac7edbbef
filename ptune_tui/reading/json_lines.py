"""JSON Lines: one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ptune_tui.reading.lines import encoding_fault, iter_lines
from ptune_tui.reading.record import OnFault, Record, RecordFault

_decode = msgspec.json.Decoder(dict[str, Any]).decode
DECODING_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def iter_json_lines(path: Path, report: OnFault) -> Iterator[Record]:
    """The records of a file, one a line; blank lines are passed over.

    Args:
        path (Path): The file.
        report (OnFault): Takes a line that is no object.

    Raises:
        DataError: The file as a whole cannot be read on.
    """
    source = str(path)
    for number, content in enumerate(iter_lines(path), start=1):
        try:
            fields = _decode(content)
        except DECODING_ERRORS as error:
            if content.strip():
                report(json_fault(error, content, source, number))
            continue
        yield Record(fields, source, number)


def json_fault(error: Exception, content: bytes, source: str, line: int) -> RecordFault:
    """What is wrong with a JSON object, in a sentence.

    Args:
        error (Exception): The decoder's, one of `DECODING_ERRORS`.
        content (bytes): What was to be an object.
        source (str): The file.
        line (int): Where it begins there.
    """
    if badly_encoded := encoding_fault(content, source, line):
        return badly_encoded
    hint = 'Each record is one JSON object, such as {"prompt": "...", "response": "..."}.'
    if isinstance(error, RecursionError):
        return RecordFault(source, line, "this JSON is nested too deeply.", hint)
    text = str(error)
    if text.startswith("Expected `object`, got "):
        kind = text.split("`")[3]
        return RecordFault(source, line, f"this is a JSON {kind}, not an object.", hint)
    if b"\r" in content.strip():
        hint = "Lines end in a carriage return alone; save the file with line feeds."
    text = text.removeprefix("JSON is malformed: ")
    return RecordFault(source, line, f"this line is not JSON: {text}.", hint)
