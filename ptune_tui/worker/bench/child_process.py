"""The bench's end of a child: start, ask, and end it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ptune_tui.errors import PTuneError
from ptune_tui.worker.bench.messages import Failed, Reply, Request, decode_reply, encode_line

Answer = TypeVar("Answer", bound=Reply)

_END_SECONDS = 5.0


class ChildError(PTuneError):
    """A child could not go on; carries the child's own sentence."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message, failed.hint)
        self.category = failed.category


class ChildProcess:
    """A child; ends with the block that it is used in.

    Args:
        folder (Path): Its files.
        role (str): What it is, see the package.
        num_threads (int): Processor threads.
    """

    def __init__(self, folder: Path, role: str, num_threads: int) -> None:
        self.role = role
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ptune_tui.worker.bench", str(folder), role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(num_threads),
                "MKL_NUM_THREADS": str(num_threads),
                "TOKENIZERS_PARALLELISM": "false",
            },
        )

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(at_once=kind is not None)

    def ask(self, request: Request, kind: type[Answer]) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            ChildError: The child failed, or ended without a word.
        """
        assert self._process.stdin is not None
        # A child that has ended says why in what is read next.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(encode_line(request))
            self._process.stdin.flush()
        return self.wait_for(kind)

    def wait_for(self, kind: type[Answer]) -> Answer:
        """The child's next reply.

        Raises:
            ChildError: The child failed, or ended without a word.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildError(self._ended_without_a_word())
        reply = decode_reply(line)
        if isinstance(reply, Failed):
            raise ChildError(reply)
        assert isinstance(reply, kind), reply
        return reply

    def end(self, *, at_once: bool = False) -> None:
        """Close the child's input and wait for it; one that does not end is killed.

        Args:
            at_once (bool): Kill it without waiting.
        """
        if at_once:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ended_without_a_word(self) -> Failed:
        code = self._process.wait()
        return Failed(
            "resources" if code < 0 else "fault",
            f"The process of {self.role} ended without a word (code {code}).",
            "A process that takes too much memory is ended by the system; measure less of it.",
        )
