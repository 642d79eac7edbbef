"""A prompt starts from tokens of the vocabulary, or from an earlier prompt of the same shape."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import peft
import pytest
import torch
from torch import Tensor

from export.template import Template
from ptune_tui.engine.adapter import PromptCard, save_adapter
from ptune_tui.engine.methods.factory import layers_of, make_method
from ptune_tui.engine.methods.initialisation import Start, fitted, make_start
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.errors import DataError, UsageError

COUNTS = Counter({token: token for token in range(60, 100)})


@pytest.fixture(scope="module")
def frozen(tiny_model: Path) -> FrozenModel:
    return load_frozen(tiny_model, "tiny", "int4", "cached")


def start(frozen: FrozenModel, num_virtual_tokens: int, init: str, **changes: object) -> Start:
    arguments: dict[str, object] = {
        "init_text": "the cat sat",
        "init_prompt": None,
        "labels": ["good", "bad red"],
        "token_counts": COUNTS,
        "seed": 0,
    }
    return make_start(
        frozen,
        num_virtual_tokens,
        init,  # type: ignore[arg-type]
        **(arguments | changes),  # type: ignore[arg-type]
    )


def values_of(prompt: Prompt) -> Tensor:
    return prompt.embeddings_PH if isinstance(prompt, VirtualTokens) else prompt.keys_values


def ids_of(frozen: FrozenModel, found: Start) -> list[int]:
    """The tokens whose rows a start is made of."""
    table = frozen.embed(torch.arange(frozen.config.vocab_size))
    matches = (values_of(found.prompt)[:, None] == table[None]).all(-1)
    assert bool(matches.any(1).all())
    return matches.int().argmax(1).tolist()


def save(
    folder: Path, frozen: FrozenModel, prompt: Prompt, weights_hash: str | None = None
) -> Path:
    """A run's folder with an adapter in it."""
    card = PromptCard(
        model="tiny",
        scheme="int4",
        weights_hash=weights_hash or frozen.loaded.report.weights_hash,
        template=Template(),
        end_token_id=2,
        max_prompt_tokens=64,
        labels=None,
        max_response_tokens=2,
    )
    folder.mkdir(exist_ok=True)
    save_adapter(folder / "adapter", frozen, prompt, card)
    return folder


@pytest.mark.parametrize("num_virtual_tokens", [1, 2, 13])
def test_a_text_is_cut_or_repeated(frozen: FrozenModel, num_virtual_tokens: int) -> None:
    ids = frozen.text.tokenizer.encode("the cat sat").ids
    found = ids_of(frozen, start(frozen, num_virtual_tokens, "text"))
    assert found == (ids * 13)[:num_virtual_tokens]


def test_the_labels_come_last(frozen: FrozenModel) -> None:
    encode = frozen.text.tokenizer.encode
    words = [*encode(" good").ids, *encode(" bad red").ids]
    found = ids_of(frozen, start(frozen, len(words) + 3, "labels"))
    assert found[3:] == words
    assert set(found[:3]) <= set(COUNTS)


def test_common_tokens_are_sampled_once_each_and_by_the_seed(frozen: FrozenModel) -> None:
    found = [ids_of(frozen, start(frozen, 12, "vocabulary", seed=seed)) for seed in (0, 0, 1)]
    assert len(set(found[0])) == 12
    assert set(found[0]) <= set(COUNTS)
    assert found[0] == found[1] != found[2]


def test_rows_with_few_tokens_are_filled_by_vocabulary_order(frozen: FrozenModel) -> None:
    found = ids_of(frozen, start(frozen, 6, "vocabulary", token_counts=Counter({70: 1, 71: 2})))
    # The first three of the vocabulary are special tokens.
    assert sorted(found) == [3, 4, 5, 6, 70, 71]


def test_no_start_is_larger_than_the_vocabulary(frozen: FrozenModel) -> None:
    for init in ("text", "labels", "vocabulary"):
        deviation = float(values_of(start(frozen, 9, init).prompt).std())
        assert deviation < 1.5 * frozen.vocabulary_std


@pytest.mark.parametrize("num_virtual_tokens", [2, 5, 8])
def test_an_earlier_prompt_is_cut_or_repeated(
    frozen: FrozenModel, tmp_path: Path, num_virtual_tokens: int
) -> None:
    earlier = VirtualTokens(torch.randn(5, 64))
    run = save(tmp_path, frozen, earlier)
    rows = torch.arange(num_virtual_tokens) % 5
    for folder in (run, run / "adapter"):
        found = start(frozen, num_virtual_tokens, "prompt", init_prompt=folder)
        assert torch.equal(values_of(found.prompt), earlier.embeddings_PH[rows])
        assert found.remark is None
    layers = layers_of(frozen, earlier)
    found = start(
        frozen,
        num_virtual_tokens,
        "prompt",
        init_prompt=save(tmp_path / "layers", frozen, layers),
    )
    assert isinstance(found.prompt, LayerPrefix)
    assert torch.equal(found.prompt.keys_values, layers.keys_values[:, :, :, rows])


def test_prefix_starts_from_what_virtual_tokens_produce(
    frozen: FrozenModel, tmp_path: Path
) -> None:
    earlier = VirtualTokens(torch.randn(5, 64))
    found = start(frozen, 5, "prompt", init_prompt=save(tmp_path, frozen, earlier))
    method = make_method(
        "prefix", frozen, found.prompt, mlp_size=8, rank=2, reparametrise=False, seed=0
    )
    assert torch.equal(values_of(method()), layers_of(frozen, earlier).keys_values)


def test_a_prompt_of_other_weights_is_a_start_with_a_remark(
    frozen: FrozenModel, tmp_path: Path
) -> None:
    run = save(tmp_path, frozen, VirtualTokens(torch.randn(5, 64)), "0" * 64)
    remark = start(frozen, 5, "prompt", init_prompt=run).remark
    assert remark is not None
    assert "other weights" in remark


def test_an_adapter_of_peft_is_a_start(
    frozen: FrozenModel, tiny_model: Path, tmp_path: Path
) -> None:
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    config = peft.PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=16
    )
    tuned = peft.get_peft_model(base, config)
    tuned.save_pretrained(str(tmp_path))
    found = start(frozen, 4, "prompt", init_prompt=tmp_path)
    expected = tuned.get_prompt(1)[0].detach()
    assert torch.allclose(values_of(found.prompt), expected, atol=1e-6)
    assert found.remark is not None
    assert "cannot be checked" in found.remark


def test_what_cannot_be_a_start_is_a_sentence(frozen: FrozenModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="empty"):
        start(frozen, 5, "text", init_text="")
    with pytest.raises(UsageError, match="free text"):
        start(frozen, 5, "labels", labels=None)
    with pytest.raises(UsageError, match="none is named"):
        start(frozen, 5, "prompt")
    with pytest.raises(UsageError, match="starts elsewhere"):
        start(frozen, 5, "text", init_prompt=tmp_path)
    with pytest.raises(DataError, match="no trained prompt"):
        start(frozen, 5, "prompt", init_prompt=tmp_path / "nowhere")
    narrow = save(tmp_path, frozen, VirtualTokens(torch.randn(5, 48)))
    with pytest.raises(DataError, match="48 wide, but tiny is 64 wide"):
        start(frozen, 5, "prompt", init_prompt=narrow)


def test_fitting_repeats_from_the_beginning() -> None:
    values = torch.tensor([[1, 2, 3]])
    assert fitted(values, 2, 1).tolist() == [[1, 2]]
    assert fitted(values, 7, 1).tolist() == [[1, 2, 3, 1, 2, 3, 1]]
