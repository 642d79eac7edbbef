"""Model and prompt as one graph, run by plain onnxruntime with the script that lies beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from export.bundle import hash_file
from export.errors import BundleError
from export.folder_card import FolderCard
from export.manifest_file import FOLDER_CARD
from export.onnx_folder import ANSWER_FILE, GRAPH_FILE
from ptune_tui.engine.reference import TorchReference
from ptune_tui.tasks import ExportTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.export import export
from tests.export.conftest import Exported, tuned_model

KINDS = ["exported", "exported_text", "exported_prefix", "exported_prefix_text"]
TEXT = "say 7"


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Exported:
    found: Exported = request.getfixturevalue(request.param)
    return found


def write(made: Exported, folder: Path) -> Path:
    task = ExportTask(str(made.run), str(folder), "mine", "exact", format="onnx")
    list(export(task, Channel(made.run)))
    return folder


def test_the_graph_alone_has_torch_s_logits_and_the_script_its_answer(
    made: Exported, tmp_path: Path
) -> None:
    folder = write(made, tmp_path / "alone")
    tuned = tuned_model(made.run)
    ids, _ = tuned.encoder().encode_prompt(TEXT)
    reference = TorchReference(tuned.frozen, tuned.prompt)
    num_lead = len(tuned.encoder().lead_ids())
    session = onnxruntime.InferenceSession(
        str(folder / GRAPH_FILE), providers=["CPUExecutionProvider"]
    )
    got = session.run(["logits"], {"input_ids": np.array([ids[num_lead:]])})[0][0, -1]
    expected = reference.logits(ids)[-1]
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()

    said = subprocess.run(
        [sys.executable, folder / ANSWER_FILE, TEXT], check=True, capture_output=True
    )
    assert not said.stderr
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    continuation = reference.continuations([ids], tuned.card.max_response_tokens)[0]
    assert (
        said.stdout.decode().strip()
        == tokenizer.decode(continuation, skip_special_tokens=False).strip()
    )


def test_the_card_names_every_file_and_what_is_not_ours_is_not_replaced(
    exported: Exported, tmp_path: Path
) -> None:
    folder = write(exported, tmp_path / "alone")
    card = msgspec.json.decode((folder / FOLDER_CARD).read_bytes(), type=FolderCard)
    names = {path.name for path in folder.iterdir()} - {FOLDER_CARD}
    assert names == {GRAPH_FILE, "model.data", "tokenizer.json", ANSWER_FILE}
    assert card.files == {name: hash_file(folder / name) for name in names}
    with pytest.raises(BundleError, match="already there"):
        write(exported, folder)
