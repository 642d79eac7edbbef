"""Events and commands as JSON lines: written, read, and followed as a file grows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from ptune_tui.events.commands import Command
from ptune_tui.events.inputs import InputEvent
from ptune_tui.events.measured import MeasuredEvent
from ptune_tui.events.stages import StageEvent
from ptune_tui.events.training import TrainingEvent

Event = StageEvent | InputEvent | TrainingEvent | MeasuredEvent

_encoder = msgspec.json.Encoder()
_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_command_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


def encode_line(item: Event | Command) -> bytes:
    """One event or command as a JSON line, newline included."""
    return _encoder.encode(item) + b"\n"


def decode_event(line: bytes) -> Event:
    """The event of one line.

    Raises:
        msgspec.DecodeError: The line is not an event of this protocol.
    """
    try:
        return _event_decoder.decode(line)
    except UnicodeDecodeError as error:  # inside a string; no error of msgspec's own
        raise msgspec.DecodeError(str(error)) from None


def decode_command(line: bytes) -> Command:
    """The command of one line.

    Raises:
        msgspec.ValidationError: The line is not a command of this protocol.
    """
    return _command_decoder.decode(line)


class LineFollower:
    """Reads the whole lines that were added to a file since the last call.

    A half-written last line is left for the next call.

    Args:
        path (Path): The file; it need not be there yet.
        first_byte (int): Where its first line begins.
    """

    def __init__(self, path: Path, first_byte: int = 0) -> None:
        self.path = path
        self._offset = first_byte

    def new_lines(self) -> Iterator[bytes]:
        """The lines added since the last call, without their newline; none if there is no file."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                yield from self._whole_lines(file)
        except FileNotFoundError:
            return

    def _whole_lines(self, file: IO[bytes]) -> Iterator[bytes]:
        for line in file:
            if not line.endswith(b"\n"):
                return
            self._offset += len(line)
            yield line.rstrip(b"\n")
