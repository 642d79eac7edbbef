"""The formats of data files, by the endings of their names."""

from __future__ import annotations

from pathlib import Path

JSON_LINES = (".jsonl", ".ndjson")
JSON = ".json"
SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
ARROW = (".arrow", ".feather")
KINDS = (*JSON_LINES, JSON, *SEPARATORS, PARQUET, *ARROW)
FORMATS = "JSONL, JSON, CSV and TSV, plain or with `.gz` behind; Parquet, Arrow and Feather"


def kind_of(path: Path) -> str:
    """The ending that tells a file's format, `.gz` left out."""
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return name.suffix.lower()
