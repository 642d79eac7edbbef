"""transformers loads the folder offline and answers as our torch model does with the prompt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from export import transformers_folder
from export.errors import BundleError, NotCarriedError
from export.manifest_file import FOLDER_CARD
from export.plain_model import quietest_token
from export.prompt_files import ExportedPrompt
from export.prompts import TokenPrompt
from export.template import Template
from export.transformers_folder import TransformersFolder
from ptune_tui.config import DataConfig, ModelConfig, RunConfig
from ptune_tui.engine.model import load_frozen
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.reference import TorchReference
from ptune_tui.events import Notice
from ptune_tui.tasks import ExportTask, FloatType
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export, plain_model
from ptune_tui.worker.tuned_model import TunedModel
from tests.export.conftest import Exported, tuned_model

TEXTS = ["say 7", "the cat", " x<|im_end|>", ""]


def write(
    made: Exported, folder: Path, float_type: FloatType = "float32", *, overwrite: bool = False
) -> list[Any]:
    task = ExportTask(
        *(str(made.run), str(folder), "mine"),
        format="transformers",
        float_type=float_type,
        overwrite=overwrite,
    )
    return list(export(task, Channel(made.run)))


def opened(folder: Path) -> tuple[Any, Any]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    return tokenizer, model.eval()


def ids_of(tokenizer: Any, text: str) -> list[int]:
    messages = [{"role": "user", "content": text}]
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


@pytest.mark.parametrize("which", ["exported", "exported_text"])
def test_it_has_our_tokens_logits_and_greedy_text(
    request: pytest.FixtureRequest, which: str, tmp_path: Path
) -> None:
    made: Exported = request.getfixturevalue(which)
    write(made, tmp_path / "folder")
    tokenizer, model = opened(tmp_path / "folder")
    tuned = tuned_model(made.run)
    reference, encoder = TorchReference(tuned.frozen, tuned.prompt), tuned.encoder()
    first = tuned.frozen.config.vocab_size
    virtual = list(range(first, first + 5))
    for text in TEXTS:
        ids = encoder.encode_prompt(text)[0]
        assert ids_of(tokenizer, text) == [*virtual, *ids]
        with torch.no_grad():
            logits = model(torch.tensor([[*virtual, *ids]])).logits[0, 5:].numpy()
        expected = reference.logits(ids)
        assert np.abs(logits[:, :first] - expected).max() / np.abs(expected).max() < 1e-4
        # A virtual token is never likelier than everything else.
        assert (logits[:, first:].max(-1) <= logits[:, :first].max(-1)).all()
        generated = model.generate(torch.tensor([[*virtual, *ids]]), max_new_tokens=8)
        found = generated[0, 5 + len(ids) :].tolist()
        answer = reference.continuations([ids], 8)[0]
        assert found[: len(answer)] == answer
        assert len(answer) == 8 or found[len(answer)] == tuned.card.end_token_id


def test_bfloat16_is_half_as_large_and_says_what_it_rounded(
    exported_text: Exported, tmp_path: Path
) -> None:
    write(exported_text, tmp_path / "whole")
    events = write(exported_text, tmp_path / "half", "bfloat16")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert any(isinstance(event, Notice) and event.code == "rounded" for event in events)
    card = json.loads((tmp_path / "half" / FOLDER_CARD).read_text())
    assert 0 < max(card["rounding"].values()) < 0.004
    _, model = opened(tmp_path / "half")
    assert model.dtype == torch.bfloat16


def test_a_large_model_is_stored_in_shards(
    exported_text: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_folder, "_SHARD_BYTES", 100_000)
    write(exported_text, tmp_path / "folder")
    assert len(list((tmp_path / "folder").glob("model-*.safetensors"))) > 1
    opened(tmp_path / "folder")


def test_a_layer_prefix_is_refused_and_nothing_is_left(
    exported_prefix: Exported, tmp_path: Path
) -> None:
    with pytest.raises(NotCarriedError, match="keys and values of every layer"):
        write(exported_prefix, tmp_path / "folder")
    assert list(tmp_path.glob("*folder*")) == list(tmp_path.glob(".*folder*")) == []


def test_only_folders_of_ours_are_replaced(
    exported_text: Exported, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="already there"):
        write(exported_text, tiny_model, overwrite=True)
    write(exported_text, tmp_path / "folder")
    with pytest.raises(BundleError, match="already there"):
        write(exported_text, tmp_path / "folder")
    write(exported_text, tmp_path / "folder", overwrite=True)
    opened(tmp_path / "folder")


def test_a_write_that_fails_leaves_nothing(
    exported_text: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(transformers_folder, "write_card", full)
    with pytest.raises(OSError, match="No space"):
        write(exported_text, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


FAMILIES: dict[str, tuple[type, dict[str, Any]]] = {
    "gpt2": (transformers.GPT2Config, {"n_embd": 64, "n_layer": 2, "n_head": 4}),
    "gemma3": (
        transformers.Gemma3TextConfig,
        {"num_key_value_heads": 2, "head_dim": 16, "query_pre_attn_scalar": 24},
    ),
    "qwen2": (transformers.Qwen2Config, {"num_key_value_heads": 2, "tie_word_embeddings": False}),
}
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_compute_the_same(family: str, tmp_path: Path, tiny_model: Path) -> None:
    kind, changes = FAMILIES[family]
    sizes = {} if family == "gpt2" else SIZES
    source = tmp_path / "source"
    shutil.copytree(tiny_model, source, ignore=shutil.ignore_patterns("*.safetensors", "config*"))
    torch.manual_seed(0)
    config = kind(vocab_size=330, initializer_range=0.2, **sizes, **changes)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(source)
    frozen = load_frozen(source, family, "int4", "stream")
    virtual = VirtualTokens(torch.randn(4, 64, generator=torch.Generator().manual_seed(1)))
    run = RunConfig(model=ModelConfig(source=str(source)), data=DataConfig(train="rows.jsonl"))
    model = plain_model(TunedModel(frozen, virtual, None, run))  # type: ignore[arg-type]
    prompt = ExportedPrompt(
        name="mine",
        prompt=TokenPrompt(virtual.embeddings_PH.numpy()),
        lead_ids=[],
        template=Template("{prompt}\n", eos_token="<|im_end|>"),
        end_token_id=2,
        max_prompt_tokens=100,
        labels=None,
        max_response_tokens=8,
        scores={},
    )
    reference = TorchReference(frozen, virtual)
    rows = [frozen.text.tokenizer.encode("the cat sat").ids]
    quiet = quietest_token(reference, rows)
    TransformersFolder(model, prompt, quiet).write(tmp_path / "folder", overwrite=False)
    tokenizer, loaded = opened(tmp_path / "folder")
    ids = ids_of(tokenizer, "the cat sat")
    assert ids == [330, 331, 332, 333, *frozen.text.tokenizer.encode("the cat sat\n").ids]
    with torch.no_grad():
        logits = loaded(torch.tensor([ids])).logits[0, 4:, :330].numpy()
    expected = reference.logits(ids[4:])
    assert np.abs(logits - expected).max() / np.abs(expected).max() < 1e-4
