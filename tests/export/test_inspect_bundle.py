"""A bundle's prompt is looked at as the run's that it was made of."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from export.errors import BundleError
from ptune_tui.cli.inspect_prompt import check_rows
from ptune_tui.errors import DataError, ModelError
from ptune_tui.events import Notice
from ptune_tui.inspection import Inspection
from ptune_tui.tasks import RESULT_FILE, InspectTask
from ptune_tui.worker.channel import Channel
from ptune_tui.worker.inspect_prompt import inspect_prompt
from tests.export.conftest import Exported


def look(folder: Path, target: Path, **more: object) -> tuple[Inspection, list[str]]:
    """What the task finds, and the codes of its notices."""
    task = InspectTask(str(target), "", **more)  # type: ignore[arg-type]
    events = list(inspect_prompt(task, folder, Channel(folder)))
    found = msgspec.json.decode((folder / RESULT_FILE).read_bytes(), type=Inspection)
    return found, [event.code for event in events if isinstance(event, Notice)]


def test_without_the_base_a_bundle_knows_nearest_tokens_and_norms(
    exported: Exported, tmp_path: Path
) -> None:
    of_run, _ = look(tmp_path, exported.run, num_rows=2)
    found, codes = look(tmp_path, exported.bundle)
    assert codes == ["no-rows"]  # and no model was loaded
    assert (found.model, found.layers, found.whole) == ("tiny", [], None)
    assert found.vocabulary_norm == pytest.approx(of_run.vocabulary_norm, rel=1e-5)
    for ours, theirs in zip(found.tokens, of_run.tokens, strict=True):
        assert ours.norm == pytest.approx(theirs.norm, rel=1e-5)
        assert [near.text for near in ours.nearest] == [near.text for near in theirs.nearest]


@pytest.mark.parametrize("made", ["exported", "exported_prefix"])
def test_with_rows_and_the_base_it_is_looked_at_as_the_run(
    made: str, request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path
) -> None:
    case: Exported = request.getfixturevalue(made)
    rows = {"data": str(case.rows), "num_rows": 4}
    of_run, _ = look(tmp_path, case.run, **rows)
    found, _ = look(tmp_path, case.bundle, model=str(tiny_model), prompt="mine", **rows)
    assert (found.model, found.data, found.num_rows) == (of_run.model, str(case.rows), 4)
    assert found.whole is not None
    assert of_run.whole is not None
    pairs = [
        (found.whole.loss, of_run.whole.loss),
        *zip(
            (part.loss for part in found.without),
            (part.loss for part in of_run.without),
            strict=False,
        ),
        *zip(
            *([layer.attention_answer for layer in each.layers] for each in (found, of_run)),
            strict=False,
        ),
    ]
    assert len(pairs) == 1 + 5 + 2
    assert [one for one, _ in pairs] == pytest.approx([other for _, other in pairs], rel=1e-4)


def test_keys_and_values_without_rows_are_refused_before_torch_is_loaded(
    exported: Exported, exported_prefix: Exported, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"The prompt of .* has keys and values"):
        check_rows(InspectTask(str(exported_prefix.bundle), ""), "bundle")
    check_rows(InspectTask(str(exported_prefix.bundle), "", data="rows.jsonl"), "bundle")
    check_rows(InspectTask(str(exported.bundle), ""), "bundle")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}')
    with pytest.raises(DataError, match=r"The adapter in .* has keys and values"):
        check_rows(InspectTask(str(tmp_path), ""), "adapter")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "P_TUNING"}')
    check_rows(InspectTask(str(tmp_path), ""), "adapter")


def test_what_a_bundle_lacks_is_one_sentence(
    exported: Exported, exported_prefix: Exported, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="keys and values: it can only be looked at on rows"):
        look(tmp_path, exported_prefix.bundle)
    with pytest.raises(BundleError, match="no prompt named 'other'"):
        look(tmp_path, exported.bundle, prompt="other")
    with pytest.raises(ModelError, match=r"The base of .*, tiny, is not on this disk"):
        look(tmp_path, exported.bundle, data=str(exported.rows))
