"""The files that all contenders read: the setting, the rows, the first prompt, the float model.

Legend: P virtual tokens, H hidden, L layers, h key/value heads, D head size.

setting.json         `ChildSetting`
rows.json            `SharedRows`
prompt.safetensors   `prompt`: float32 [P, H], or [L, 2, h, P, D] for `prefix`
float/               the dequantised base in the Hugging Face layout, float32
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from export.encoding import EncodedRow
from ptune_tui.training_speed import BenchSetting

GRADIENT = "gradient"
PROMPT = "prompt"


class ChildSetting(Struct, frozen=True):
    """What a child needs to know.

    Attributes:
        setting: What is measured; threads as they are to be.
        model_path: A folder in the Hugging Face layout, or a `.gguf` file.
        model_name: What to call it.
    """

    setting: BenchSetting
    model_path: str
    model_name: str


class SharedRows(Struct, frozen=True):
    """The rows of every step.

    Attributes:
        rows: Each of exactly as many tokens as the setting says.
        lead_ids: Template tokens that all of them begin with.
    """

    rows: list[EncodedRow]
    lead_ids: list[int]


@dataclass(frozen=True)
class SharedFolder:
    """The folder of a bench's shared files."""

    path: Path

    @property
    def float_model(self) -> Path:
        """The dequantised base."""
        return self.path / "float"

    @property
    def prompt(self) -> Path:
        """The first prompt."""
        return self.path / "prompt.safetensors"

    def gradient(self, name: str) -> Path:
        """Where a contender writes its gradient."""
        return self.path / f"gradient-{name.replace(' ', '-')}.safetensors"

    def write_setting(self, setting: ChildSetting) -> None:
        """Write what the children need to know."""
        (self.path / "setting.json").write_bytes(msgspec.json.encode(setting))

    def read_setting(self) -> ChildSetting:
        """What the children need to know."""
        return msgspec.json.decode((self.path / "setting.json").read_bytes(), type=ChildSetting)

    def write_rows(self, rows: SharedRows) -> None:
        """Write the rows."""
        (self.path / "rows.json").write_bytes(msgspec.json.encode(rows))

    def read_rows(self) -> SharedRows:
        """The rows."""
        return msgspec.json.decode((self.path / "rows.json").read_bytes(), type=SharedRows)
