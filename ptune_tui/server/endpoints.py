"""What each path answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ptune_tui.server.answering_thread import AnsweringThread
from ptune_tui.server.job import Job
from ptune_tui.server.refusal import Refusal, refusal_of
from ptune_tui.server.replies import ChatShape, ModelCard, ModelList, Reply, Shape, TextShape
from ptune_tui.server.request_log import NOTE
from ptune_tui.server.requests import Asked, ChatRequest, CompletionRequest, decode_request
from ptune_tui.server.served_model import ServedModel

JSON = "application/json"
ResultT = TypeVar("ResultT")


class Endpoints:
    """The API of a bundle.

    Args:
        served (Mapping[str, ServedModel]): The names that can be asked.
        answering (AnsweringThread): What answers.
        created (int): When the bundle was written, in seconds since 1970.
    """

    def __init__(
        self, served: Mapping[str, ServedModel], answering: AnsweringThread, created: int
    ) -> None:
        self._served = served
        self._answering = answering
        self._created = created

    async def health(self, _: Request) -> Response:
        """Whether the server answers, and how much it has to do."""
        return _json({"status": "ok", "open_requests": self._answering.num_open})

    async def models(self, _: Request) -> Response:
        """Every name."""
        return _json(ModelList([ModelCard(name, self._created) for name in self._served]))

    async def model(self, request: Request) -> Response:
        """One name."""
        return _json(ModelCard(self._find(request.path_params["name"]).name, self._created))

    async def chat(self, request: Request) -> Response:
        """A conversation's next message."""
        asked = decode_request(await _json_body(request), ChatRequest)
        model = self._find(asked.model)
        ids = await run_in_threadpool(model.chat_ids, asked.messages, asked.truncation == "auto")
        return await self._answer(request, asked, model, ids, ChatShape())

    async def completions(self, request: Request) -> Response:
        """What follows a text."""
        asked = decode_request(await _json_body(request), CompletionRequest)
        model = self._find(asked.model)
        prompt = asked.text_or_ids
        ids = await run_in_threadpool(model.completion_ids, prompt, asked.truncation == "auto")
        return await self._answer(request, asked, model, ids, TextShape())

    def _find(self, name: str) -> ServedModel:
        if name not in self._served:
            raise Refusal(
                404,
                f"There is no model `{name}` here. There is: {', '.join(self._served)}.",
                param="model",
                code="model_not_found",
            )
        return self._served[name]

    async def _answer(
        self,
        request: Request,
        asked: Asked,
        model: ServedModel,
        ids: list[int],
        shape: Shape,
    ) -> Response:
        constraint = await run_in_threadpool(model.constraint, asked.response_format)
        job = Job(model.work(ids, asked.writing(constraint)))
        reply = Reply(shape, model.name, len(ids))
        self._answering.submit(job)

        def leave() -> None:
            self._answering.leave(job)
            num_answered = f"{job.end.num_tokens}" if job.end else "?"
            setattr(request.state, NOTE, f"{model.name}  {len(ids)}+{num_answered} tokens")

        if asked.stream:
            return EventStream(_events(reply, job, asked.wants_usage), leave)
        try:
            text, end = await _unless_gone(request, job.whole())
        finally:
            leave()
        return Response(reply.whole(text, end), media_type=JSON)


class EventStream(StreamingResponse):
    """Server-sent events that say when nobody reads them any more.

    Args:
        events (AsyncIterator[bytes]): The events.
        at_end (Callable[[], None]): Called once they are through, or the client has gone.
    """

    def __init__(self, events: AsyncIterator[bytes], at_end: Callable[[], None]) -> None:
        super().__init__(
            events, headers={"cache-control": "no-store"}, media_type="text/event-stream"
        )
        self._at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client goes away."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._at_end()


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type=JSON)


async def _json_body(request: Request) -> bytes:
    """The body of a request that says it is JSON.

    A page in a browser may send anything else to any server without being asked first, so nothing
    else is read.

    Raises:
        Refusal: It does not say so.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != JSON:
        raise Refusal(415, f"Send `content-type: {JSON}`; this request has {kind[:80]!r}.")
    return await request.body()


async def _events(reply: Reply, job: Job, wants_usage: bool) -> AsyncIterator[bytes]:
    """The events of a stream; an error is one more event, as the status is sent already."""
    try:
        async for event in reply.events(job.items(), wants_usage):
            yield event
    except Exception as error:
        yield b"data: " + refusal_of(error).body() + b"\n\n"


async def _unless_gone(request: Request, answer: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The answer, unless the client goes away first.

    Raises:
        ClientDisconnect: It went away.
    """
    answered = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            raise ClientDisconnect
        return answered.result()
    finally:
        answered.cancel()
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
