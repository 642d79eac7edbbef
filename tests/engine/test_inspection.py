"""Looking at a prompt: neighbours, attention and dropped tokens against straightforward ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
import transformers
from torch import Tensor

from export.encoding import EncodedRow, RowEncoder
from ptune_tui.config import DataConfig
from ptune_tui.data import encode_rows
from ptune_tui.engine.attention import attention_masses, eager_attention, layer_norms
from ptune_tui.engine.dropping import beginnings, groups, part_of, response_loss
from ptune_tui.engine.evaluate import Evaluator, shared_lead
from ptune_tui.engine.methods.factory import layers_of
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.peft_adapter import read_peft_adapter, write_peft_adapter
from ptune_tui.engine.prompt import LayerPrefix, Prompt, VirtualTokens
from ptune_tui.engine.vocabulary import Vocabulary, neighbours
from ptune_tui.errors import DataError, ModelError
from ptune_tui.events import Notice
from ptune_tui.inspection import Inspection
from ptune_tui.rows import Row, closed_set, read_rows
from ptune_tui.tasks import RESULT_FILE, InspectTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.inspect_prompt import inspect_prompt

P = 5
TEMPLATE = "the cat: {prompt}\nlabel:"


@pytest.fixture(scope="module")
def frozen(tiny_model: Path) -> FrozenModel:
    torch.manual_seed(0)
    return load_frozen(tiny_model, "tiny", "int4", "cached")


@pytest.fixture(scope="module")
def tokens(frozen: FrozenModel) -> VirtualTokens:
    generator = torch.Generator().manual_seed(1)
    return VirtualTokens(0.3 * torch.randn((P, 64), generator=generator))


@pytest.fixture(scope="module")
def encoder(frozen: FrozenModel) -> RowEncoder:
    template = frozen.text.template(TEMPLATE, is_free_text=False)
    return RowEncoder(frozen.text.tokenizer, template, frozen.text.end_token_id)


@pytest.fixture(scope="module")
def rows(label_rows: Path) -> list[Row]:
    return read_rows(label_rows, DataConfig())[:12]


@pytest.fixture(scope="module")
def encoded(rows: list[Row], encoder: RowEncoder) -> list[EncodedRow]:
    return encode_rows(rows, encoder, 400)


def vocabulary_of(frozen: FrozenModel) -> Tensor:
    size = frozen.network.get_input_embeddings().num_embeddings
    return frozen.embed(torch.arange(size)).double()


def test_nearest_tokens_and_norms_are_those_of_a_brute_force_in_float64(
    frozen: FrozenModel, tokens: VirtualTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptune_tui.engine.vocabulary._CHUNK_ROWS", 50)
    table, mine = vocabulary_of(frozen), tokens.embeddings_PH.double()
    cosines = (mine @ table.T) / mine.norm(dim=1)[:, None] / table.norm(dim=1)
    expected = cosines.sort(dim=1, descending=True)
    found = neighbours(Vocabulary.of(frozen), tokens.embeddings_PH, 4)
    assert found.ids_Pk.equal(expected.indices[:, :4])
    torch.testing.assert_close(found.cosines_Pk.double(), expected.values[:, :4], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.norms_P.double(), mine.norm(dim=1))
    assert found.vocabulary_norm == pytest.approx(float(table.norm(dim=1).mean()), rel=1e-5)


def test_a_token_of_the_vocabulary_is_its_own_nearest(frozen: FrozenModel) -> None:
    ids = torch.tensor([7, 100, 33])
    found = neighbours(Vocabulary.of(frozen), 2.5 * frozen.embed(ids), 1)
    assert found.ids_Pk[:, 0].equal(ids)
    assert found.cosines_Pk[:, 0].tolist() == pytest.approx([1.0] * 3, abs=1e-5)


@torch.no_grad()
def direct_masses(
    frozen: FrozenModel, start: Tensor, past: LayerPrefix | None, row: EncodedRow, num_lead: int
) -> tuple[Tensor, Tensor]:
    """Of one row, [L, P] each, by one plain call of transformers on the whole sequence."""
    ids = torch.tensor(row.prompt_ids + row.response_ids[:-1])
    whole = torch.cat([start, frozen.embed(ids)]).unsqueeze(0)
    cache = None
    if past is not None:
        cache = transformers.DynamicCache()
        for layer, (key, value) in enumerate(past.keys_values):
            cache.update(key.unsqueeze(0), value.unsqueeze(0), layer)
    output = frozen.network(
        inputs_embeds=whole,
        past_key_values=cache,
        output_attentions=True,
        use_cache=past is not None,
    )
    weights = torch.stack(output.attentions).double()[:, 0, :, len(start) :, :P].mean(1)
    last = len(row.prompt_ids) - 1
    return weights[:, num_lead:last].sum(1), weights[:, last:].sum(1)


@pytest.mark.parametrize("kind", ["virtual tokens", "keys and values"])
def test_attention_is_that_of_a_direct_call_row_by_row(
    frozen: FrozenModel,
    tokens: VirtualTokens,
    encoded: list[EncodedRow],
    encoder: RowEncoder,
    kind: str,
) -> None:
    lead = shared_lead(encoded, encoder.lead_ids())
    assert len(lead) > 2
    is_tokens = kind == "virtual tokens"
    past = None if is_tokens else layers_of(frozen, tokens)
    start = tokens.embeddings_PH if is_tokens else torch.zeros((0, 64))
    with eager_attention(frozen.network):
        sums = [direct_masses(frozen, start, past, row, len(lead)) for row in encoded]
    num_text = sum(len(row.prompt_ids) - 1 - len(lead) for row in encoded)
    num_answer = sum(len(row.response_ids) for row in encoded)
    prompt: Prompt = tokens if past is None else past
    found = attention_masses(frozen, prompt, encoded, encoder.lead_ids())
    text, answer = (sum(part) for part in zip(*sums, strict=True))
    torch.testing.assert_close(found.text_LP, text / num_text, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.answer_LP, answer / num_answer, atol=1e-5, rtol=1e-4)
    assert 0.0 < float(found.text_LP.sum(1).max()) < 1.0


def test_rows_in_small_parts_give_the_same_attention_and_leave_the_model_as_it_was(
    frozen: FrozenModel,
    tokens: VirtualTokens,
    encoded: list[EncodedRow],
    encoder: RowEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = frozen.config._attn_implementation
    whole = attention_masses(frozen, tokens, encoded, encoder.lead_ids())
    monkeypatch.setattr("ptune_tui.engine.attention._MAX_WEIGHTS", 1)
    parts = attention_masses(frozen, tokens, encoded, encoder.lead_ids())
    torch.testing.assert_close(parts.text_LP, whole.text_LP, atol=1e-6, rtol=1e-5)
    assert frozen.config._attn_implementation == before != "eager"


def test_keys_and_values_of_a_text_are_as_large_as_that_text_s(
    frozen: FrozenModel, encoded: list[EncodedRow]
) -> None:
    row = encoded[0]
    own = layers_of(frozen, VirtualTokens(frozen.embed(torch.tensor(row.prompt_ids))))
    doubled = LayerPrefix(own.keys_values * torch.tensor([1.0, 2.0]).view(1, 2, 1, 1, 1))
    found = layer_norms(frozen, doubled, [row])
    assert found.key_LP.mean(1).tolist() == pytest.approx([1.0, 1.0], rel=1e-4)
    assert found.value_LP.mean(1).tolist() == pytest.approx([2.0, 2.0], rel=1e-4)


@pytest.mark.parametrize("kind", ["virtual tokens", "keys and values"])
def test_a_part_scores_as_an_adapter_that_never_had_the_other_tokens(
    frozen: FrozenModel,
    tokens: VirtualTokens,
    encoder: RowEncoder,
    rows: list[Row],
    encoded: list[EncodedRow],
    kind: str,
    tmp_path: Path,
) -> None:
    kept = [0, 2, 4]
    whole: Prompt = tokens
    less: Prompt = VirtualTokens(torch.stack([tokens.embeddings_PH[number] for number in kept]))
    if kind == "keys and values":
        layers = layers_of(frozen, tokens)
        whole = layers
        less = LayerPrefix(torch.stack([layers.keys_values[:, :, :, n] for n in kept], dim=3))
    write_peft_adapter(tmp_path, frozen, less, "tiny")
    evaluator = Evaluator(frozen, encoder, closed_set(rows, "labels"), 8)
    part, adapter = part_of(whole, kept), read_peft_adapter(tmp_path).prompt
    assert response_loss(evaluator, part, encoded) == response_loss(evaluator, adapter, encoded)
    ours, theirs = (evaluator.score(each, rows, encoded).answers for each in (part, adapter))
    assert ours == theirs
    assert response_loss(evaluator, part, encoded) != response_loss(evaluator, whole, encoded)
    assert part_of(whole, []) is None


@torch.no_grad()
def test_the_loss_of_a_part_is_that_of_whole_sequences(
    frozen: FrozenModel, tokens: VirtualTokens, encoder: RowEncoder, encoded: list[EncodedRow]
) -> None:
    total, count = 0.0, 0
    for row in encoded:
        ids = torch.tensor(row.prompt_ids + row.response_ids[:-1])
        whole = torch.cat([tokens.embeddings_PH[:2], frozen.embed(ids)]).unsqueeze(0)
        logits = frozen.network(inputs_embeds=whole).logits[0, -len(row.response_ids) :].double()
        chances = logits.log_softmax(-1)[range(len(row.response_ids)), row.response_ids]
        total, count = total - float(chances.sum()), count + len(row.response_ids)
    evaluator = Evaluator(frozen, encoder, None, 8)
    found = response_loss(evaluator, part_of(tokens, [0, 1]), encoded)
    assert found == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize("number", [1, 2, 20, 21, 50, 100])
def test_groups_are_few_and_hold_every_token_once(number: int) -> None:
    found = groups(number)
    assert [token for group in found for token in group] == list(range(number))
    assert len(found) <= 20
    assert all(len(group) == 1 for group in found) or number > 20
    assert all(0 < length < number for length in beginnings(number))


def look(folder: Path, adapter: Path, **more: object) -> tuple[Inspection, list[str]]:
    """What the task finds, and the codes of its notices."""
    folder.mkdir(exist_ok=True)
    task = InspectTask(str(adapter), "", **more)  # type: ignore[arg-type]
    events = list(inspect_prompt(task, folder, Channel(folder)))
    found = msgspec.json.decode((folder / RESULT_FILE).read_bytes(), type=Inspection)
    return found, [event.code for event in events if isinstance(event, Notice)]


def test_an_adapter_of_peft_is_looked_at_with_and_without_rows(
    frozen: FrozenModel, tokens: VirtualTokens, tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    write_peft_adapter(adapter, frozen, tokens, str(tiny_model))
    bare, codes = look(tmp_path / "task", adapter)
    assert "no-rows" in codes
    assert (bare.whole, bare.layers, bare.num_rows) == (None, [], 0)
    expected = neighbours(Vocabulary.of(frozen), tokens.embeddings_PH, 5)
    assert [[near.token_id for near in token.nearest] for token in bare.tokens] == (
        expected.ids_Pk.tolist()
    )
    found, codes = look(
        *(tmp_path / "task", adapter), data=str(label_rows), template=TEMPLATE, num_rows=12
    )
    assert "no-rows" not in codes
    assert found.num_rows == 12
    assert len(found.layers) == 2
    assert len(found.without) == P
    assert found.whole is not None
    shares = [token.attention_answer for token in found.tokens]
    together = sum(layer.attention_answer or 0.0 for layer in found.layers) / 2
    assert sum(share or 0.0 for share in shares) == pytest.approx(together)
    assert found.base is not None
    assert found.base.loss != found.whole.loss


def test_an_adapter_that_names_no_model_or_fits_another_is_a_sentence(
    frozen: FrozenModel, tokens: VirtualTokens, tiny_model: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    write_peft_adapter(adapter, frozen, tokens, "")
    with pytest.raises(ModelError, match="does not say which model"):
        look(tmp_path / "task", adapter)
    write_peft_adapter(adapter, frozen, layers_of(frozen, tokens), "")
    with pytest.raises(DataError, match="only be looked at on rows"):
        look(tmp_path / "task", adapter)
    wider = VirtualTokens(tokens.embeddings_PH.repeat(1, 2))
    write_peft_adapter(adapter, frozen, wider, "")
    with pytest.raises(DataError, match="128 wide"):
        look(tmp_path / "task", adapter, model=str(tiny_model))
