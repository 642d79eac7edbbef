"""What is not answered is refused in OpenAI's form, with a sentence, and never a traceback."""

from __future__ import annotations

import json
import random

import httpx2
import openai
import pytest

from ptune_tui.server.access import choose_access
from ptune_tui.server.application import MAX_BODY_BYTES
from ptune_tui.server.served_model import ServedModel
from tests.server.conftest import Live, serving

CHAT = "/v1/chat/completions"
SAY = [{"role": "user", "content": "say 3"}]
GOOD = {"model": "talk", "messages": SAY, "max_tokens": 2}


def refused(response: httpx2.Response, status: int) -> dict[str, str]:
    """The error of a response, which has to have OpenAI's form."""
    assert response.status_code == status, response.text
    (name, error) = next(iter(response.json().items()))
    assert name == "error"
    assert set(error) == {"message", "type", "param", "code"}
    assert "Traceback" not in response.text
    return dict(error)


def test_an_unknown_model_is_404_and_the_others_are_named(live: Live) -> None:
    error = refused(live.post(CHAT, **{**GOOD, "model": "gpt-4"}), 404)
    assert error["code"] == "model_not_found"
    assert "talk" in error["message"]
    with pytest.raises(openai.NotFoundError, match="no model `gpt-4`"):
        live.client().completions.create(model="gpt-4", prompt="a")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": -1}, "presence_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"temprature": 1}, "temprature"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": "a"}, "seed"),
        ({"stop": list("abcde")}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"truncation": "right"}, "truncation"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"model": None}, "model"),
    ],
)
def test_what_is_wrong_or_not_built_is_named(
    live: Live, more: dict[str, object], param: str
) -> None:
    error = refused(live.post(CHAT, **{**GOOD, **more}), 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_what_changes_no_answer_is_ignored(live: Live) -> None:
    harmless = {
        "user": "me",
        "metadata": {"a": "b"},
        "store": False,
        "n": 1,
        "tools": [],
        "frequency_penalty": 0.0,
        "presence_penalty": 0,
        "logprobs": False,
        "stop": None,
        "response_format": {"type": "text"},
        "service_tier": "auto",
        "seed": None,
    }
    answers = [live.post(CHAT, **GOOD, **more).json() for more in ({}, harmless)]
    assert answers[0]["choices"] == answers[1]["choices"]


def test_a_prompt_of_single_texts_takes_no_conversation(live: Live) -> None:
    longer = [*SAY, {"role": "assistant", "content": "a"}, *SAY]
    for messages in (longer, [{"role": "system", "content": "a"}]):
        error = refused(live.post(CHAT, **{**GOOD, "model": "plain", "messages": messages}), 400)
        assert "trained on single texts" in error["message"]


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_a_text_longer_than_the_context_is_refused(live: Live, path: str) -> None:
    long = "the cat sat " * 300
    asked = {"messages": [*SAY, {"role": "user", "content": long}]} if path == CHAT else {}
    base = live.client().models.list().data[0].id
    error = refused(live.post(path, model=base, **(asked or {"prompt": long})), 400)
    assert error["code"] == "context_length_exceeded"
    assert "512" in error["message"]


def test_a_text_longer_than_training_saw_is_cut_only_if_asked(live: Live) -> None:
    long = [{"role": "user", "content": "the cat sat " * 150}]
    error = refused(live.post(CHAT, model="mine", messages=long), 400)
    assert error["code"] == "context_length_exceeded"
    assert '"truncation": "auto"' in error["message"]
    cut = live.post(CHAT, model="mine", messages=long, truncation="auto")
    assert cut.status_code == 200


def test_the_answer_ends_where_the_context_does(live: Live) -> None:
    answer = live.post(CHAT, **{**GOOD, "max_tokens": 10**9, "temperature": 2, "seed": 1})
    assert answer.status_code == 200


@pytest.mark.parametrize("prompt", [[], ["a", "b"], ["a", 1], [[1, 2]], [-1], [10**6], {"a": 1}])
def test_a_completion_of_no_single_prompt_is_refused(live: Live, prompt: object) -> None:
    base = live.client().models.list().data[0].id
    refused(live.post("/v1/completions", model=base, prompt=prompt), 400)


def test_tokens_do_not_go_into_a_template(live: Live) -> None:
    error = refused(live.post("/v1/completions", model="plain", prompt=[5, 6]), 400)
    assert "takes a text" in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"model": "talk", "messages": [{"role": "user", "content": "\xff"}]}',
        b'{"model": "talk", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "talk", "temperature": 1e999, "messages": []}',
        b'{"model": "talk", "temperature": NaN, "messages": []}',
        b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 500_000,
    ],
)
def test_malformed_json_is_400(live: Live, body: bytes) -> None:
    kind = {"content-type": "application/json"}
    refused(httpx2.post(live.url + CHAT, content=body, headers=kind), 400)
    assert live.post(CHAT, **GOOD).status_code == 200


def test_no_mutated_request_is_a_fault(live: Live) -> None:
    pick = random.Random(0)
    whole = json.dumps({**GOOD, "stop": ["a"], "seed": 1, "temperature": 0.5}).encode()
    values = [b"null", b"-1", b"1e308", b'"x"', b"[]", b"{}", b"true", b"99999999999999999999999"]
    with httpx2.Client(base_url=live.url, timeout=30) as client:
        for _ in range(300):
            body = bytearray(whole)
            start = pick.randrange(len(body))
            body[start : start + pick.randrange(6)] = pick.choice([*values, pick.randbytes(2)])
            kind = {"content-type": "application/json"}
            response = client.post(CHAT, content=bytes(body), headers=kind)
            assert response.status_code in (200, 400, 404), (bytes(body), response.text)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_415(live: Live, kind: str) -> None:
    body = json.dumps(GOOD).encode()
    error = refused(httpx2.post(live.url + CHAT, content=body, headers={"content-type": kind}), 415)
    assert "application/json" in error["message"]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_over_the_limit_is_413(live: Live, is_chunked: bool) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    content = iter([body[:1000], body[1000:]]) if is_chunked else body
    kind = {"content-type": "application/json"}
    response = httpx2.post(live.url + CHAT, content=content, headers=kind)
    assert response.status_code == 413
    assert live.post(CHAT, **GOOD).status_code == 200


def test_other_paths_and_methods_are_refused(live: Live) -> None:
    refused(httpx2.get(f"{live.url}/v2/models"), 404)
    refused(httpx2.get(f"{live.url}/v1/models/nobody"), 404)
    refused(httpx2.get(live.url + CHAT), 405)
    preflight = httpx2.options(live.url + CHAT, headers={"origin": "http://evil.example"})
    refused(preflight, 405)
    assert not any(name.startswith("access-control") for name in preflight.headers)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_host_that_is_not_this_machine_is_refused(live: Live, host: str) -> None:
    response = httpx2.get(f"{live.url}/v1/models", headers={"host": host})
    assert response.status_code == 400
    for good in ("localhost", "localhost:1", "127.0.0.1", "[::1]:80"):
        assert httpx2.get(f"{live.url}/health", headers={"host": good}).status_code == 200


def test_a_key_is_asked_for_everywhere_but_the_health(served: dict[str, ServedModel]) -> None:
    access = choose_access("127.0.0.1", "127.0.0.1", "s3cret", is_open=False)
    with serving(served, access) as live:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "s3cret"},
            {"authorization": "Basic s3cret"},
            {"authorization": "Bearer s3cret\xff"},
        ):
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            response = httpx2.get(f"{live.url}/v1/models", headers=encoded)
            assert refused(response, 401)["code"] == "invalid_api_key"
        assert httpx2.get(f"{live.url}/health").json()["status"] == "ok"
        assert live.client("s3cret").models.list().data
        with pytest.raises(openai.AuthenticationError):
            live.client("other").models.list()
        assert "s3cret" not in "".join(live.lines)
