"""OpenAI's client gets the bundle's own answers, whole and in pieces."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from export.runtime import Bundle
from ptune_tui.server.served_model import ServedModel
from tests.server.conftest import serving, wait_until

SAY = [{"role": "user", "content": "say 3"}]
CONVERSATION = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "say "}, {"type": "text", "text": "3"}]},
    {"role": "assistant", "content": "word 3 it"},
    {"role": "user", "content": "say 4"},
]


def chat(client: openai.OpenAI, model: str, messages: object = SAY, **more: object) -> str:
    answer = client.chat.completions.create(model=model, messages=messages, **more)  # type: ignore[call-overload]
    return str(answer.choices[0].message.content)


def test_every_prompt_and_the_base_are_listed(client: openai.OpenAI, direct: Bundle) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [direct.manifest.model_name, "mine", "talk", "plain"]
    assert client.models.retrieve("talk").id == "talk"
    with pytest.raises(openai.NotFoundError, match=r"There is: .*mine"):
        client.models.retrieve("nobody")


@pytest.mark.parametrize("name", ["talk", "plain"])
def test_a_chat_answers_as_the_bundle_does(
    client: openai.OpenAI, direct: Bundle, name: str
) -> None:
    expected = direct.tuned(name).generate("say 3", 12)
    text = "".join(expected)
    answer = client.chat.completions.create(model=name, messages=SAY, max_tokens=12)  # type: ignore[call-overload]
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content) == ("assistant", text)
    assert choice.finish_reason == ("length" if expected.finish_reason == "length" else "stop")
    assert answer.usage.prompt_tokens == expected.num_prompt_tokens
    assert answer.usage.completion_tokens == len(expected.tokens)
    assert answer.usage.total_tokens == expected.num_prompt_tokens + len(expected.tokens)


@pytest.mark.parametrize(
    "more", [{}, {"temperature": 1.0, "seed": 7, "top_p": 0.9}, {"stop": ["e", "zz"]}]
)
@pytest.mark.parametrize("name", ["talk", "plain", "mine"])
def test_a_stream_adds_up_to_the_whole_answer(
    client: openai.OpenAI, name: str, more: dict[str, object]
) -> None:
    asked = {"model": name, "messages": SAY, "max_completion_tokens": 20, **more}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    chunks = list(
        client.chat.completions.create(  # type: ignore[call-overload]
            **asked, stream=True, stream_options={"include_usage": True}
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks[:-1]]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_usage_ends_with_its_reason(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="talk", messages=SAY, max_tokens=4, stream=True)  # type: ignore[call-overload]
    )
    assert chunks[-1].choices[0].finish_reason is not None
    assert all(chunk.usage is None for chunk in chunks)


def test_a_prompt_of_labels_answers_with_the_label(client: openai.OpenAI, direct: Bundle) -> None:
    tuned = direct.tuned("mine")
    for text in ("the cat sat", "where is my parcel?", "red"):
        expected = tuned.classify(text).label
        assert chat(client, "mine", [{"role": "user", "content": text}]) == expected
        answer = client.completions.create(model="mine", prompt=text)
        assert answer.choices[0].text == expected
        assert answer.choices[0].finish_reason == "stop"


def test_a_conversation_goes_through_the_chat_template(
    client: openai.OpenAI, direct: Bundle
) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "say 3"},
        {"role": "assistant", "content": "word 3 it"},
        {"role": "user", "content": "say 4"},
    ]
    for name, answerer in {
        "talk": direct.tuned("talk"),
        direct.manifest.model_name: direct.base("talk"),
    }.items():
        text = answerer.encoder.renderer.chat(messages)
        ids = answerer.encoder.tokenizer.encode(text, add_special_tokens=False).ids
        expected = "".join(answerer.generate_behind(ids, 12))
        assert chat(client, name, CONVERSATION, max_tokens=12) == expected


def test_the_base_continues_a_text_or_tokens(client: openai.OpenAI, direct: Bundle) -> None:
    base, name = direct.base("talk"), direct.manifest.model_name
    ids = direct.tokenizer.encode("the cat sat").ids
    expected = "".join(base.generate_behind(ids, 8))
    for prompt in ("the cat sat", ["the cat sat"], ids):
        answer = client.completions.create(model=name, prompt=prompt, max_tokens=8)
        assert answer.choices[0].text == expected
    pieces = client.completions.create(model=name, prompt=ids, max_tokens=8, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == expected


def test_a_completion_fills_the_template_of_a_prompt(client: openai.OpenAI, direct: Bundle) -> None:
    expected = "".join(direct.tuned("plain").generate("say 3", 8))
    answer = client.completions.create(model="plain", prompt="say 3", max_tokens=8)
    assert answer.choices[0].text == expected


def test_the_extensions_of_sampling_reach_the_answer(client: openai.OpenAI, direct: Bundle) -> None:
    plain = chat(client, "talk", max_tokens=20)
    more = {"repetition_penalty": 5.0}
    assert chat(client, "talk", max_tokens=20, extra_body=more) != plain
    # One candidate is the most likely token, whatever the temperature.
    greedy = {"top_k": 1}
    assert chat(client, "talk", max_tokens=20, temperature=2, extra_body=greedy) == plain
    assert chat(client, "talk", max_tokens=20, temperature=2, extra_body={"min_p": 1}) == plain


def test_a_seed_repeats_an_answer_and_none_does_not(client: openai.OpenAI) -> None:
    def ask(**more: object) -> str:
        return chat(client, "talk", max_tokens=20, temperature=2, **more)

    assert ask(seed=-3) == ask(seed=-3)
    assert len({ask() for _ in range(4)}) > 1


def test_requests_at_once_answer_as_one_by_one(client: openai.OpenAI) -> None:
    asked = [
        (name, [{"role": "user", "content": f"say {number}"}])
        for number in range(4)
        for name in ("talk", "plain", "mine")
    ]

    def ask(item: tuple[str, object]) -> str:
        return chat(client, item[0], item[1], max_tokens=10)

    alone = [ask(item) for item in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(ask, asked)) == alone


def test_the_log_has_numbers_and_no_texts(served: dict[str, ServedModel]) -> None:
    with serving(served) as live:
        secret = [{"role": "user", "content": "a secret"}]
        answer = chat(live.client(), "talk", secret, max_tokens=4)
        wait_until(lambda: bool(live.lines))  # it is said once the answer is sent
        (line,) = live.lines
    assert line.startswith("200 POST /v1/chat/completions  talk  ")
    assert "+4 tokens" in line
    assert "secret" not in line
    assert answer not in line
