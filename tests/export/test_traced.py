"""A traced graph computes what transformers computes, whatever the family."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers

from export.blobs import BlobFile
from export.bundle import read_manifest
from export.errors import ExportError, UnsupportedModelError
from export.graphs import store_graphs
from export.runtime import Bundle
from export.session import DecoderSession
from export.shape import DecoderShape
from export.vocabulary_table import VocabularyTable
from ptune_tui.config import DataConfig
from ptune_tui.engine.reference import TorchReference
from ptune_tui.events import Event, Notice
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from quant.linear import QuantLinear
from quant.loading import LoadedModel, load
from tests.engine.test_families import GPT2_SIZES, save_random
from tests.export.conftest import Exported, train_and_export, tuned_model
from tests.quant.conftest import float_twin

pytest.importorskip("onnxscript", reason="torch's exporter needs it")

IDS = [7, 3, 55, 21, 99, 0, 42, 13, 8, 64, 31]
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gpt_neox": {},
    "opt": {},
    "bloom": {},
    "falcon": {"head_dim": None, "new_decoder_architecture": True, "num_kv_heads": 2},
    "gpt_neo": {
        "num_layers": 2,
        "num_heads": 4,
        "window_size": 5,
        "attention_types": [[["global", "local"], 1]],
    },
    "gptj": {**GPT2_SIZES, "rotary_dim": 8},
    "phi": {},
    "stablelm": {},
    "starcoder2": {},
}
# transformers counts a window in columns, padding included.
WINDOWED = ("gpt_neo",)
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 8,
    "short_factor": [1.0 + 0.1 * n for n in range(8)],
    "long_factor": [1.5 + 0.4 * n for n in range(8)],
}


class Case:
    """One model in torch and, traced, in onnxruntime."""

    def __init__(self, folder: Path, name: str, precision: str = "exact", **changes: Any) -> None:
        self.name = name
        save_random(name, folder / "model", **FAMILIES.get(name, {}), **changes)
        self.loaded: LoadedModel = load(folder / "model")
        self.twin = float_twin(self.loaded)
        blobs = BlobFile(folder / "model.data")
        graphs = store_graphs(self.loaded.model, self.loaded.weights, blobs)
        blobs.close()
        assert graphs.refusal
        self.shape = graphs.shape
        self.path = folder / "model.onnx"
        self.path.write_bytes(graphs.build(precision).SerializeToString())  # type: ignore[arg-type]
        self.session = DecoderSession(self.path, self.shape, num_threads=1)

    def expected(self, *chunks: list[int] | torch.Tensor) -> np.ndarray:
        """Logits of transformers' model in one plain pass over tokens and embeddings."""
        embed = self.twin.get_input_embeddings()
        parts = [
            chunk if isinstance(chunk, torch.Tensor) else embed(torch.tensor(chunk))
            for chunk in chunks
        ]
        with torch.no_grad():
            output = self.twin(inputs_embeds=torch.cat(parts)[None], use_cache=False)
        return np.asarray(output.logits[0].numpy())


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    made: dict[str, Case] = {}

    def case(name: str) -> Case:
        if name not in made:
            made[name] = Case(tmp_path_factory.mktemp(name), name)
        return made[name]

    return case


@pytest.fixture(params=FAMILIES)
def case(cases: Callable[[str], Case], request: pytest.FixtureRequest) -> Case:
    return cases(request.param)


def test_prefill_in_one_chunk_equals_transformers(case: Case) -> None:
    got = case.session.forward(IDS, 0, wanted=range(len(IDS)))
    assert relative_error(got, case.expected(IDS)) < 1e-5


def test_prefill_in_chunks_and_decode_equal_transformers(case: Case) -> None:
    chunks = [(IDS[:4], 0), (IDS[4:9], 4), (IDS[9:10], 9), (IDS[10:], 10)]
    got = [case.session.forward(chunk, start, wanted=range(len(chunk))) for chunk, start in chunks]
    assert relative_error(np.concatenate(got), case.expected(IDS)) < 1e-5


def test_virtual_tokens_and_the_prefix_of_their_keys_and_values(case: Case) -> None:
    generator = torch.Generator().manual_seed(2)
    soft = 0.3 * torch.randn(3, case.shape.hidden_size, generator=generator)
    first = case.shape.vocab_size
    expected = case.expected(soft, IDS)[3:]
    case.session.forward([first, first + 1, first + 2], 0, soft_prompt=soft.numpy())
    prefix = case.session.prefix(3)
    got = case.session.forward(IDS, 3, wanted=range(len(IDS)))
    assert relative_error(got, expected) < 1e-5
    case.session.forward(IDS[::-1], 0)
    case.session.restore(prefix)
    assert np.array_equal(case.session.forward(IDS, 3, wanted=range(len(IDS))), got)


def test_several_continuations_of_one_position(case: Case) -> None:
    case.session.forward(IDS[:6], 0)
    for tail in ([5], [6, 7], [5]):
        got = case.session.forward(tail, 6)
        assert relative_error(got, case.expected([*IDS[:6], *tail])[-1:]) < 1e-5
    got = case.session.forward(IDS[3:], 3)
    assert relative_error(got, case.expected(IDS)[-1:]) < 1e-5


def empty_past(shape: DecoderShape, num_rows: int) -> dict[str, np.ndarray]:
    size = (num_rows, shape.num_key_value_heads, 0, shape.head_size)
    return {
        f"past_key_values.{layer}.{kind}": np.zeros(size, np.float32)
        for layer in range(shape.num_layers)
        for kind in ("key", "value")
    }


def test_a_batch_of_right_padded_rows_decodes_as_each_row_alone(case: Case) -> None:
    session = onnxruntime.InferenceSession(str(case.path), providers=["CPUExecutionProvider"])
    rows = [IDS, IDS[:4]]
    ids = np.zeros((2, len(IDS)), np.int64)
    mask = np.zeros((2, len(IDS)), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    feeds = {"input_ids": ids, "attention_mask": mask, **empty_past(case.shape, 2)}
    logits, *present = session.run(None, feeds)
    assert logits.shape == (2, 1, 100)
    for number, row in enumerate(rows):
        assert relative_error(logits[number, 0], case.expected(row)[-1]) < 1e-5
    if case.name in WINDOWED:
        return
    # What lies between a short row and its next token is hidden by the mask.
    longer = np.concatenate([mask, np.ones((2, 1), np.int64)], axis=1)
    past = dict(zip(empty_past(case.shape, 2), present, strict=True))
    feeds = {"input_ids": np.array([[17], [18]]), "attention_mask": longer, **past}
    logits = session.run(["logits"], feeds)[0]
    for number, row in enumerate(rows):
        expected = case.expected([*row, 17 + number])[-1]
        assert relative_error(logits[number, 0], expected) < 1e-5


def test_a_variant_of_a_written_family_is_traced(tmp_path: Path) -> None:
    made = Case(tmp_path, "llama", hidden_act="relu", attention_bias=True)
    got = made.session.forward(IDS, 0, wanted=range(len(IDS)))
    assert relative_error(got, made.expected(IDS)) < 1e-5


def test_the_network_is_left_as_it_was(cases: Callable[[str], Case]) -> None:
    made = cases("gpt2")
    network = made.loaded.model
    assert sum(isinstance(module, QuantLinear) for module in network.modules()) == 9
    with torch.no_grad():
        got = network(torch.tensor([IDS])).logits[0].numpy()
    assert relative_error(got, made.expected(IDS)) < 1e-5


def test_both_precisions_share_one_data_file(tmp_path: Path) -> None:
    made = Case(tmp_path, "gpt2", "fast")
    got = made.session.forward(IDS, 0, wanted=range(len(IDS)))
    assert 1e-5 < relative_error(got, made.expected(IDS)) < 0.2
    model = onnx.load(made.path, load_external_data=False)
    assert model.ir_version == 10
    assert {(item.domain, item.version) for item in model.opset_import} == {
        ("", 21),
        ("com.microsoft", 1),
    }
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("MatMulNBits") == 9
    assert kinds.count("GatherBlockQuantized") == 1
    assert not any(tensor.raw_data[1024:] for tensor in model.graph.initializer)
    # torch notes the files and lines that each node came from.
    assert b"site-packages" not in made.path.read_bytes()


def test_a_length_beyond_the_cache_is_an_error(cases: Callable[[str], Case]) -> None:
    session = cases("gpt2").session
    session.forward(IDS, 0)
    with pytest.raises(ValueError, match="position 20 of a cache that ends at 11"):
        session.forward([1], 20)


def test_the_manifest_of_a_written_graph_is_what_it_was() -> None:
    shape = DecoderShape(2, 64, 2, 16, 100, 600)
    assert b"cache" not in msgspec.json.encode(shape)
    assert msgspec.json.decode(msgspec.json.encode(shape), type=DecoderShape) == shape


@pytest.mark.parametrize("name", ["mamba", "falcon_h1"])
def test_a_model_that_keeps_more_than_keys_and_values_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedModelError, match="keeps more between its tokens") as caught:
        Case(tmp_path, name)
    assert caught.value.hint


def test_what_torch_cannot_trace_is_one_sentence(tmp_path: Path) -> None:
    sizes = {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}
    with pytest.raises(UnsupportedModelError, match="cannot trace a model of the type") as caught:
        Case(tmp_path, "mpt", **sizes)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_long_rope_chooses_its_frequencies_at_each_call(tmp_path: Path) -> None:
    # A number of its own, which transformers takes before that of the rope parameters.
    changes = {"original_max_position_embeddings": 8, "rope_parameters": LONG_ROPE}
    made = Case(tmp_path, "phi3", hidden_act="relu", sliding_window=None, **changes)
    cache = transformers.DynamicCache(config=made.twin.config)
    embed = made.twin.get_input_embeddings()
    position = 0
    for chunk in (IDS[:4], IDS[4:10], IDS[10:]):
        with torch.no_grad():
            values = embed(torch.tensor([chunk]))
            expected = made.twin(inputs_embeds=values, past_key_values=cache).logits[0].numpy()
        got = made.session.forward(chunk, position, wanted=range(len(chunk)))
        assert relative_error(got, expected) < 1e-5
        position += len(chunk)
    # The first keys were rotated for a short text, so that a single pass gives something else.
    assert relative_error(expected, made.expected(IDS)[-1:]) > 1e-3


def test_a_missing_exporter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    with pytest.raises(ExportError, match="`onnxscript`"):
        Case(tmp_path, "gpt2")


@pytest.fixture(scope="module")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny-gpt2"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors", "config*"))
    vocab_size = transformers.AutoConfig.from_pretrained(tiny_model).vocab_size
    sizes = GPT2_SIZES | {"n_positions": 256, "max_position_embeddings": 256}
    return save_random("gpt2", folder, vocab_size=vocab_size, **sizes)


def export_again(made: Exported, bundle: Path, name: str, *, is_addition: bool) -> list[Event]:
    task = ExportTask(str(made.run), str(bundle), name, is_addition=is_addition)
    return list(export(task, Channel(made.run)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_gpt2: Path, label_rows: Path) -> Exported:
    folder = tmp_path_factory.mktemp("traced")
    return train_and_export(folder, tiny_gpt2, DataConfig(train=str(label_rows)))


def test_the_whole_path_of_a_traced_bundle(made: Exported, tmp_path: Path) -> None:
    manifest = read_manifest(made.bundle)
    assert manifest.shape.cache == "grown"
    assert manifest.parity["exact"].identical_texts == manifest.parity["exact"].num_texts == 20
    tuned = tuned_model(made.run)
    ids_C = torch.arange(tuned.frozen.config.vocab_size)
    table = VocabularyTable.of(made.bundle, manifest).rows(ids_C.numpy())
    torch.testing.assert_close(torch.from_numpy(table), tuned.frozen.embed(ids_C))
    reference = TorchReference(tuned.frozen, tuned.prompt)
    answerer = Bundle.open(made.bundle, "exact", num_threads=1).tuned()
    for text in ("the cat", "where is my dog?"):
        ids, _ = answerer.encoder.encode_prompt(text, 100)
        for label, score in answerer.label_scores(text).items():
            response = [*answerer.encoder.encode_response(label)]
            logits = torch.from_numpy(reference.logits([*ids, *response]))[len(ids) - 1 : -1]
            expected = logits.log_softmax(-1)[range(len(response)), response].sum()
            assert score == pytest.approx(float(expected), abs=1e-3)
        scores = answerer.label_scores(text)
        assert answerer.classify(text).label == max(scores, key=lambda label: scores[label])
        generation = answerer.generate(text, 8)
        list(generation)
        assert generation.tokens == reference.continuations([ids], 8)[0][: len(generation.tokens)]


def test_a_second_prompt_joins_a_traced_bundle(made: Exported, tmp_path: Path) -> None:
    bundle = tmp_path / "copied"
    shutil.copytree(made.bundle, bundle)
    export_again(made, bundle, "second", is_addition=True)
    opened = Bundle.open(bundle, "exact", num_threads=1)
    first = opened.tuned("mine").label_scores("the cat")
    assert opened.tuned("second").label_scores("the cat") == first
    assert opened.tuned("mine").label_scores("the cat") == first


def test_keys_and_values_of_every_layer_pass_the_gate(
    tiny_gpt2: Path, label_rows: Path, tmp_path: Path
) -> None:
    data = DataConfig(train=str(label_rows))
    prefix = train_and_export(tmp_path, tiny_gpt2, data, method="prefix")
    record = read_manifest(prefix.bundle)
    assert record.prompts["mine"].kind == "layer prefix"
    assert record.parity["exact"].identical_texts == 20
    assert Bundle.open(prefix.bundle, "exact", num_threads=1).tuned().classify("the cat").label


def test_the_export_says_what_a_traced_graph_costs(made: Exported, tmp_path: Path) -> None:
    events = export_again(made, tmp_path / "again", "mine", is_addition=False)
    (notice,) = [
        event for event in events if isinstance(event, Notice) and event.code == "traced-graph"
    ]
    assert "`gpt2`" in notice.message
    assert "nodes" in notice.message
    assert "GroupQueryAttention" in notice.message
    assert notice.hint
