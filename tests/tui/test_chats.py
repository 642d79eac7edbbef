"""The client of a chat, against a child that is a real process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ptune_tui import chats
from ptune_tui.conversation import Answered, ChatFailed, Piece, Ready, Reply


async def replies_until(process: chats.ChatProcess, kind: type[Reply]) -> list[Reply]:
    found = []
    async for reply in process.replies():
        found.append(reply)
        if isinstance(reply, kind):
            break
    return found


def test_command_is_the_worker_s_chat(tmp_path: Path) -> None:
    start = [sys.executable, "-P", "-m", "ptune_tui.worker", "--chat", str(tmp_path)]
    assert chats.chat_command(tmp_path) == start
    full = [*start, "--prompt", "support", "--precision", "exact"]
    assert chats.chat_command(tmp_path, "support", "exact") == full


@pytest.mark.usefixtures("fake_chat")
async def test_answers_come_in_pieces(tmp_path: Path) -> None:
    process = await chats.open_chat(tmp_path)
    assert [type(reply) for reply in await replies_until(process, Ready)] == [Ready]
    assert await process.ask("hello", ["tuned"]) == 1
    pieces = await replies_until(process, Answered)
    assert [type(reply) for reply in pieces] == [Piece, Answered]
    process.kill()
    assert [reply async for reply in process.replies()] == []


@pytest.mark.usefixtures("fake_chat")
async def test_child_that_dies_is_a_failure_that_names_its_log(tmp_path: Path) -> None:
    process = await chats.open_chat(tmp_path)
    await process.ask("die", ["base", "tuned"])
    last = (await replies_until(process, ChatFailed))[-1]
    assert isinstance(last, ChatFailed)
    assert "exit code 3" in last.message
    assert str(process.log_path) in last.hint
    assert await process.ask("too late", ["base"]) == 2
