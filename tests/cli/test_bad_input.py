"""Each bad input ends with one sentence, a hint, the documented exit code, and nothing left."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from export import blobs
from ptune_tui.config import DataConfig
from ptune_tui.data import load_data
from ptune_tui.errors import DataError, explain
from ptune_tui.rows import closed_set, read_rows
from tests.cli.conftest import Outcome, Ptune

GOOD = '{"prompt": "a", "response": "b"}\n'


def one_sentence(done: Outcome, code: int) -> str:
    """The sentence of a failed command; a traceback or a missing hint is a failure."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    lines = done.err.splitlines()
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert any(line.startswith("hint: ") for line in lines)
    return error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.jsonl", GOOD + "{not json\n", "bad.jsonl:2: this is not JSON"),
        ("bad.jsonl", GOOD + "[1, 2]\n", "bad.jsonl:2: this is a JSON array"),
        ("bad.jsonl", GOOD + '{"prompt": "a"}\n', "bad.jsonl:2: this row has no `response`"),
        ("bad.jsonl", GOOD * 2 + '{"prompt": "a", "response": " "}\n', "bad.jsonl:3: `response`"),
        (
            "bad.jsonl",
            GOOD + '{"prompt": "a", "response": [1, {}]}\n',
            "bad.jsonl:2: `response` is",
        ),
        ("bad.jsonl", "", "bad.jsonl has no rows"),
        ("bad.jsonl", "\n\n", "bad.jsonl has no rows"),
        ("bad.csv", 'prompt,response\na,"b\n', "bad.csv:2: this row is not CSV"),
        ("bad.csv", "title,label\na,b\n", "bad.csv:2: this row has no `prompt`"),
        ("bad.xml", "<a/>", "of the type `.xml`"),
    ],
)
def test_a_malformed_data_file_is_named_with_its_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_rows(path, DataConfig())
    assert message in caught.value.message
    assert caught.value.hint
    assert explain(caught.value).exit_code == 3


def test_bytes_that_are_not_utf_8_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(GOOD.encode() + '{"prompt": "é", "response": "b"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.jsonl:2: byte 0xe9 is not UTF-8"):
        read_rows(path, DataConfig())


def test_good_files_of_every_kind_give_the_same_rows(tmp_path: Path) -> None:
    expected = [("a, b", "x"), ('say "c"', "y")]
    jsonl = tmp_path / "rows.jsonl"
    jsonl.write_text(
        "\ufeff" + "\r\n".join(json.dumps({"prompt": p, "response": r}) for p, r in expected),
        encoding="utf-8",
    )
    table = tmp_path / "rows.csv"
    table.write_text('prompt,response\n"a, b",x\n"say ""c""",y\n', encoding="utf-8")
    tabs = tmp_path / "rows.tsv"
    tabs.write_text('prompt\tresponse\na, b\tx\n"say ""c"""\ty\n', encoding="utf-8")
    for path in (jsonl, table, tabs):
        rows = read_rows(path, DataConfig())
        assert [(row.prompt, row.response) for row in rows] == expected


def test_validation_rows_outside_the_training_labels_are_named(tmp_path: Path) -> None:
    train, held_out = tmp_path / "train.jsonl", tmp_path / "held_out.jsonl"
    train.write_text(GOOD * 10, encoding="utf-8")
    held_out.write_text(GOOD + '{"prompt": "a", "response": "new"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"held_out\.jsonl:2: the response 'new' is not one of"):
        load_data(DataConfig(train=str(train), validation=str(held_out)), seed=0)


def test_few_responses_are_labels_and_many_are_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(f'{{"prompt": "{n}", "response": "{n % 3}"}}\n' for n in range(30)),
        encoding="utf-8",
    )
    rows = read_rows(path, DataConfig())
    assert closed_set(rows, "auto") == ["0", "1", "2"]
    assert closed_set(rows, "text") is None
    assert closed_set(rows[:6], "auto") is None
    assert closed_set(rows[:6], "labels") == ["0", "1", "2"]


def train(ptune: Ptune, model: object, data: object, *more: object) -> Outcome:
    return ptune("train", "--model", model, "--data", data, "--max-steps", 2, *more)


def test_a_missing_data_file_ends_with_3(ptune: Ptune, tiny_model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = train(ptune, tiny_model, "nowhere.jsonl", "--out", run)
    assert "nowhere.jsonl" in one_sentence(done, 3)
    assert not (run / "adapter").exists()


def test_a_response_without_room_ends_with_3(
    ptune: Ptune, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(GOOD + '{"prompt": "a", "response": "' + "word " * 90 + '"}\n' + GOOD)
    done = train(ptune, tiny_model, path, "--max-tokens", 40, "--scoring", "text")
    assert "long.jsonl:2: " in one_sentence(done, 3)


def test_a_model_folder_without_weights_ends_with_4(
    ptune: Ptune, tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "empty-model"
    folder.mkdir()
    shutil.copy(tiny_model / "config.json", folder)
    assert str(folder) in one_sentence(train(ptune, folder, label_rows), 4)


def test_an_unsupported_architecture_ends_with_4(
    ptune: Ptune, tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "no_such_model"}))
    assert "'no_such_model'" in one_sentence(train(ptune, folder, label_rows), 4)


def test_a_gguf_type_that_is_not_supported_ends_with_4(
    ptune: Ptune, label_rows: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(256)
    writer.add_block_count(1)
    writer.add_feed_forward_length(256)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(32)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(256, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((256, 256), np.float32))
    kind = gguf.GGMLQuantizationType.Q5_K
    writer.add_tensor("token_embd.weight", np.zeros((32, 176), np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    sentence = one_sentence(train(ptune, path, label_rows), 4)
    assert "type Q5_K" in sentence


def test_an_unknown_model_ends_with_4(ptune: Ptune, label_rows: Path) -> None:
    assert "no-such-model" in one_sentence(train(ptune, "no-such-model", label_rows), 4)


def test_no_network_ends_with_6(ptune: Ptune, label_rows: Path) -> None:
    done = train(ptune, "someone/some-model", label_rows)
    assert "some-model" in one_sentence(done, 6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-steps", "0"], "`--max-steps 0`"),
        (["--learning-rate", "-1"], "`--learning-rate"),
        (["--learning-rate", "0"], "`--learning-rate"),
        (["--learning-rate", "1e6", "--max-steps", "2"], "times its start"),
        (["--early-stopping", "-1"], "`--early-stopping -1`"),
        (["--save-every", "0"], "`--save-every 0`"),
        (["--json"], "`--find-lr`"),
        (["--num-virtual-tokens", "0"], "`--num-virtual-tokens 0`"),
        (["--template", "no place"], "{prompt}"),
        (["--num-virtual-tokens", "600"], "600 virtual tokens"),
    ],
)
def test_impossible_options_end_with_2(
    ptune: Ptune, tiny_model: Path, label_rows: Path, options: list[str], words: str
) -> None:
    done = ptune("train", "--model", tiny_model, "--data", label_rows, *options)
    assert words in one_sentence(done, 2)


def test_unknown_options_end_with_2(ptune: Ptune) -> None:
    assert ptune("train", "--no-such-option").code == 2
    assert ptune("no-such-command").code == 2


def test_a_configuration_file_with_an_unknown_key_names_the_nearest(
    ptune: Ptune, tmp_path: Path
) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[training]\nmax_step = 3\n")
    done = ptune("train", path)
    one_sentence(done, 2)
    assert "`max_steps`" in done.err


def test_a_spoilt_bundle_ends_with_5(ptune: Ptune, tmp_path: Path) -> None:
    assert "is not a bundle" in one_sentence(ptune("run", tmp_path, "hello"), 5)


def test_one_changed_byte_in_a_bundle_ends_with_5(
    ptune: Ptune, tmp_path: Path, export_run: Callable[[Path], None]
) -> None:
    bundle = tmp_path / "out" / "bundle"
    export_run(bundle)
    content = bytearray((bundle / "model.data").read_bytes())
    content[1234] ^= 1
    (bundle / "model.data").write_bytes(content)
    assert "model.data was changed" in one_sentence(ptune("run", bundle, "hello"), 5)


def test_a_run_folder_is_not_trained_into_twice(
    ptune: Ptune, tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "task.json").write_text("{}")
    done = train(ptune, tiny_model, label_rows, "--out", run)
    assert "holds a run already" in one_sentence(done, 2)


def test_a_missing_input_file_does_not_cost_the_output_file(
    ptune: Ptune, tmp_path: Path, export_run: Callable[[Path], None]
) -> None:
    bundle, output = tmp_path / "out" / "bundle", tmp_path / "answers.txt"
    export_run(bundle)
    output.write_text("mine")
    done = ptune("run", bundle, "--input", tmp_path / "typo.txt", "--output", output)
    assert "typo.txt" in one_sentence(done, 3)
    assert output.read_text() == "mine"


def test_labels_that_are_the_same_tokens_end_with_3(
    ptune: Ptune, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "empty.jsonl"
    rows = ['{"prompt": "a", "response": "x"}', '{"prompt": "b", "response": "y"}'] * 8
    path.write_text("\n".join(rows))
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    content = json.loads((model / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"String": "y"}, "content": "x"}
    (model / "tokenizer.json").write_text(json.dumps(content))
    assert "cannot be told apart" in one_sentence(train(ptune, model, path), 3)


def test_a_damaged_tokenizer_or_configuration_ends_with_4(
    ptune: Ptune, tiny_model: Path, label_rows: Path, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "config.json"):
        model = tmp_path / name
        shutil.copytree(tiny_model, model)
        (model / name).write_text("{")
        assert str(model) in one_sentence(train(ptune, model, label_rows), 4)


def test_a_full_disk_leaves_no_bundle_and_explains_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, export_run: Callable[[Path], None]
) -> None:
    real = blobs.BlobFile._write
    written = [0]

    def write(self: blobs.BlobFile, content: bytes) -> None:
        written[0] += len(content)
        if written[0] > 20_000:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        real(self, content)

    monkeypatch.setattr(blobs.BlobFile, "_write", write)
    destination = tmp_path / "out" / "bundle"
    with pytest.raises(OSError, match="No space") as caught:
        export_run(destination)
    assert list(destination.parent.iterdir()) == []
    reason = explain(caught.value)
    assert reason.exit_code == 6
    assert "No space left" in reason.message


@pytest.fixture
def export_run(tmp_path: Path, tiny_model: Path, label_rows: Path) -> Callable[[Path], None]:
    from ptune_tui.tasks import ExportTask
    from ptune_tui.worker.channel import Channel
    from ptune_tui.worker.export import export
    from tests.export.conftest import train_and_export

    made = train_and_export(tmp_path / "made", tiny_model, DataConfig(train=str(label_rows)))

    def run(destination: Path) -> None:
        task = ExportTask(str(made.run), str(destination), "mine")
        list(export(task, Channel(made.run)))

    return run
