"""JSON documents: an array of objects, or an object with one such array inside.

The array is never in memory as a whole: records are found by their braces and decoded one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ptune_tui.reading.json_object import (
    DECODING_ERRORS,
    decode_object,
    json_fault,
    report_repeated,
)
from ptune_tui.reading.json_scanner import SHAPE, Element, JsonScanner
from ptune_tui.reading.record import OnFault, Record
from ptune_tui.reading.text_file import MAX_RECORD_BYTES, ByteStream, open_text


def iter_json_document(
    path: Path, report: OnFault, on_repeat: OnFault | None = None
) -> Iterator[Record]:
    """The records of a JSON document.

    Args:
        path (Path): The file.
        report (OnFault): Takes an element that is no object.
        on_repeat (OnFault | None): As `iter_records`.

    Raises:
        DataError: The file as a whole cannot be read on, or holds no array or two of them.
    """
    with open_text(path) as file:
        scanner = JsonScanner(file, path)
        mark = scanner.peek()
        if not mark:
            return
        if mark == b"[":
            elements = scanner.elements()
        elif mark == b"{":
            elements = _elements_inside(scanner)
        else:
            raise scanner.error("the file is neither a JSON array nor a JSON object.", SHAPE)
        for content, line, item in elements:
            try:
                record = Record(decode_object(content), str(path), line, item)
                if on_repeat:
                    report_repeated(content, record, on_repeat)
            except DECODING_ERRORS as error:
                fault = json_fault(error, content, str(path), line)
                report(replace(fault, item=item))
                continue
            yield record
        if scanner.peek():
            raise scanner.error("there is text behind the end of the JSON document.", SHAPE)


def is_json_lines(path: Path) -> bool:
    """Whether a file that is called JSON holds an object a line, as many programs write it."""
    with open_text(path) as file:
        first, second = _filled_line(file), _filled_line(file)
    try:
        decode_object(first)
    except DECODING_ERRORS:
        return False
    return second.lstrip().startswith(b"{")


def _filled_line(file: ByteStream) -> bytes:
    """The next line that is not blank, or its beginning; empty at the end."""
    lines = iter(partial(file.readline, MAX_RECORD_BYTES), b"")
    return next((line for line in lines if line.strip()), b"")


def _elements_inside(scanner: JsonScanner) -> Iterator[Element]:
    """The elements of the only array of objects in an object."""
    found: str | None = None
    scanner.take(b"{")
    while scanner.peek() != b"}":
        key = scanner.key()
        scanner.take(b":")
        if scanner.peek() == b"[" and scanner.is_array_of_objects():
            if found is not None:
                raise scanner.error(
                    f"the object holds two arrays, `{found}` and `{key}`.",
                    "Write each to a file of its own.",
                )
            found = key
            yield from scanner.elements()
        else:
            scanner.skip_value()
        scanner.take_comma(b"}")
    scanner.take(b"}")
    if found is None:
        raise scanner.error("the object holds no array of objects.", SHAPE)
