"""Slow, vanished and too many clients cost nobody else their answer."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import openai
import pytest

from export.answering import Answerer
from export.generation import Generation
from ptune_tui.server import http_protocol
from ptune_tui.server.job import End, Item, Job, Piece
from ptune_tui.server.served_model import ServedModel
from tests.server.conftest import Live, serving, wait_until

SAY = [{"role": "user", "content": "say 3"}]
LONG = {"model": "talk", "messages": SAY, "max_tokens": 400, "temperature": 2, "seed": 5}


def raw_request(body: bytes) -> bytes:
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body


def read_all(connection: socket.socket) -> bytes:
    """What the server sends until it closes."""
    content = b""
    while piece := connection.recv(65536):
        content += piece
    return content


class Gate:
    """Work that lasts until it is let through."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun = threading.Event()

    def work(self, _: Callable[[], bool]) -> Iterator[Item]:
        self.begun.set()
        assert self.opened.wait(30)
        yield Piece("")
        yield End("stop", 0)


@pytest.fixture
def slow_tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens that take a while each, none of them the last; the list counts them."""
    made: list[int] = []
    plain = Answerer.generate_behind

    def slowly(self: Answerer, *arguments: object, **named: object) -> Generation:
        generation = plain(self, *arguments, **named)  # type: ignore[arg-type]
        choose = generation._sampler.choose

        def chosen(logits: object) -> int:
            time.sleep(0.05)
            made.append(choose(logits))  # type: ignore[arg-type]
            return 20 if made[-1] == generation._limits.end_token_id else made[-1]

        generation._sampler.choose = chosen  # type: ignore[method-assign,assignment]
        return generation

    monkeypatch.setattr(Answerer, "generate_behind", slowly)
    return made


async def test_a_full_queue_is_503_with_the_time_to_try_again(
    served: dict[str, ServedModel],
) -> None:
    with serving(served, max_waiting=1) as live:
        gate = Gate()
        live.answering.submit(Job(gate.work))
        assert gate.begun.wait(10)
        waits = Job(gate.work)
        live.answering.submit(waits)
        response = await asyncio.to_thread(live.post, "/v1/chat/completions", **LONG)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert response.json()["error"]["code"] == "queue_full"
        live.answering.leave(waits)
        gate.opened.set()
        answer = await asyncio.to_thread(live.post, "/v1/chat/completions", **LONG)
        assert answer.status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_its_generation(
    live: Live, slow_tokens: list[int], stream: bool
) -> None:
    body = json.dumps({**LONG, "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
        connection.sendall(raw_request(body))
        wait_until(lambda: len(slow_tokens) > 3)
    wait_until(lambda: live.answering.num_open == 0)
    assert len(slow_tokens) < 100


async def test_a_client_that_goes_away_leaves_the_queue(live: Live) -> None:
    gate = Gate()
    live.answering.submit(Job(gate.work))
    with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
        connection.sendall(raw_request(json.dumps(LONG).encode()))
        await asyncio.to_thread(wait_until, lambda: live.answering.num_open == 2)
    await asyncio.to_thread(wait_until, lambda: live.answering.num_open == 1)
    gate.opened.set()


def test_slow_headers_and_bodies_end_with_408(
    served: dict[str, ServedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", 0.5)
    with serving(served) as live:
        for sent in (b"", b"POST /v1/chat/completions HTTP/1.1\r\nHo", raw_request(b"{}")[:-1]):
            with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
                connection.sendall(sent)
                answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b'"message"' in answer
        assert live.client().models.list().data


def test_a_client_that_trickles_does_not_gain_time(
    served: dict[str, ServedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.6)
    with serving(served) as live:
        started = time.monotonic()
        with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
            connection.settimeout(0.1)
            answer = b""
            for letter in raw_request(b"{}"):
                connection.sendall(bytes([letter]))
                try:
                    answer = connection.recv(100)
                except TimeoutError:
                    continue
                break
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - started < 5


def test_an_answer_may_take_longer_than_a_request(
    served: dict[str, ServedModel], monkeypatch: pytest.MonkeyPatch, slow_tokens: list[int]
) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(http_protocol, "BODY_SECONDS", 0.3)
    with serving(served) as live:
        response = live.post("/v1/chat/completions", **{**LONG, "max_tokens": 20})
        assert response.status_code == 200
        assert len(slow_tokens) == 20


def test_a_client_that_does_not_read_its_answer_is_let_go(
    served: dict[str, ServedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "WRITE_SECONDS", 0.3)
    monkeypatch.setattr(ServedModel, "work", lambda *_: _much_text)
    with serving(served) as live:
        with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
            connection.sendall(raw_request(json.dumps({**LONG, "stream": True}).encode()))
            wait_until(lambda: bool(live.lines))
        assert live.answering.num_open == 0


def _much_text(_: Callable[[], bool]) -> Iterator[Item]:
    for _ in range(64):
        yield Piece("x" * 1024 * 1024)
    yield End("length", 64)


def test_what_is_no_http_is_400(live: Live) -> None:
    for sent in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\nBad Header\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
            connection.sendall(sent)
            assert read_all(connection).startswith(b"HTTP/1.1 400 ")
    chunked = (
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    )
    with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
        connection.sendall(chunked + b"Transfer-Encoding: chunked\r\n\r\nzzz\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")
    assert live.client().models.list().data


def test_one_connection_too_many_is_503(
    served: dict[str, ServedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", 2)
    with serving(served) as live:
        kept = [socket.create_connection(("127.0.0.1", live.port), 10) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", live.port), 10) as connection:
            assert read_all(connection).startswith(b"HTTP/1.1 503 ")
        for connection in kept:
            connection.close()
        wait_until(lambda: _is_served(live))


def _is_served(live: Live) -> bool:
    try:
        return bool(live.client().models.list().data)
    except (openai.InternalServerError, openai.APIConnectionError):
        return False


def test_a_failure_in_the_answering_thread_is_500_and_the_next_request_is_answered(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Generation:
        raise ValueError("say 3")

    with monkeypatch.context() as broken:
        broken.setattr(Answerer, "generate_behind", fail)
        whole = live.post("/v1/chat/completions", **LONG)
        assert whole.status_code == 500
        assert "say 3" not in whole.text
        stream = live.post("/v1/chat/completions", **LONG, stream=True)
        assert stream.status_code == 200
        assert '"type":"server_error"' in stream.text
        assert "[DONE]" not in stream.text
    assert live.post("/v1/chat/completions", **{**LONG, "max_tokens": 2}).status_code == 200


def test_the_end_lets_the_answer_in_the_making_through_and_refuses_the_waiting(
    served: dict[str, ServedModel], slow_tokens: list[int]
) -> None:
    found: dict[str, int] = {}

    def ask(live: Live, name: str) -> None:
        response = live.post("/v1/chat/completions", **{**LONG, "max_tokens": 20})
        found[name] = response.status_code

    with serving(served) as live:
        first = threading.Thread(target=ask, args=(live, "first"))
        first.start()
        wait_until(lambda: bool(slow_tokens))
        second = threading.Thread(target=ask, args=(live, "second"))
        second.start()
        wait_until(lambda: live.answering.num_open == 2)
    first.join(10)
    second.join(10)
    assert found == {"first": 200, "second": 503}
