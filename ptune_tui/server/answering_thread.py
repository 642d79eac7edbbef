"""The one thread that answers, and the requests that wait for it.

The cache of a bundle holds one sequence at a time, so requests are answered one after another.
"""

from __future__ import annotations

import threading
from collections import deque

from ptune_tui.server.job import Job
from ptune_tui.server.refusal import queue_full, shutting_down


class AnsweringThread:
    """Answers jobs in the order in which they came.

    Args:
        max_waiting (int): So many may wait behind the one that is answered.
    """

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._is_draining = False
        self._changed = threading.Condition()
        # A daemon: what onnxruntime computes at the moment cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name="answering", daemon=True)
        self._thread.start()

    @property
    def num_open(self) -> int:
        """Jobs that wait or are being answered."""
        with self._changed:
            return len(self._waiting) + (self._running is not None)

    def submit(self, job: Job) -> None:
        """Put a job behind those that wait.

        Raises:
            Refusal: Too many wait already, or the server is shutting down.
        """
        with self._changed:
            if self._is_draining:
                raise shutting_down()
            if len(self._waiting) + (self._running is not None) > self.max_waiting:
                raise queue_full(self.max_waiting)
            self._waiting.append(job)
            self._changed.notify()

    def leave(self, job: Job) -> None:
        """Take a job out, whether it waits, is being answered or is done."""
        job.cancel()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def drain(self) -> None:
        """Take no more jobs and refuse those that wait; the one being answered goes on."""
        with self._changed:
            self._is_draining = True
            while self._waiting:
                self._waiting.popleft().fail(shutting_down())
            self._changed.notify()

    def stop(self) -> None:
        """Drain, and end the job that is being answered before its next token."""
        self.drain()
        with self._changed:
            if self._running is not None:
                self._running.fail(shutting_down())

    def close(self, seconds: float = 5.0) -> None:
        """Stop, and wait for the thread to end.

        Args:
            seconds (float): At most so long.
        """
        self.stop()
        self._thread.join(seconds)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            with self._changed:
                self._running = None

    def _next(self) -> Job | None:
        """The next job, as soon as there is one; None once no more will come."""
        with self._changed:
            while not self._waiting:
                if self._is_draining:
                    return None
                self._changed.wait()
            self._running = self._waiting.popleft()
            return self._running
