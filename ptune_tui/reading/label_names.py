"""The names of numbered labels, as Hugging Face data sets store them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ptune_tui.errors import DataError

INFO_FILE = "dataset_info.json"
_METADATA_KEY = b"huggingface"


class _Info(Struct):
    """`dataset_info.json`: what is read of it."""

    features: dict[str, Any] = {}


class _About(Struct):
    """The same inside the schema of a file."""

    info: _Info = msgspec.field(default_factory=_Info)


class _LabelFeature(Struct, tag="ClassLabel", tag_field="_type"):
    """A column of labels."""

    names: list[str]


def label_names(metadata: Mapping[bytes, bytes] | None, path: Path) -> dict[str, list[str]]:
    """The names of each column of labels, by column.

    Args:
        metadata (Mapping[bytes, bytes] | None): Of the file's schema.
        path (Path): The file; a saved data set describes its columns beside it.

    Raises:
        DataError: The description is not one.
    """
    beside = path.parent / INFO_FILE
    content = (metadata or {}).get(_METADATA_KEY)
    try:
        if beside.is_file():
            info = msgspec.json.decode(beside.read_bytes(), type=_Info)
        elif content is not None:
            info = msgspec.json.decode(content, type=_About).info
        else:
            return {}
        return {
            column: msgspec.convert(feature, _LabelFeature).names
            for column, feature in info.features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        place = beside if beside.is_file() else path
        raise DataError(
            f"{place}: the description of the columns cannot be read: {error}.",
            "Save the data set again.",
        ) from None
