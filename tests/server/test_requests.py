"""Requests without a server: what a template has to do with them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import transformers

from export.runtime import Bundle
from export.sampling import Sampler, Sampling
from ptune_tui.config import DataConfig
from ptune_tui.errors import UsageError
from ptune_tui.server.access import choose_access
from ptune_tui.server.refusal import Refusal
from ptune_tui.server.requests import ChatRequest, CompletionRequest, Message, decode_request
from ptune_tui.server.served_model import serve_bundle
from tests.export.conftest import train_and_export


def test_a_base_takes_chats_only_where_the_bundle_has_its_template(
    tmp_path: Path, tiny_model: Path, label_rows: Path
) -> None:
    made = train_and_export(tmp_path, tiny_model, DataConfig(train=str(label_rows)))
    opened = Bundle.open(made.bundle, "exact", num_threads=1)
    # The prompt was trained on a text template; the model has one for chats all the same.
    base = serve_bundle(opened)[opened.manifest.model_name]
    wrapped = transformers.AutoTokenizer.from_pretrained(tiny_model)
    for turns in (("user",), ("system", "user", "assistant", "user")):
        asked = [{"role": role, "content": f"say {role}"} for role in turns]
        expected = wrapped.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
        said = [Message(turn["role"], turn["content"]) for turn in asked]  # type: ignore[arg-type]
        assert base.chat_ids(said, may_cut=False) == expected
    first, second = ("".join(base.answerer.generate_behind(expected, 5)) for _ in range(2))
    assert first == second
    older = msgspec.structs.replace(opened.manifest, base_template=msgspec.UNSET)
    opened.manifest = msgspec.structs.replace(opened.manifest, base_template=None)
    base = serve_bundle(opened)[opened.manifest.model_name]
    with pytest.raises(Refusal, match="has no chat template"):
        base.chat_ids([Message("user", "hello")], may_cut=False)
    opened.manifest = older
    base = serve_bundle(opened)[opened.manifest.model_name]
    with pytest.raises(Refusal, match=r"Export it again.*/v1/completions"):
        base.chat_ids([Message("user", "hello")], may_cut=False)
    assert base.completion_ids("the cat", may_cut=False) == opened.tokenizer.encode("the cat").ids
    ids = base.completion_ids("the cat", may_cut=False)
    tuned = opened.tuned()
    text, alone = "".join(base.answerer.generate_behind(ids, 5)), tuned.classify("the cat")
    # The base's tokens lie where the prompt's keys and values were.
    assert "".join(base.answerer.generate_behind(ids, 5)) == text
    assert tuned.classify("the cat") == alone


@pytest.mark.parametrize("key", ["", " a", "a\n", "\u00e9"])
def test_a_key_that_no_header_carries_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        choose_access("127.0.0.1", "127.0.0.1", key, is_open=False)


def test_hosts_are_checked_on_the_loopback_interface_only() -> None:
    assert "[::1]" in choose_access("::1", "::1", None, is_open=False).hosts
    assert "me.local" in choose_access("me.local", "127.0.0.1", None, is_open=False).hosts
    assert choose_access("0.0.0.0", "0.0.0.0", "k", is_open=False).hosts == ("*",)
    assert choose_access("0.0.0.0", "0.0.0.0", None, is_open=True).key is None


def test_the_newer_name_of_the_longest_answer_wins() -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "a"}], %s}'
    asked = decode_request(body % b'"max_tokens": 3, "max_completion_tokens": 5', ChatRequest)
    assert asked.longest == 5
    assert decode_request(body % b'"max_tokens": 3', ChatRequest).longest == 3


@pytest.mark.parametrize("escape", [r"\ud83d", r"\uDE00", r"\ud83d\ud83d", r"\ud83d\\ude00"])
def test_half_a_character_is_called_so(escape: str) -> None:
    body = '{"model": "m", "prompt": "a \\\\ud83d \\ud83d\\ude00 \\u00e9 %s"}'
    with pytest.raises(Refusal, match="half of a surrogate pair") as caught:
        decode_request((body % escape).encode(), CompletionRequest)
    assert f"`{escape[:6]}`" in caught.value.message
    assert decode_request((body % "").encode(), CompletionRequest).prompt == "a \\ud83d 😀 é "
    with pytest.raises(Refusal, match="cannot be read"):
        decode_request((body % "")[:-2].encode(), CompletionRequest)


def test_no_temperature_is_too_low() -> None:
    logits = np.array([1.0, 900.0, -900.0], np.float32)
    assert Sampler(Sampling(temperature=5e-324)).choose(logits) == 1
