"""The bundle answers as the trained model does, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.bundle import read_manifest
from export.encoding import answer_limit
from export.errors import BundleError
from export.held_prefix import HeldPrefix
from export.runtime import Bundle
from export.speed import decode_tokens_per_second
from ptune_tui.config import DataConfig
from ptune_tui.data import encode_rows
from ptune_tui.engine.evaluate import Evaluator
from ptune_tui.rows import read_rows
from tests.export.conftest import Exported, train_and_export, tuned_model


@pytest.mark.parametrize(
    "which", ["exported", "exported_text", "exported_prefix", "exported_prefix_text"]
)
@pytest.mark.parametrize("speaker", ["tuned", "base"])
def test_exact_answers_equal_those_of_torch(
    request: pytest.FixtureRequest, which: str, speaker: str
) -> None:
    made: Exported = request.getfixturevalue(which)
    tuned = tuned_model(made.run)
    rows = read_rows(made.rows, DataConfig())[:20]
    encoder = tuned.encoder()
    limit = answer_limit(tuned.card.max_response_tokens)
    evaluator = Evaluator(tuned.frozen, encoder, tuned.card.labels, limit)
    prompt = tuned.prompt if speaker == "tuned" else None
    expected = evaluator.score(
        prompt, rows, encode_rows(rows, encoder, tuned.card.max_prompt_tokens)
    ).answers
    bundle = Bundle.open(made.bundle, "exact", num_threads=1)
    answerer = bundle.tuned() if speaker == "tuned" else bundle.base()
    assert [answerer.answer(row.prompt) for row in rows] == expected


def test_classify_agrees_with_scoring_every_label(exported: Exported) -> None:
    tuned = Bundle.open(exported.bundle, num_threads=1).tuned()
    for text in ("the cat", "where is my dog?", "red"):
        scores = tuned.label_scores(text)
        found = tuned.classify(text)
        assert found.label == max(scores, key=lambda label: scores[label])
        assert found.log_probability == pytest.approx(scores[found.label], abs=1e-5)


@pytest.mark.parametrize(("spin", "setting"), [(True, "1"), (False, "0")])
def test_threads_spin_only_where_they_may(exported: Exported, spin: bool, setting: str) -> None:
    session = Bundle.open(exported.bundle, num_threads=1, spin=spin).session._session
    options = session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == setting


@pytest.mark.parametrize("which", ["exported_text", "exported_prefix_text"])
def test_swapping_prompts_back_and_forth_changes_no_answer(
    request: pytest.FixtureRequest, which: str
) -> None:
    made: Exported = request.getfixturevalue(which)
    bundle = Bundle.open(made.bundle, num_threads=1)
    tuned, base = bundle.tuned(), bundle.base()
    first = [tuned.answer("say 3"), base.answer("say 3")]
    # The second text does not begin with the template's lead, token by token.
    for text in ("\n\nsay 3", "\nsay", ""):
        base.answer(text)
        tuned.answer(text)
    assert [tuned.answer("say 3"), base.answer("say 3")] == first


@pytest.mark.parametrize("which", ["exported", "exported_prefix", "exported_prefix_text"])
def test_a_stored_prefix_equals_a_computed_one(request: pytest.FixtureRequest, which: str) -> None:
    made: Exported = request.getfixturevalue(which)
    bundle = Bundle.open(made.bundle, "exact", num_threads=1)
    tuned = bundle.tuned()
    computed = HeldPrefix(bundle, "computed", tuned.prompt, tuned.record.lead_ids)
    assert np.array_equal(tuned.prefix.keys_values, computed.keys_values)


def test_generation_streams_the_text_of_its_tokens(exported_text: Exported) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    ids = list(tuned.generate("say 7", 12).ids())
    pieces = list(tuned.generate("say 7", 12))
    whole = tuned.encoder.tokenizer.decode(ids)
    assert "".join(pieces) == whole
    assert len(ids) <= 12


def test_an_answer_says_why_it_ended(exported_text: Exported) -> None:
    tuned = Bundle.open(exported_text.bundle, num_threads=1).tuned()
    long = tuned.generate("say 7", 4)
    text = "".join(long)
    assert (long.finish_reason, len(long.tokens)) == ("length", 4)
    assert long.num_prompt_tokens == len(tuned.encoder.encode_prompt("say 7")[0])
    stopped = tuned.generate("say 7", 4, stop=[text[-2:]])
    assert "".join(stopped) == text[: text.index(text[-2:])]
    assert stopped.finish_reason == "stop"


def test_an_answer_ends_where_the_context_does(exported_text: Exported) -> None:
    bundle = Bundle.open(exported_text.bundle, num_threads=1)
    tuned = bundle.tuned()
    answer = tuned.generate("say 7", 10_000)
    assert "".join(answer)
    position = tuned.num_virtual_tokens + answer.num_prompt_tokens
    assert answer.finish_reason == "length"
    assert position + len(answer.tokens) <= bundle.manifest.shape.context_length


def test_an_answer_that_another_request_interrupted_is_refused(exported_text: Exported) -> None:
    bundle = Bundle.open(exported_text.bundle, num_threads=1)
    tuned, base = bundle.tuned(), bundle.base()
    alone = list(tuned.generate("say 3", 6).ids())
    interrupted = tuned.generate("say 3", 6).ids()
    assert next(interrupted) == alone[0]
    base.answer("something else")
    with pytest.raises(BundleError, match="interrupted by another request"):
        list(interrupted)
    assert list(tuned.generate("say 3", 6).ids()) == alone


def test_a_text_that_is_too_long_is_cut_and_says_so(exported: Exported) -> None:
    tuned = Bundle.open(exported.bundle, num_threads=1).tuned()
    tuned.answer("the cat")
    assert not tuned.was_cut
    assert tuned.answer("the cat sat on the mat " * 400) in tuned.record.labels
    assert tuned.was_cut


def test_decode_speed_is_a_positive_number(exported: Exported) -> None:
    assert decode_tokens_per_second(Bundle.open(exported.bundle).tuned(), "the cat", 4) > 0


def test_the_context_s_end_is_an_error_with_a_hint(exported: Exported) -> None:
    session = Bundle.open(exported.bundle).session
    with pytest.raises(Exception, match="do not fit into the model's context") as caught:
        session.forward([1] * 600, 0)
    assert caught.value.hint


def test_the_manifest_records_parity_and_hashes(exported: Exported) -> None:
    manifest = read_manifest(exported.bundle)
    assert manifest.parity["exact"].relative_error <= 1e-4
    assert manifest.parity["exact"].identical_texts == manifest.parity["exact"].num_texts == 20
    assert 0 < manifest.parity["fast"].kl_divergence <= 0.01
    assert {"model.onnx", "exact.onnx", "model.data", "tokenizer.json"} <= set(manifest.files)
    record = manifest.prompts["mine"]
    assert record.labels == ["bad green", "bad red", "good"]
    assert set(record.prefixes) == {"fast", "exact"}


def test_nf4_models_export_within_the_gate(
    tmp_path: Path, tiny_model: Path, label_rows: Path
) -> None:
    made = train_and_export(tmp_path, tiny_model, DataConfig(train=str(label_rows)), "nf4")
    manifest = read_manifest(made.bundle)
    assert "NF4" in manifest.grid
    assert manifest.parity["exact"].kl_divergence <= 0.01
    assert manifest.parity["exact"].passed


@pytest.mark.parametrize("which", ["exported", "exported_prefix"])
def test_answering_imports_nothing_of_training(request: pytest.FixtureRequest, which: str) -> None:
    exported: Exported = request.getfixturevalue(which)
    code = (
        "import sys; from export.runtime import Bundle\n"
        f"b = Bundle.open({str(exported.bundle)!r}); print(b.tuned().answer('the cat'))\n"
        "heavy = {'torch', 'transformers', 'onnx', 'peft', 'quant', 'ptune_tui', 'textual'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    label, loaded = done.stdout.splitlines()
    assert label in ("good", "bad red", "bad green")
    assert loaded == "[]"


def test_answering_writes_nothing_into_the_home_folder_and_opens_no_socket(
    exported: Exported, tmp_path: Path
) -> None:
    code = (
        "import psutil; from export.runtime import Bundle\n"
        f"Bundle.open({str(exported.bundle)!r}).tuned().answer('the cat')\n"
        "assert psutil.Process().net_connections('all') == []"
    )
    home = tmp_path / "empty-home"
    home.mkdir()
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert list(home.rglob("*")) == []


def test_an_unknown_prompt_or_precision_is_named(exported: Exported) -> None:
    bundle = Bundle.open(exported.bundle)
    with pytest.raises(BundleError, match="'other'") as caught:
        bundle.tuned("other")
    assert "mine" in caught.value.hint
    with pytest.raises(BundleError, match="throughput"):
        Bundle.open(exported.bundle, "throughput")  # type: ignore[arg-type]
