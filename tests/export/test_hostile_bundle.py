"""Bundles that were tampered with by somebody who signed them again: refused in a sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from export.bundle import hash_file, read_manifest, verify_all, write_manifest
from export.errors import BundleError
from export.manifest import Manifest
from export.manifest_file import MANIFEST
from export.preface import NO_PREFACE
from export.runtime import Bundle
from export.template import Template
from ptune_tui.server.refusal import Refusal
from ptune_tui.server.requests import Message
from ptune_tui.server.served_model import serve_bundle
from tests.export.conftest import Exported


def sign(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what the manifest says, and sign it again."""
    content = msgspec.json.decode((folder / MANIFEST).read_bytes())
    for name in content["files"]:
        content["files"][name] = msgspec.to_builtins(hash_file(folder / name))
    change(content)
    write_manifest(folder, msgspec.convert(content, Manifest))


def prompt(**fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["prompts"]["mine"].update(fields)


def shape(**fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda manifest: manifest["shape"].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (prompt(labels=[]), "of the prompt 'mine' the list of labels is empty"),
        (prompt(labels=["a", "b", "a"]), "a label is there twice"),
        (prompt(end_token_id=10**8), "token 100000000, of"),
        (prompt(lead_ids=[1, -1]), "token -1, of"),
        (prompt(num_virtual_tokens=-1), "-1 virtual tokens"),
        (prompt(max_prompt_tokens=-5), "-5 tokens"),
        (prompt(max_prompt_tokens=10**6), "the longest text is 1000000 tokens"),
        (prompt(max_response_tokens=10**6), "the longest response 1000000"),
        (lambda m: m["files"].pop("exact.onnx"), "names 'exact.onnx' but has no hash"),
        (lambda m: m["graphs"].update(throughput="model.onnx"), "names 'throughput.data' but"),
        (shape(num_layers=1), "2 layers of keys and values, the manifest 1"),
        (shape(num_layers=10**30), "num_layers is"),
        (shape(head_size=8), "instead of 8"),
        (shape(hidden_size=63), "instead of 63"),
        (shape(vocab_size=400), "instead of 400"),
        (lambda m: m["golden"].update(ids=[10**9]), "token 1000000000, of"),
        (lambda m: m["golden"].update(ids=[]), "self-test has 0 tokens"),
        (lambda m: m["golden"]["top_logits"].pop("fast"), "no logits of `fast`"),
        (lambda m: m["golden"]["top_ids"]["fast"].append(-1), "no logits of `fast`"),
        (lambda m: m.update(graphs={}), "names no graph"),
        (lambda m: m.update(prompts={}), "has no prompts"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    copied: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    sign(copied, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copied, "fast").tuned().answer("the cat")


def test_a_context_longer_than_the_graph_has_is_said(copied: Path) -> None:
    sign(copied, shape(context_length=100_000))
    opened = Bundle.open(copied, "fast")
    with pytest.raises(BundleError, match="cannot compute"):
        opened.session.forward([1] * 600, 0)


def test_labels_of_the_same_tokens_are_refused(copied: Path) -> None:
    tokenizer = copied / "plain_tokenizer.json"
    content = msgspec.json.decode(tokenizer.read_bytes())
    content["normalizer"] = {"type": "Lowercase"}
    tokenizer.write_bytes(msgspec.json.encode(content))
    sign(copied, prompt(labels=["good", "Good"]))
    with pytest.raises(BundleError, match="same tokens"):
        Bundle.open(copied, "fast").tuned().answer("the cat")


def test_what_is_no_tokenizer_is_refused(copied: Path) -> None:
    (copied / "plain_tokenizer.json").write_text("{}")
    sign(copied, lambda _: None)
    with pytest.raises(BundleError, match="is no tokenizer"):
        Bundle.open(copied, "fast").tuned()


@pytest.mark.parametrize("name", ["prompts/mine.safetensors", "prompts/mine.kv.safetensors"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(copied: Path, name: str, number: float) -> None:
    path = copied / name
    tensors = load_file(path)
    for values in tensors.values():
        values.flat[-1] = number
    save_file(tensors, path)
    sign(copied, lambda _: None)
    with pytest.raises(BundleError, match="not finite"):
        Bundle.open(copied, "fast").tuned()


HOSTILE = pytest.mark.parametrize(
    "source", ["{% import 'os' as x %}", "{{ messages + 1 }}", "{{ 'a' * 10**10 }}"]
)


@HOSTILE
def test_a_hostile_chat_template_is_the_bundles_fault(
    exported_text: Exported, tmp_path: Path, source: str
) -> None:
    folder = Path(shutil.copytree(exported_text.bundle, tmp_path / "copied"))
    sign(folder, lambda m: m["prompts"]["mine"]["template"].update(chat_template=source))
    for answerer in (Bundle.open(folder).tuned, Bundle.open(folder).base):
        with pytest.raises(BundleError, match="chat template") as caught:
            answerer()
        assert "--template" not in caught.value.hint


@HOSTILE
def test_a_hostile_chat_template_of_the_base_takes_its_chats_and_no_prompt(
    copied: Path, source: str
) -> None:
    sign(copied, lambda m: m["base_template"].update(chat_template=source))
    bundle = Bundle.open(copied, "fast")
    template = bundle.manifest.base_template
    assert isinstance(template, Template)
    with pytest.raises(BundleError, match="chat template") as caught:
        bundle.told("mine", template, NO_PREFACE, 1, 100)
    assert "--template" not in caught.value.hint
    served = serve_bundle(bundle)
    assert served["mine"].answerer.answer("the cat")
    base = served[bundle.manifest.model_name]
    assert base.completion_ids("the cat", may_cut=False)
    with pytest.raises(Refusal, match=r"chat template (fails|does not).*/v1/completions"):
        base.chat_ids([Message("user", "hello")], may_cut=False)


def test_a_folder_that_is_a_link_is_refused(copied: Path, tmp_path: Path) -> None:
    shutil.move(copied / "prompts", tmp_path / "elsewhere")
    (copied / "prompts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="missing or a link"):
        Bundle.open(copied, "fast").tuned()
    with pytest.raises(BundleError, match="missing or a link"):
        verify_all(copied)


def test_a_bundle_that_is_named_by_a_link_is_opened(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "named").symlink_to(copied)
    assert Bundle.open(tmp_path / "named", "fast").tuned().answer("the cat")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_manifest_that_is_a_pipe_is_not_waited_for(copied: Path) -> None:
    (copied / MANIFEST).unlink()
    os.mkfifo(copied / MANIFEST)
    with pytest.raises(BundleError, match="a link or no file"):
        read_manifest(copied)
    command = [sys.executable, "-m", "ptune_tui", "run", str(copied), "the cat"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr


def test_a_manifest_nested_without_end_is_damaged(copied: Path) -> None:
    (copied / MANIFEST).write_text('{"schema": 1, "more": ' + "[" * 1_000_000)
    with pytest.raises(BundleError, match="damaged"):
        read_manifest(copied)
