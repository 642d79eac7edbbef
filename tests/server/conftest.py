"""A bundle of three prompts, and servers of it on ports of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import openai
import pytest

from export.runtime import Bundle
from ptune_tui.config import DataConfig
from ptune_tui.server.access import Access, choose_access
from ptune_tui.server.answering_thread import AnsweringThread
from ptune_tui.server.application import make_application
from ptune_tui.server.endpoints import Endpoints
from ptune_tui.server.served_model import ServedModel, serve_bundle
from ptune_tui.server.web_server import WebServer, bind
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from tests.export.conftest import train_and_export

LOCAL = choose_access("127.0.0.1", "127.0.0.1", None, is_open=False)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, label_rows: Path) -> Path:
    """One base with the prompts `mine` (labels), `talk` (chat template) and `plain` (text)."""
    folder = tmp_path_factory.mktemp("served")
    rows = folder / "text.jsonl"
    rows.write_text(
        "".join(f'{{"prompt": "say {n}", "response": "word {n} it"}}\n' for n in range(20)),
        encoding="utf-8",
    )
    made = train_and_export(folder / "mine", tiny_model, DataConfig(train=str(label_rows)))
    texts = {
        "talk": DataConfig(train=str(rows)),
        "plain": DataConfig(train=str(rows), template="Say: {prompt}\nSaid:"),
    }
    for name, data in texts.items():
        run = train_and_export(folder / name, tiny_model, data).run
        task = ExportTask(str(run), str(made.bundle), name, is_addition=True)
        list(export(task, Channel(run)))
    return made.bundle


@pytest.fixture(scope="session")
def direct(bundle: Path) -> Bundle:
    """The same bundle, asked without a server."""
    return Bundle.open(bundle, "exact", num_threads=1)


@pytest.fixture(scope="session")
def served(bundle: Path) -> dict[str, ServedModel]:
    """What the servers of these tests serve, one after another."""
    return serve_bundle(Bundle.open(bundle, "exact", num_threads=1))


@dataclass
class Live:
    """A server that runs in a thread."""

    port: int
    answering: AnsweringThread
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=30)

    def post(self, path: str, **request: object) -> httpx2.Response:
        return httpx2.post(f"{self.url}{path}", json=request, timeout=30)


@contextmanager
def serving(
    served: dict[str, ServedModel], access: Access = LOCAL, max_waiting: int = 16
) -> Iterator[Live]:
    """A server in a thread, until the block ends."""
    answering = AnsweringThread(max_waiting)
    with bind("127.0.0.1", 0) as listener:
        live = Live(listener.getsockname()[1], answering)
        application = make_application(Endpoints(served, answering, 1), access, live.lines.append)
        started = threading.Event()
        server = WebServer(application, answering, started.set, lambda: None)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert started.wait(10)
            yield live
        finally:
            server.should_exit = True
            thread.join(20)
            answering.close()


@pytest.fixture(scope="module")
def live(served: dict[str, ServedModel]) -> Iterator[Live]:
    with serving(served) as server:
        yield server


@pytest.fixture(scope="module")
def client(live: Live) -> openai.OpenAI:
    return live.client()


def wait_until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
