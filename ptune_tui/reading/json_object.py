"""One JSON object from its bytes, and what may be wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec

from ptune_tui.reading.record import RecordFault
from ptune_tui.reading.text_file import encoding_fault

decode_object = msgspec.json.Decoder(dict[str, Any]).decode
DECODING_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_HINT = 'Each record is one JSON object, such as {"prompt": "...", "response": "..."}.'


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
    if isinstance(error, RecursionError):
        return RecordFault(source, line, "this JSON is nested too deeply.", _HINT)
    text = str(error)
    if text.startswith("Expected `object`, got "):
        kind = text.split("`")[3]
        return RecordFault(source, line, f"this is a JSON {kind}, not an object.", _hint(content))
    text = text.removeprefix("JSON is malformed: ")
    return RecordFault(source, line, f"this is not JSON: {text}.", _hint(content))


def _hint(content: bytes) -> str:
    trimmed = content.strip()
    if trimmed.startswith(b"["):
        return f"{_HINT} Where the whole file is one array, let its name end in `.json`."
    if b"\r" in trimmed and b"\n" not in trimmed:
        return "Lines end in a carriage return alone; save the file with line feeds."
    return _HINT
