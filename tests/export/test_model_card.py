"""Model cards: what the hub reads is valid, what a person copies runs, what data says is text."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import markdown_it
import msgspec
import pytest
import yaml

from export.bundle import read_manifest, verify_all, write_manifest
from export.markdown import block, code, plain
from export.model_card import bundle_card
from export.readme import README_FILE, may_replace, sealed
from export.runtime import Bundle
from export.template import Template
from ptune_tui.config import RunConfig, override
from ptune_tui.errors import DataError
from ptune_tui.events import Notice
from ptune_tui.model_cards import card_table, with_table, without_folders, write_adapter_card
from ptune_tui.prompt_card import read_card
from ptune_tui.results import EVALUATION_FILE, write_result
from ptune_tui.run_table import prompt_hash
from ptune_tui.worker.train import table_notice
from tests.engine.test_peft_adapter import float_twin
from tests.export.conftest import Exported, tuned_model
from tests.export.test_addition import add
from tests.report.results import evaluation

HOSTILE = [
    "`tick`",
    "a | b",
    "<script>alert(1)</script>",
    "```\n# taken over\n```",
    "[link](http://127.0.0.1/)",
    "\n---\nlicense: mit\n---\n",
]


def loaded(folder: Path) -> huggingface_hub.ModelCard:
    return huggingface_hub.ModelCard.load(folder / README_FILE)


def snippet(folder: Path) -> str:
    """The Python of a card."""
    found = re.search(r"```python\n(.*?)```", (folder / README_FILE).read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def run_snippet(folder: Path) -> str:
    """What a card's Python prints when it is run beside the folder."""
    printed = io.StringIO()
    with contextlib.chdir(folder.parent), contextlib.redirect_stdout(printed):
        exec(snippet(folder), {})
    return printed.getvalue().strip()


def test_the_hub_reads_a_bundles_front_matter(exported: Exported) -> None:
    card = loaded(exported.bundle)
    manifest = read_manifest(exported.bundle)
    training = manifest.prompts["mine"].training
    assert training is not None
    assert card.data.library_name == "onnx"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.license is None
    [result] = card.data.eval_results
    assert result.metric_type == "accuracy"
    assert result.metric_value == round(training.accuracy, 4)
    assert result.dataset_name == "labels.jsonl"
    assert training.num_validation_rows + training.num_train_rows == 48
    front = (exported.bundle / README_FILE).read_text().split("---\n")[1]
    assert yaml.safe_load(front)["model-index"][0]["name"] == "mine"


def test_a_card_says_what_it_was_trained_on_and_names_no_folder(exported: Exported) -> None:
    for folder in (exported.bundle, exported.run / "adapter"):
        text = (folder / README_FILE).read_text()
        assert "ptune train --model tiny --data labels.jsonl" in text
        assert str(exported.rows.parent) not in text
        assert read_manifest(exported.bundle).weights_hash in text
        assert "`bad red`" in text


def test_the_default_model_brings_base_and_licence(exported: Exported, tmp_path: Path) -> None:
    from ptune_tui.models import base_reference

    base = base_reference("default")
    assert base.hub_id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    manifest = read_manifest(exported.bundle)
    record = manifest.prompts["mine"]
    assert record.training is not None
    training = msgspec.structs.replace(
        record.training, base_id=base.hub_id, base_licence=base.licence
    )
    prompts = {"mine": msgspec.structs.replace(record, training=training)}
    text = bundle_card("folder", msgspec.structs.replace(manifest, prompts=prompts))
    (tmp_path / README_FILE).write_text(text)
    card = loaded(tmp_path)
    assert (card.data.base_model, card.data.license) == (base.hub_id, "apache-2.0")


def test_the_bundles_snippet_answers_as_the_bundle_does(exported: Exported) -> None:
    said = run_snippet(exported.bundle)
    assert said == Bundle.open(exported.bundle).tuned("mine").classify("your text").label


@pytest.mark.parametrize("content", [b"{", b"\xff", None])
def test_a_damaged_adapter_has_no_card(
    content: bytes | None, exported: Exported, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(exported.run, tmp_path / "run"))
    path = run / "adapter" / "adapter_config.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"adapter_config\.json"):
        write_adapter_card(run)


@pytest.mark.parametrize("name", ["exported", "exported_prefix", "exported_text"])
def test_the_adapters_snippet_runs_in_peft_and_says_what_we_say(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, tiny_model: Path
) -> None:
    made: Exported = request.getfixturevalue(name)
    run = Path(shutil.copytree(made.run, tmp_path / "run"))
    (run / "adapter" / README_FILE).unlink(missing_ok=True)
    write_adapter_card(run)
    tuned = tuned_model(run)
    # The base in floats has the very weights that the prompt was trained on.
    base = Path(shutil.copytree(tiny_model, run / "tiny"))
    float_twin(tuned.frozen).save_pretrained(base)
    said = run_snippet(run / "adapter")
    card = read_card(run / "adapter")
    assert card is not None
    assert loaded(run / "adapter").data.library_name == "peft"
    answers = Bundle.open(made.bundle, "exact", num_threads=1).tuned()
    ours = "".join(answers.generate("your text", card.max_response_tokens))
    assert said.endswith(ours.strip())


def test_a_card_lists_every_prompt_of_a_bundle(copied: Path, exported_prefix: Exported) -> None:
    add(exported_prefix, copied)
    text = (copied / README_FILE).read_text()
    assert "2 soft prompts for" in text
    assert "--prompt second" in text
    assert '.tuned("mine")' in text
    verify_all(copied)
    assert len(loaded(copied).data.eval_results) == 2


def test_an_edited_card_stays_and_the_bundle_stays_whole(
    copied: Path, exported_prefix: Exported
) -> None:
    path = copied / README_FILE
    path.write_text(path.read_text().replace("# A soft prompt", "# My soft prompt"))
    edited = path.read_text()
    verify_all(copied)
    add(exported_prefix, copied)
    assert path.read_text() == edited
    path.unlink()
    add(exported_prefix, copied, overwrite=True)
    assert "2 soft prompts" in path.read_text()


def test_a_prompt_of_an_older_version_is_in_the_card(copied: Path) -> None:
    manifest = read_manifest(copied)
    old = msgspec.structs.replace(manifest.prompts["mine"], training=None)
    text = bundle_card("b", msgspec.structs.replace(manifest, prompts={"mine": old}))
    assert "an older version of ptune exported it" in text
    assert "model-index" not in text
    assert "It was scored on" not in text
    assert "It was scored on the rows named above" in bundle_card("b", manifest)


def test_scores_of_a_comparison_are_in_the_cards_that_follow(
    exported: Exported, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(exported.run, tmp_path / "run"))
    write_result(run / EVALUATION_FILE, evaluation())
    write_adapter_card(run)
    text = (run / "adapter" / README_FILE).read_text()
    assert "| tuned prompt | torch, cached | 0.901 (0.880 to 0.920) |" in text
    results = loaded(run / "adapter").data.eval_results
    assert {(result.metric_type, result.metric_value) for result in results} >= {
        ("accuracy", 0.901),
        ("f1", 0.897),
    }
    tables = markdown_it.MarkdownIt("commonmark").enable("table").parse(text)
    assert sum(token.type == "table_open" for token in tables) == 2
    assert with_table(None, run) is None


@pytest.mark.parametrize("stored", ["stale", "damaged"])
def test_a_card_goes_without_a_table_that_is_not_of_its_prompt(
    exported: Exported, tmp_path: Path, stored: str
) -> None:
    run = Path(shutil.copytree(exported.run, tmp_path / "run"))
    write_result(
        run / EVALUATION_FILE, msgspec.structs.replace(evaluation(), prompt_hash=prompt_hash(run))
    )
    write_adapter_card(run)
    assert "| tuned prompt |" in (run / "adapter" / README_FILE).read_text()
    if stored == "damaged":
        (run / EVALUATION_FILE).write_text("{}")
    else:
        path = run / "adapter" / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes() + b" ")
    write_adapter_card(run)
    assert "| tuned prompt |" not in (run / "adapter" / README_FILE).read_text()
    [notice] = table_notice(run)
    assert isinstance(notice, Notice)
    said = {"stale": "another prompt than the run has now", "damaged": "is damaged"}
    assert said[stored] in notice.message


def test_hostile_labels_templates_and_names_stay_texts(exported: Exported, tmp_path: Path) -> None:
    manifest = read_manifest(exported.bundle)
    record = manifest.prompts["mine"]
    assert record.training is not None
    made = evaluation()
    lines = [
        msgspec.structs.replace(one, title=title, computed_by=title)
        for one, title in zip(made.contenders, HOSTILE, strict=True)
    ]
    table = card_table(msgspec.structs.replace(made, contenders=lines, data=HOSTILE[1]))
    training = msgspec.structs.replace(
        record.training, data=HOSTILE[5], command=HOSTILE[3], table=table
    )
    hostile = msgspec.structs.replace(
        record,
        labels=HOSTILE,
        template=Template(text="".join(HOSTILE) + "{prompt}"),
        training=training,
    )
    changed = msgspec.structs.replace(manifest, prompts={"mine": hostile}, model_name=HOSTILE[2])
    (tmp_path / README_FILE).write_text(bundle_card("folder", changed))
    card = loaded(tmp_path)
    assert card.data.license is None
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(card.text)
    flat = [each for token in tokens for each in [token, *(token.children or [])]]
    seal = [each.content for each in flat if each.type == "html_block"]
    assert len(seal) == 1
    assert seal[0].startswith("<!-- Written by ptune")
    assert not {each.type for each in flat} & {"html_inline", "link_open"}
    assert "taken over" not in {each.content for each in flat if each.type == "inline"}
    headings = [tokens[n + 1].content for n, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings[1:] == ["Use", "Scores", "How it was trained", "Limits"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_set_as_code_or_words_reads_back(text: str) -> None:
    reader = markdown_it.MarkdownIt("commonmark")
    [inline] = [token for token in reader.parse(code(text)) if token.type == "inline"]
    assert [child.type for child in inline.children or []] == ["code_inline"]
    assert (inline.children or [])[0].content.strip() == text.replace("\n", "\\n").strip()
    [fence] = reader.parse(block(text))
    assert fence.content == text + "\n"
    [words] = [token for token in reader.parse(plain(text)) if token.type == "inline"]
    shown = "".join(child.content for child in words.children or [])
    assert shown == " ".join(text.split())


def test_a_seal_breaks_with_any_edit(tmp_path: Path) -> None:
    path = tmp_path / README_FILE
    assert may_replace(path)
    path.write_bytes(sealed("# Card\n").encode())
    assert may_replace(path)
    for edited in ("# Card!\n" + sealed("# Card\n")[7:], sealed("# Card\n") + "more\n", "mine"):
        path.write_bytes(edited.encode())
        assert not may_replace(path)


def test_folders_stay_private() -> None:
    changes: dict[str, Any] = {
        "data.train": "/home/someone/rows.jsonl",
        "data.validation": "/home/someone/val.jsonl",
        "model.source": "/home/someone/model",
    }
    published = json.dumps(msgspec.to_builtins(without_folders(override(RunConfig(), changes))))
    assert "someone" not in published
    assert "rows.jsonl" in published


def test_a_manifest_of_an_older_version_keeps_its_checksum(copied: Path) -> None:
    manifest = read_manifest(copied)
    old = msgspec.structs.replace(manifest.prompts["mine"], training=None)
    write_manifest(copied, msgspec.structs.replace(manifest, prompts={"mine": old}))
    assert "training" not in json.loads((copied / "manifest.json").read_text())["prompts"]["mine"]
    assert read_manifest(copied).prompts["mine"].training is None
