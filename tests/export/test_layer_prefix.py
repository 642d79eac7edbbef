"""A prompt of keys and values of every layer: exported, verified, and answering as torch does."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from transformers import DynamicCache

from export.bundle import hash_file, read_manifest, write_manifest
from export.errors import BundleError
from export.manifest import Manifest
from export.prompts import PrefixPrompt, load_prefix, load_prompt, save_prompt
from export.runtime import Bundle
from ptune_tui.config import DataConfig, MethodName, dump, load
from ptune_tui.conversation import Answered, Ask, Ready
from ptune_tui.engine.prompt import LayerPrefix
from ptune_tui.events import ModelReady, Notice
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from ptune_tui.worker.tuned_model import TunedModelStage
from tests.export.conftest import Exported, export_layer_prefix, train_and_export, tuned_model
from tests.export.test_chat_worker import talk

PROMPT_FILE = "prompts/mine.safetensors"


@pytest.mark.parametrize("which", ["exported_prefix", "exported_prefix_text"])
def test_the_gate_holds_as_for_virtual_tokens(request: pytest.FixtureRequest, which: str) -> None:
    made: Exported = request.getfixturevalue(which)
    manifest = read_manifest(made.bundle)
    exact, fast = manifest.parity["exact"], manifest.parity["fast"]
    assert exact.relative_error <= 1e-4
    assert exact.identical_texts == exact.num_texts == 20
    assert 0 < fast.kl_divergence <= 0.01
    assert manifest.prompts["mine"].kind == "layer prefix"
    assert manifest.prompts["mine"].num_virtual_tokens == 5


def test_logits_equal_those_behind_transformers_own_cache(exported_prefix_text: Exported) -> None:
    tuned = tuned_model(exported_prefix_text.run)
    assert isinstance(tuned.prompt, LayerPrefix)
    ids = [*tuned.encoder().lead_ids(), 40, 17, 99, 8]
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(tuned.prompt.keys_values):
        cache.update(keys[None], values[None], layer)
    with torch.no_grad():
        network = tuned.frozen.network
        expected = network(torch.tensor([ids]), past_key_values=cache).logits[0].numpy()
    session = Bundle.open(exported_prefix_text.bundle, "exact", num_threads=1).session
    start = session.begin(PrefixPrompt(tuned.prompt.keys_values.numpy()), ids[:3])
    got = session.forward(ids[3:], start, wanted=range(len(ids) - 3))
    assert start == 5 + 3
    assert np.abs(got - expected[3:]).max() <= 1e-4 * np.abs(expected).max()


def test_the_prompt_changes_what_is_answered(exported_prefix: Exported) -> None:
    bundle = Bundle.open(exported_prefix.bundle, "exact", num_threads=1)
    tuned = bundle.tuned().label_scores("the cat")
    base = bundle.base().label_scores("the cat")
    assert max(abs(tuned[label] - base[label]) for label in tuned) > 0.1


def test_what_is_shipped_is_what_was_trained(exported_prefix_text: Exported) -> None:
    prompt = tuned_model(exported_prefix_text.run).prompt
    assert isinstance(prompt, LayerPrefix)
    shipped = load_prompt(exported_prefix_text.bundle / PROMPT_FILE, "layer prefix")
    assert isinstance(shipped, PrefixPrompt)
    assert np.array_equal(shipped.keys_values, prompt.keys_values.numpy())


def test_a_lead_is_run_behind_the_prompt_once_for_all_precisions(
    exported_prefix_text: Exported,
) -> None:
    folder = exported_prefix_text.bundle
    record = read_manifest(folder).prompts["mine"]
    shipped = load_prefix(folder / record.file)
    assert record.lead_ids
    assert record.prefixes["fast"] == record.prefixes["exact"]
    prefix = load_prefix(folder / record.prefixes["fast"])
    assert prefix.shape[3] == 5 + len(record.lead_ids)
    assert np.array_equal(prefix[:, :, :, :5], shipped)
    session = Bundle.open(folder, "exact", num_threads=1).session
    length = session.begin(PrefixPrompt(shipped), record.lead_ids)
    assert np.allclose(session.prefix(length), prefix, atol=1e-5)


def test_without_a_lead_the_prompt_is_its_own_prefix(exported_prefix: Exported) -> None:
    record = read_manifest(exported_prefix.bundle).prompts["mine"]
    assert record.lead_ids == []
    assert record.prefixes == {"fast": PROMPT_FILE, "exact": PROMPT_FILE}
    assert [path.name for path in (exported_prefix.bundle / "prompts").iterdir()] == [
        "mine.safetensors"
    ]


@pytest.mark.parametrize("method", ["prefix", "residual", "lowrank", "p-tuning"])
def test_every_method_is_exported(
    method: MethodName, tmp_path: Path, tiny_model: Path, label_rows: Path
) -> None:
    made = train_and_export(tmp_path, tiny_model, DataConfig(train=str(label_rows)), method=method)
    manifest = read_manifest(made.bundle)
    assert manifest.parity["exact"].passed
    is_prefix = manifest.prompts["mine"].kind == "layer prefix"
    assert is_prefix == (method == "prefix")
    assert Bundle.open(made.bundle, num_threads=1).tuned().num_virtual_tokens == 5


def test_a_run_trained_in_integers_is_compared_with_the_exact_model(
    exported_prefix: Exported, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(exported_prefix.run, tmp_path / "run"))
    config = load(run / "config.toml")
    trained = msgspec.structs.replace(config.model, kernel="int8", device="cuda")
    config = msgspec.structs.replace(config, model=trained)
    (run / "config.toml").write_text(dump(config), encoding="utf-8")
    events = [*export(ExportTask(str(run), str(tmp_path / "bundle"), "mine"), Channel(run))]
    ready = next(event for event in events if isinstance(event, ModelReady))
    assert ready.kernel in ("cached", "stream")
    assert read_manifest(tmp_path / "bundle").parity["exact"].passed


def test_a_run_of_a_device_that_is_not_here_is_scored_on_what_is(
    exported_prefix: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = Path(shutil.copytree(exported_prefix.run, tmp_path / "run"))
    config = load(run / "config.toml")
    trained = msgspec.structs.replace(config.model, device="cuda", compute_type="bfloat16")
    config = msgspec.structs.replace(config, model=trained)
    (run / "config.toml").write_text(dump(config), encoding="utf-8")
    stage = TunedModelStage(run, Channel(run))
    notices = {event.code: event for event in stage.events() if isinstance(event, Notice)}
    assert "`cuda`" in notices["other-device"].message
    assert stage.tuned.frozen.device.type == "cpu"
    assert stage.tuned.frozen.compute_dtype == torch.float32


def test_a_prompt_that_leaves_little_context_is_compared_on_rows_that_fit(
    exported: Exported, tmp_path: Path
) -> None:
    made = export_layer_prefix(exported, tmp_path, num_virtual_tokens=470)
    assert read_manifest(made.bundle).parity["exact"].passed


def test_the_chat_answers_with_it(exported_prefix: Exported) -> None:
    replies, code = talk(exported_prefix.bundle, Ask(1, "the cat", ["base", "tuned"]))
    ready, *answers = replies
    assert code == 0
    assert isinstance(ready, Ready)
    assert ready.num_virtual_tokens == 5
    assert [answer.speaker for answer in answers if isinstance(answer, Answered)] == [
        "base",
        "tuned",
    ]


def test_a_prompt_of_another_model_is_refused(exported_prefix: Exported, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported_prefix.bundle, tmp_path / "copied"))
    path = folder / PROMPT_FILE
    save_prompt(path, PrefixPrompt(load_prefix(path)[:1].copy()))
    manifest = read_manifest(folder)
    files = {**manifest.files, PROMPT_FILE: hash_file(path)}
    content = {name: getattr(manifest, name) for name in manifest.__struct_fields__}
    write_manifest(folder, Manifest(**{**content, "files": files}))
    with pytest.raises(BundleError, match=r"has the shape \(1, 2, 2, 5, 16\) instead of"):
        Bundle.open(folder).tuned()


def test_a_changed_byte_is_refused(exported_prefix: Exported, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported_prefix.bundle, tmp_path / "copied"))
    content = bytearray((folder / PROMPT_FILE).read_bytes())
    content[-1] ^= 1
    (folder / PROMPT_FILE).write_bytes(content)
    with pytest.raises(BundleError, match="was changed"):
        Bundle.open(folder).tuned()


def test_a_manifest_written_before_prompts_had_kinds_is_read(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "manifest_without_kind.json", tmp_path / "manifest.json")
    assert read_manifest(tmp_path).prompts["mine"].kind == "virtual tokens"
