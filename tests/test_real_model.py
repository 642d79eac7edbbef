"""The real default model, fetched from the package index: the same numbers as other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from gguf import GGUFReader

from export.bundle import read_manifest
from export.encoding import RowEncoder
from export.runtime import Bundle
from ptune_tui.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from ptune_tui.data import BUILTIN_FOLDER, encode_rows
from ptune_tui.default_model import DEFAULT_MODEL
from ptune_tui.engine.batches import Batch, collate
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.engine.fused.step import FusedStep
from ptune_tui.engine.gradient import GradientStep, LayerStep
from ptune_tui.engine.model import FrozenModel, load_frozen
from ptune_tui.engine.outliers import outlier_channels
from ptune_tui.engine.prompt import VirtualTokens
from ptune_tui.engine.reference import TorchReference
from ptune_tui.events import EvaluationDone
from ptune_tui.rows import read_rows
from ptune_tui.tasks import ExportTask, TrainTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from ptune_tui.worker.train import train
from quant.native.build import build
from tests.export.conftest import tuned_model
from tests.export.test_gguf_folder import LlamaCpp

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def frozen(default_model: Path) -> FrozenModel:
    return load_frozen(default_model, "default", "int4", "cached")


@pytest.fixture(scope="module")
def theirs(default_model: Path) -> transformers.PreTrainedModel:
    """transformers' own reading of the same file."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        default_model.parent, gguf_file=default_model.name, dtype=torch.float32
    ).eval()


def test_the_imported_weights_are_transformers_dequantised_ones(
    frozen: FrozenModel, theirs: transformers.PreTrainedModel
) -> None:
    state = theirs.state_dict()
    for name in (
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.17.mlp.down_proj.weight",
        "model.layers.29.self_attn.k_proj.weight",
    ):
        weight = frozen.loaded.weights[name]
        assert not isinstance(weight, torch.Tensor)
        assert torch.equal(weight.dequantize(), state[name])


def test_logits_equal_those_of_transformers(
    frozen: FrozenModel, theirs: transformers.PreTrainedModel
) -> None:
    ids = frozen.text.tokenizer.encode("The capital of France is Paris, and of Italy it is").ids
    ours = TorchReference(frozen, None).logits(ids)
    with torch.no_grad():
        expected = theirs(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(ours - expected).max() / np.abs(expected).max() < 1e-5


def test_it_knows_the_capital_of_france(frozen: FrozenModel) -> None:
    encoder = RowEncoder(frozen.text.tokenizer, frozen.text.template("chat", True), 2)
    ids, _ = encoder.encode_prompt("What is the capital of France?")
    reference = TorchReference(frozen, None)
    answer = frozen.text.tokenizer.decode(reference.continuations([ids], 12)[0])
    assert "Paris" in answer


def test_tokens_are_those_of_transformers(frozen: FrozenModel, default_model: Path) -> None:
    wrapped = transformers.AutoTokenizer.from_pretrained(
        default_model.parent, gguf_file=default_model.name
    )
    for text in ("hello 2024 there", " spaces  and\n\nlines", "naïve café 🙂", "I'm x<|im_end|>"):
        assert frozen.text.tokenizer.encode(text).ids == wrapped(text)["input_ids"]


def test_untuned_it_is_better_than_chance_on_sst2(frozen: FrozenModel, real_data: Path) -> None:
    rows = read_rows(real_data / "sst2" / "validation.jsonl", DataConfig())[:100]
    template = frozen.text.template("Review: {prompt}\nSentiment:", False)
    encoder = RowEncoder(frozen.text.tokenizer, template, frozen.text.end_token_id)
    evaluator = Evaluator(frozen, encoder, ["negative", "positive"], 4)
    scores = evaluator.score(None, rows, encode_rows(rows, encoder, 512))
    assert scores.accuracy > 0.65


@pytest.mark.skipif(build().library is None, reason=build().reason)
def test_the_written_out_step_has_transformers_gradient_and_integers_nearly(
    frozen: FrozenModel,
) -> None:
    path = BUILTIN_FOLDER / "support_inbox" / "train.jsonl"
    template = frozen.text.template("Message: {prompt}\nTeam:", False)
    encoder = RowEncoder(frozen.text.tokenizer, template, frozen.text.end_token_id)
    rows = encode_rows(read_rows(path, DataConfig())[:16], encoder, 48)
    start = frozen.embed(torch.tensor(frozen.text.tokenizer.encode("Which team? " * 6).ids))
    batch = collate(rows, 0)
    outliers = outlier_channels(frozen, VirtualTokens(start), [], batch, 8)
    expected, written_out, integers = (
        gradient(step, start, batch)
        for step in (
            LayerStep(frozen, "cached", {}),
            FusedStep(frozen, "stream", {}),
            FusedStep(frozen, "int8", outliers),
        )
    )
    assert float((written_out - expected).norm() / expected.norm()) < 1e-4
    cosine = torch.nn.functional.cosine_similarity(integers.flatten(), expected.flatten(), dim=0)
    assert float(cosine) >= 0.97


def gradient(step: GradientStep, start_PH: torch.Tensor, batch: Batch) -> torch.Tensor:
    leaf = start_PH.clone().requires_grad_()
    step(VirtualTokens(leaf), [], [batch])
    assert leaf.grad is not None
    return leaf.grad


def test_a_short_run_ships_what_it_trained(default_model: Path, tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    run.mkdir()
    files = {"train": 48, "validation": 12}
    for name, num_rows in files.items():
        lines = (BUILTIN_FOLDER / "support_inbox" / f"{name}.jsonl").read_text().splitlines()
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines[:num_rows]))
    config = RunConfig(
        model=ModelConfig(source=str(default_model)),
        data=DataConfig(
            train=str(tmp_path / "train.jsonl"), validation=str(tmp_path / "validation.jsonl")
        ),
        training=TrainingConfig(
            max_steps=4, batch_size=8, evaluate_every=4, max_validation_rows=6, seed=3
        ),
    )
    events = list(train(TrainTask(config), run, Channel(run)))
    scores = [event for event in events if isinstance(event, EvaluationDone)]
    assert [event.tuned for event in scores] == [False, True, False, True]
    assert [event.num_rows for event in scores] == [6, 6, 12, 12]
    list(export(ExportTask(str(run), str(bundle), "support"), Channel(run)))
    manifest = read_manifest(bundle)
    assert manifest.parity["exact"].relative_error <= 1e-4
    assert manifest.parity["exact"].identical_texts == 20
    assert manifest.parity["fast"].kl_divergence <= 0.01
    assert (
        manifest.weights_hash
        == json.loads((run / "adapter/prompt.json").read_text())["weights_hash"]
    )
    tuned = Bundle.open(bundle).tuned()
    assert tuned.answer("My parcel never came.") in manifest.prompts["support"].labels
    check_gguf(run, tmp_path / "gguf", default_model)


def check_gguf(run: Path, folder: Path, default_model: Path) -> None:
    """The GGUF file of a run has the model's bytes, and llama.cpp answers as torch does."""
    task = ExportTask(str(run), str(folder), "support", format="gguf")
    list(export(task, Channel(run)))
    before = {tensor.name: tensor for tensor in GGUFReader(default_model).tensors}
    after = {tensor.name: tensor for tensor in GGUFReader(folder / "model.gguf").tensors}
    assert set(after) == {*before, "output.weight"}
    for name, tensor in before.items():
        copy = after["output.weight" if name == "token_embd.weight" else name]
        assert copy.tensor_type == tensor.tensor_type
        assert np.array_equal(copy.data[: len(tensor.data)], tensor.data)
    theirs = LlamaCpp(folder / "model.gguf")
    tuned = tuned_model(run)
    reference, encoder = TorchReference(tuned.frozen, tuned.prompt), tuned.encoder()
    for text in ("My parcel never came.", "I was charged twice", "Where is the login page?"):
        ids, _ = encoder.encode_prompt(text)
        likely = np.argsort(-reference.logits(ids)[-1])[:3]
        chat = theirs.chat(text, 1)
        assert chat["usage"]["prompt_tokens"] == tuned.prompt.num_virtual_tokens + len(ids)
        answer = chat["choices"][0]["message"]["content"]
        pieces = [encoder.tokenizer.decode([int(token)]) for token in likely]
        assert answer.strip() in [piece.strip() for piece in pieces]


def test_the_pinned_hash_is_the_file_s(default_model: Path) -> None:
    import hashlib

    with default_model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == DEFAULT_MODEL.sha256
