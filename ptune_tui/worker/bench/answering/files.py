"""The files that all answering contenders read.

Legend: P virtual tokens, H hidden.

setting.json         `ChildSetting`
inputs.json          `Inputs`
prompt.safetensors   `prompt`: float32 [P, H], the longest one; shorter ones are its beginning
bundle/              ours, where none was given
float/               the dequantised base in the Hugging Face layout, float32, with its tokenizer
genai/               what ONNX Runtime GenAI's builder made of it
Q4_0.gguf            what llama.cpp's own quantisation made of the model's file
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from ptune_tui.answering_speed import SHORT_TOKENS, AnsweringSetting, Side

PROMPT = "prompt"
AS_IT_IS = "file"  # of llama.cpp's variants: the model's own file


class ChildSetting(Struct, frozen=True):
    """What a child needs to know.

    Attributes:
        setting: What is measured; threads as they are to be.
        model_path: A folder in the Hugging Face layout, or a `.gguf` file.
        model_name: What to call it.
    """

    setting: AnsweringSetting
    model_path: str
    model_name: str


class ScoredRow(Struct, frozen=True):
    """A row to score.

    Attributes:
        text: Its input.
        ids: The same through the template, in tokens.
    """

    text: str
    ids: list[int]


class Inputs(Struct, frozen=True):
    """What the contenders are asked.

    Attributes:
        ids: Tokens of real text, as many as the longest prompt has.
        request: A text of `SHORT_TOKENS` tokens or about as many.
        template: How a row becomes text: the fields of a `Template`, which only ours imports.
        lead_ids: Tokens of the template that every row begins with.
        end_token_id: The token that ends a response.
        context_length: Tokens that the model was made for.
        labels: Two labels.
        label_ids: Their tokens, end token included; the first ones differ.
        rows: Rows to score by them.
    """

    ids: list[int]
    request: str
    template: dict[str, str | None]
    lead_ids: list[int]
    end_token_id: int
    context_length: int
    labels: list[str]
    label_ids: list[list[int]]
    rows: list[ScoredRow]

    @property
    def short_ids(self) -> list[int]:
        """The short prompt."""
        return self.ids[:SHORT_TOKENS]


@dataclass(frozen=True)
class AnsweringFolder:
    """The folder of these files."""

    path: Path

    @property
    def prompt(self) -> Path:
        """The soft prompt."""
        return self.path / "prompt.safetensors"

    @property
    def float_model(self) -> Path:
        """The dequantised base."""
        return self.path / "float"

    @property
    def genai_model(self) -> Path:
        """GenAI's own."""
        return self.path / "genai"

    def gguf(self, type_name: str) -> Path:
        """The file of a type of llama.cpp."""
        return self.path / f"{type_name}.gguf"

    def llama_cpp_file(self, variant: str) -> Path:
        """What llama.cpp opens: the model's own file, or the one of a type."""
        return Path(self.read_setting().model_path) if variant == AS_IT_IS else self.gguf(variant)

    def bundle(self, setting: AnsweringSetting) -> Path:
        """The bundle that was given, or the one that is made here."""
        return self.path / "bundle" if setting.bundle is None else Path(setting.bundle)

    def model_bytes(self, side: Side, variant: str) -> int:
        """Bytes of what a contender loads, or a little more."""
        child = self.read_setting()
        path = {
            "ptune": self.bundle(child.setting),
            "genai": self.genai_model,
            "transformers": self.float_model,
            "llama.cpp": self.llama_cpp_file(variant),
            "llama-cpp-python": self.llama_cpp_file(variant),
        }[side]
        return path.stat().st_size if path.is_file() else folder_bytes(path)

    def write_setting(self, setting: ChildSetting) -> None:
        """Write what the children need to know."""
        (self.path / "setting.json").write_bytes(msgspec.json.encode(setting))

    def read_setting(self) -> ChildSetting:
        """What the children need to know."""
        return msgspec.json.decode((self.path / "setting.json").read_bytes(), type=ChildSetting)

    def write_inputs(self, inputs: Inputs) -> None:
        """Write what the contenders are asked."""
        (self.path / "inputs.json").write_bytes(msgspec.json.encode(inputs))

    def read_inputs(self) -> Inputs:
        """What the contenders are asked."""
        return msgspec.json.decode((self.path / "inputs.json").read_bytes(), type=Inputs)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
