"""One JSON object from its bytes, and what may be wrong with it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from ptune_tui.reading.record import OnFault, Record, RecordFault
from ptune_tui.reading.text_file import encoding_fault

decode_object = msgspec.json.Decoder(dict[str, Any]).decode
DECODING_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_HINT = 'Each record is one JSON object, such as {"prompt": "...", "response": "..."}.'
_BYTE = re.compile(r"\(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"NaN|Infinity")
_NAME_END = re.compile(rb'"\s*:')


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
    if name := _number_that_is_none(content, text):
        return RecordFault(
            source,
            line,
            f"this is not JSON: {name} is no number there.",
            "Write null for what is missing, or leave the field out.",
        )
    text = text.removeprefix("JSON is malformed: ")
    return RecordFault(source, line, f"this is not JSON: {text}.", _hint(content))


def _number_that_is_none(content: bytes, error: str) -> str | None:
    """NaN or an infinity, which Python writes, at the byte that a decoder did not take."""
    place = _BYTE.search(error)
    found = _NO_NUMBER.match(content, int(place[1])) if place else None
    return found[0].decode() if found else None


def _hint(content: bytes) -> str:
    trimmed = content.strip()
    if trimmed.startswith(b"["):
        return f"{_HINT} Where the whole file is one array, let its name end in `.json`."
    if b"\r" in trimmed and b"\n" not in trimmed:
        return "Lines end in a carriage return alone; save the file with line feeds."
    return _HINT


def report_repeated(content: bytes, record: Record, report: OnFault) -> None:
    """Say that an object, or one inside it, has a name twice: its last value was read.

    Args:
        content (bytes): A JSON object.
        record (Record): What was read of it.
        report (OnFault): Takes the place; the record can be used.
    """
    # Each name ends so, and texts only add to them: most objects are through at once.
    if len(_NAME_END.findall(content)) == len(record.fields):
        return
    repeated: list[str] = []

    def look(pairs: list[tuple[str, None]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            repeated.append(next(name for name in names if names.count(name) > 1))

    json.loads(content, object_pairs_hook=look, parse_int=str, parse_float=str, strict=False)
    if repeated:
        message = f"`{repeated[0]}` stands twice in this object; its last value counts."
        hint = "Rename one of them, or take it out."
        report(RecordFault(record.source, record.line, message, hint, record.item))
