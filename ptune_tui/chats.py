"""The parent's side of a chat: a child process that answers from a bundle, over pipes.

The child's own output (native libraries print what they like) goes to a log file, never to a
terminal. It ends when its standard input does, so it never outlives the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from ptune_tui.conversation import (
    Ask,
    ChatFailed,
    EndAnswer,
    Reply,
    Request,
    Speaker,
    decode_reply,
    encode_line,
)
from ptune_tui.paths import tasks_folder

LINE_LIMIT = 4 << 20  # bytes; a line holds a whole answer
LOG_FILE = "chat.log"


def chat_command(
    bundle: Path, prompt: str | None = None, precision: str | None = None
) -> list[str]:
    """The command line of a chat's child.

    Args:
        bundle (Path): The bundle's folder.
        prompt (str | None): Which of its prompts; None where it has just one.
        precision (str | None): Of the bundle's; None for its own choice.
    """
    command = [sys.executable, "-P", "-m", "ptune_tui.worker", "--chat", str(bundle)]
    if prompt is not None:
        command += ["--prompt", prompt]
    if precision is not None:
        command += ["--precision", precision]
    return command


class ChatProcess:
    """A running child; made by `open_chat`.

    Attributes:
        log_path: Where the child's own output goes.
    """

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self.log_path = log_path
        self._process = process
        self._number = 0
        self._is_closing = False

    async def ask(self, text: str, speakers: list[Speaker]) -> int:
        """Send a request; returns its number. A dead child shows in `replies`, not here.

        Args:
            text (str): What the user wrote.
            speakers (list[Speaker]): Who answers, in this order.
        """
        self._number += 1
        await self._send(Ask(self._number, text, speakers))
        return self._number

    async def end_answer(self, speaker: Speaker) -> None:
        """Have one answer to the last request end, begun or not; its `Answered` still comes.

        Args:
            speaker (Speaker): Whose.
        """
        await self._send(EndAnswer(self._number, speaker))

    async def _send(self, request: Request) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(encode_line(request))
            await self._process.stdin.drain()

    async def replies(self) -> AsyncIterator[Reply]:
        """What the child says, until it ends; an end nobody asked for is a `ChatFailed`."""
        assert self._process.stdout is not None
        has_failed = False
        async for line in self._process.stdout:
            try:
                reply = decode_reply(line)
            except msgspec.DecodeError:
                continue  # a library's own print; the protocol's lines are JSON objects
            has_failed = has_failed or (isinstance(reply, ChatFailed) and reply.number is None)
            yield reply
        code = await self._process.wait()
        if not (has_failed or self._is_closing):
            yield ChatFailed(
                None,
                "fault",
                f"The chat process ended without a word (exit code {code}).",
                f"What it wrote last is in {self.log_path}.",
            )

    def kill(self) -> None:
        """End the child at once."""
        if self._is_closing:
            return  # a second signal would take its exit code from the event loop
        self._is_closing = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """End the child and wait until it is gone, so that the event loop may close after it."""
        self.kill()
        await self._process.wait()


async def open_chat(
    bundle: Path, prompt: str | None = None, precision: str | None = None
) -> ChatProcess:
    """Start the child of a chat; its first reply is `Ready` or `ChatFailed`.

    Args:
        bundle (Path): The bundle's folder.
        prompt (str | None): Which of its prompts; None where it has just one.
        precision (str | None): Of the bundle's; None for its own choice.
    """
    log_path = tasks_folder() / LOG_FILE
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *chat_command(bundle, prompt, precision),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=LINE_LIMIT,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"},
        )
    return ChatProcess(process, log_path)
