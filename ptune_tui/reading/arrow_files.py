"""Parquet and Arrow files, batch by batch. `pyarrow` is asked for only here.

The line of such a record is its row in the file, counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptune_tui.errors import DataError, UsageError, missing_data_extra
from ptune_tui.reading.label_names import label_names
from ptune_tui.reading.record import OnFault, Record, RecordFault

if TYPE_CHECKING:
    import pyarrow

_BATCH_ROWS = 1024
_READ_BYTES = 1 << 20
_FILE_MAGIC = b"ARROW1"
_OLD_FEATHER_MAGIC = b"FEA1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def iter_parquet(path: Path, report: OnFault) -> Iterator[Record]:
    """The records of a Parquet file.

    Args:
        path (Path): The file.
        report (OnFault): Takes a row whose label has no name.

    Raises:
        UsageError: `pyarrow` is not installed.
        DataError: The file is no Parquet, or damaged.
    """
    arrow = _arrow()
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(
            path, buffer_size=_READ_BYTES, pre_buffer=False, page_checksum_verification=True
        ) as file:
            names = label_names(file.schema_arrow.metadata, path)
            batches = file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
            for batch in batches:
                for fields in batch.to_pylist():
                    number += 1
                    if _name_labels(fields, names, report, str(path), number):
                        yield Record(fields, str(path), number)
    except _errors(arrow) as error:
        raise _damage(path, number, "Parquet", error) from None


def iter_arrow(path: Path, report: OnFault) -> Iterator[Record]:
    """The records of an Arrow file: a stream, as `datasets` saves it, or a file, as Feather is.

    Args:
        path (Path): The file.
        report (OnFault): Takes a row whose label has no name.

    Raises:
        UsageError: `pyarrow` is not installed.
        DataError: The file is no Arrow, of Feather's old version, or damaged.
    """
    arrow = _arrow()
    number = 0
    try:
        with arrow.memory_map(str(path)) as file:
            batches, schema = _arrow_batches(arrow, file, path)
            names = label_names(schema.metadata, path)
            for batch in batches:
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    for fields in batch.slice(start, _BATCH_ROWS).to_pylist():
                        number += 1
                        if _name_labels(fields, names, report, str(path), number):
                            yield Record(fields, str(path), number)
    except _errors(arrow) as error:
        raise _damage(path, number, "Arrow", error) from None


def _arrow_batches(
    arrow: Any, file: pyarrow.MemoryMappedFile, path: Path
) -> tuple[Iterator[pyarrow.RecordBatch], pyarrow.Schema]:
    """The batches of a file or a stream, and their schema."""
    size = file.size()
    head = file.read_at(min(size, 8), 0)
    if head.startswith(_OLD_FEATHER_MAGIC):
        raise DataError(f"{path}:1: this is Feather's version 1.", "Write it again as version 2.")
    if head.startswith(_FILE_MAGIC):
        reader = arrow.ipc.open_file(file)
        return map(reader.get_batch, range(reader.num_record_batches)), reader.schema
    reader = arrow.ipc.open_stream(file)
    # A stream that is cut between two batches reads well: only its end mark tells.
    tail = file.read_at(min(size, len(_END_OF_STREAM)), max(0, size - len(_END_OF_STREAM)))
    if tail != _END_OF_STREAM:
        raise DataError(
            f"{path}:1: this Arrow stream ends without its end mark.",
            "It is cut: write it again, or fetch it again.",
        )
    return iter(reader), reader.schema


def _name_labels(
    fields: dict[str, Any],
    names: Mapping[str, Sequence[str]],
    report: OnFault,
    source: str,
    line: int,
) -> bool:
    """Put names in the place of labels' numbers; false where one has none."""
    for column, known in names.items():
        number = fields.get(column)
        if number is None:
            continue
        if number == -1:  # how `datasets` marks a row without a label
            fields[column] = None
        elif isinstance(number, int) and 0 <= number < len(known):
            fields[column] = known[number]
        else:
            message = f"`{column}` is {number!r}, and there are {len(known)} label names."
            report(RecordFault(source, line, message, "Check the labels of the data set."))
            return False
    return True


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ModuleNotFoundError as error:
        explanation = missing_data_extra("pyarrow")
        raise UsageError(explanation.message, explanation.hint) from error
    return pyarrow


def _errors(arrow: Any) -> tuple[type[Exception], ...]:
    """What pyarrow raises over a damaged file, among them values that Python has no object for."""
    return (arrow.ArrowException, OSError, ValueError, OverflowError)


def _damage(path: Path, number: int, kind: str, error: Exception) -> DataError:
    first_line = str(error).partition("\n")[0].rstrip(".")
    return DataError(
        f"{path}:{number + 1}: this {kind} file cannot be read from this row on: {first_line}.",
        "It is cut or damaged: write it again, or fetch it again.",
    )
