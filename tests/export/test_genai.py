"""ONNX Runtime GenAI, as it is installed, answers from a bundle what our runtime answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import genai as genai_files
from export.bundle import read_manifest, verify_all
from export.errors import BundleError
from export.genai import CONFIG_FILE, DEFAULT_FILES
from export.prompts import load_prompt
from export.runtime import Bundle
from ptune_tui.config import DataConfig
from ptune_tui.events import Event, Notice
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from tests.export.conftest import Exported, train_and_export

# After export.runtime, which switches onnxruntime's telemetry off.
og = pytest.importorskip("onnxruntime_genai")

TEXTS = ("say 7", "say <|im_end|> it", " the cat", "")


class Genai:
    """A program of somebody else's, which knows the folder and GenAI's documentation."""

    def __init__(self, folder: Path) -> None:
        self.model = og.Model(str(folder))
        self.tokenizer = og.Tokenizer(self.model)

    def ids(self, text: str, template: str | None = None) -> list[int]:
        messages = json.dumps([{"role": "user", "content": text}])
        options = {} if template is None else {"template_str": template}
        rendered = self.tokenizer.apply_chat_template(messages, **options)
        return [int(token) for token in self.tokenizer.encode(rendered)]

    def generator(self, ids: list[int], adapter: Path | None = None) -> Any:
        params = og.GeneratorParams(self.model)
        params.set_search_options(max_length=len(ids) + 16)
        generator = og.Generator(self.model, params)
        if adapter is not None:
            self.adapters = og.Adapters(self.model)
            self.adapters.load(str(adapter), "mine")
            generator.set_active_adapter(self.adapters, "mine")
        generator.append_tokens(ids)
        return generator

    def continuation(self, generator: Any, num_tokens: int) -> list[int]:
        tokens: list[int] = []
        while not generator.is_done() and len(tokens) < num_tokens:
            generator.generate_next_token()
            tokens.append(int(generator.get_next_tokens()[0]))
        return tokens


def begun(bundle: Bundle, name: str, text: str) -> tuple[int, list[int]]:
    """Put the prompt into the cache; where a text's tokens go, and they."""
    tuned = bundle.tuned(name)
    prompt = load_prompt(bundle.folder / tuned.record.file, tuned.record.kind)
    return bundle.session.begin(prompt, []), tuned.encoder.encode_prompt(text)[0]


def our_logits(bundle: Bundle, name: str, text: str) -> np.ndarray:
    """Of the token behind a text behind the prompt."""
    start, ids = begun(bundle, name, text)
    return np.asarray(bundle.session.forward(ids, start)[0])


def our_ids(bundle: Bundle, name: str, text: str) -> list[int]:
    tuned = bundle.tuned(name)
    first = bundle.manifest.shape.vocab_size
    virtual = list(range(first, first + tuned.num_virtual_tokens))
    return virtual + tuned.encoder.encode_prompt(text)[0]


def our_tokens(bundle: Bundle, name: str, text: str, num_tokens: int) -> list[int]:
    """Greedy by the same graph, with the end token where it comes.

    An `Answerer` begins with keys and values of the prompt that `exact` computed; here `fast` does.
    """
    tuned, (start, ids) = bundle.tuned(name), begun(bundle, name, text)
    logits, tokens = bundle.session.forward(ids, start)[0], list[int]()
    while len(tokens) < num_tokens:
        tokens.append(int(logits.argmax()))
        if tokens[-1] == tuned.record.end_token_id:
            break
        logits = bundle.session.forward([tokens[-1]], start + len(ids) + len(tokens) - 1)[0]
    return tokens


@pytest.mark.parametrize("which", ["exported", "exported_text"])
def test_a_stock_program_has_our_tokens_logits_and_greedy_text(
    request: pytest.FixtureRequest, which: str
) -> None:
    made: Exported = request.getfixturevalue(which)
    bundle, genai = Bundle.open(made.bundle, num_threads=1), Genai(made.bundle)
    for text in TEXTS:
        ids = genai.ids(text)
        assert ids == our_ids(bundle, "mine", text)
        generator = genai.generator(ids)
        expected = our_logits(bundle, "mine", text)
        assert np.abs(np.asarray(generator.get_logits()).reshape(-1) - expected).max() < 1e-4
        assert genai.continuation(generator, 8) == our_tokens(bundle, "mine", text, 8)


def test_a_typed_name_of_a_virtual_token_is_text_in_our_runtime(exported_text: Exported) -> None:
    bundle = Bundle.open(exported_text.bundle, num_threads=1)
    tuned = bundle.tuned()
    for text in ("<|soft_0|>", "say <|soft_3|><|unused_321|> 7"):
        ids, _ = tuned.encoder.encode_prompt(text)
        assert max(ids) < bundle.tokenizer.get_vocab_size() <= bundle.manifest.shape.vocab_size
        assert text in bundle.tokenizer.decode(ids, skip_special_tokens=False)
    assert bundle.tokenizer.token_to_id("<|soft_0|>") is None
    assert isinstance(tuned.answer("<|soft_0|>"), str)


def run_export(made: Exported, bundle: Path, name: str, *, overwrite: bool = False) -> list[Event]:
    task = ExportTask(
        str(made.run), str(bundle), name, is_addition=bundle.exists(), overwrite=overwrite
    )
    return list(export(task, Channel(made.run)))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Exported:
    """Another run on the same base, of another length, with a text template."""
    folder = tmp_path_factory.mktemp("other")
    rows = folder / "rows.jsonl"
    rows.write_text(
        "".join(f'{{"prompt": "turn {n}", "response": "lamp {n} on"}}\n' for n in range(20)),
        encoding="utf-8",
    )
    data = DataConfig(train=str(rows), template="Turn {prompt}\nnow:")
    return train_and_export(folder, tiny_model, data, num_virtual_tokens=3)


def test_adapters_choose_among_the_prompts_of_a_bundle(copied: Path, other: Exported) -> None:
    run_export(other, copied, "second")
    verify_all(copied)
    bundle, genai = Bundle.open(copied, num_threads=1), Genai(copied)
    record = read_manifest(copied).prompts["second"]
    assert record.adapter is not None
    assert record.chat_template_file is not None
    template = (copied / record.chat_template_file).read_text(encoding="utf-8")
    ids = genai.ids("turn 3", template)
    assert ids == our_ids(bundle, "second", "turn 3")
    generator = genai.generator(ids, copied / record.adapter)
    logits = np.asarray(generator.get_logits()).reshape(-1)
    assert np.abs(logits - our_logits(bundle, "second", "turn 3")).max() < 1e-4
    assert genai.continuation(generator, 8) == our_tokens(bundle, "second", "turn 3", 8)
    # Without an adapter it is still the first prompt.
    assert genai.ids("the cat") == our_ids(bundle, "mine", "the cat")


def test_replacing_the_first_prompt_replaces_what_stock_programs_answer_with(
    copied: Path, other: Exported
) -> None:
    run_export(other, copied, "mine", overwrite=True)
    verify_all(copied)
    bundle, genai = Bundle.open(copied, num_threads=1), Genai(copied)
    ids = genai.ids("turn 3")
    assert ids == our_ids(bundle, "mine", "turn 3")
    tokens = genai.continuation(genai.generator(ids), 8)
    assert tokens == our_tokens(bundle, "mine", "turn 3", 8)


def test_a_layer_prefix_is_left_out_and_said_to_be(
    copied: Path, exported_prefix: Exported, tmp_path: Path
) -> None:
    for bundle in (copied, tmp_path / "new"):
        notices = [
            event
            for event in run_export(exported_prefix, bundle, "prefix")
            if isinstance(event, Notice) and event.code == "no-genai"
        ]
        assert len(notices) == 1
        assert "keys and values of every layer" in notices[0].message
        assert verify_all(bundle).prompts["prefix"].adapter is None
    assert CONFIG_FILE in read_manifest(copied).files
    assert not DEFAULT_FILES & set(read_manifest(tmp_path / "new").files)
    # Where the last prompt that GenAI could answer with goes, so do the files it begins with.
    run_export(exported_prefix, copied, "mine", overwrite=True)
    assert not DEFAULT_FILES & {path.name for path in copied.iterdir()}
    verify_all(copied)


@pytest.mark.parametrize("name", ["genai.onnx", "tokenizer.json", "prompts/mine.onnx_adapter"])
def test_a_changed_file_of_genai_is_found(copied: Path, name: str) -> None:
    verify_all(copied)
    (copied / name).write_bytes((copied / name).read_bytes() + b" ")
    with pytest.raises(BundleError, match="was changed"):
        verify_all(copied)


def test_a_prompt_longer_than_the_bundle_has_names_for_is_left_out_and_said_to_be(
    other: Exported, exported_text: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(genai_files, "_NUM_NAMES", 2)
    bundle = tmp_path / "bundle"
    run_export(other, bundle, "short")
    events = run_export(exported_text, bundle, "long")
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any("names 3 virtual tokens, the prompt has 5" in message for message in notices)
    assert verify_all(bundle).prompts["long"].adapter is None
