"""OpenAI's client asks for JSON and gets it, from a model that writes noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal

import openai
import pytest
from pydantic import BaseModel

from export.runtime import Bundle
from ptune_tui.server.refusal import Refusal
from ptune_tui.server.response_format import JsonObject, constraint_of
from tests.server.conftest import Live

SAY = [{"role": "user", "content": "say 3"}]
CHAT = "/v1/chat/completions"
SCHEMA = {
    "type": "object",
    "properties": {"room": {"enum": ["kitchen", "hall"]}, "on": {"type": "boolean"}},
    "required": ["room", "on"],
    "additionalProperties": False,
}


class Command(BaseModel):
    room: Literal["kitchen", "hall"]
    on: bool


def wrapped(schema: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "command", "schema": schema}}


@pytest.mark.parametrize("model", ["talk", "plain"])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_the_client_parses_its_own_model(
    client: openai.OpenAI, model: str, temperature: float
) -> None:
    answer = client.chat.completions.parse(
        model=model,
        messages=SAY,  # type: ignore[arg-type]
        response_format=Command,
        temperature=temperature,
    )
    assert isinstance(answer.choices[0].message.parsed, Command)
    assert answer.choices[0].finish_reason == "stop"


def test_a_stream_is_held_to_the_schema_too(client: openai.OpenAI) -> None:
    chunks = client.chat.completions.create(  # type: ignore[call-overload]
        model="talk", messages=SAY, response_format=wrapped(SCHEMA), stream=True
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert list(json.loads(text)) == ["room", "on"]


def test_any_object_begins_like_one(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(  # type: ignore[call-overload]
        model="talk", messages=SAY, response_format={"type": "json_object"}, max_tokens=20
    )
    assert answer.choices[0].message.content.startswith("{")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (wrapped({"type": "banana"}), "banana"),
        (wrapped(3), "object"),
        ({"type": "json_schema"}, "json_schema"),
        ({"type": "xml"}, "xml"),
        ({"type": "json_object", "schema": {}}, "schema"),
    ],
)
def test_what_cannot_be_kept_to_is_400(
    client: openai.OpenAI, asked: dict[str, object], said: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        client.chat.completions.create(model="talk", messages=SAY, response_format=asked)  # type: ignore[call-overload]
    assert str(caught.value.param).startswith("response_format")


def test_labels_take_no_format(live: Live) -> None:
    response = live.post(CHAT, model="mine", messages=SAY, response_format={"type": "json_object"})
    assert response.status_code == 400
    assert "one of its labels" in response.json()["error"]["message"]
    text = live.post(CHAT, model="mine", messages=SAY, response_format={"type": "text"})
    assert text.status_code == 200


def test_without_the_package_it_is_400(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answerer = Bundle.open(bundle, "exact", num_threads=1).tuned("talk")
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(Refusal, match="llguidance") as caught:
        constraint_of(answerer, JsonObject())
    assert (caught.value.status, caught.value.param) == (400, "response_format")
