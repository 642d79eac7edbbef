"""The page says everything there is, names the command for what is not, and escapes all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import lxml.html
import msgspec
import pytest

from ptune_tui.cli.main import app
from ptune_tui.cli.report import report as report_command
from ptune_tui.errors import DataError, UsageError
from ptune_tui.events import Notice, encode_line
from ptune_tui.inspection import INSPECTION_FILE, write_inspection
from ptune_tui.report.contents import read_report
from ptune_tui.report.page import render
from ptune_tui.report.words import shown
from ptune_tui.results import EVALUATION_FILE, write_result
from ptune_tui.run_table import prompt_hash
from ptune_tui.tasks import REPORT_MARK
from tests.report.results import evaluation, inspection

HOSTILE = [
    '<script>document.title="taken"</script>',
    '"><img src=x onerror=alert(1)>',
    "</style></title><h1 id=evil>",
    "{{ 7 * 7 }} {% raw %} &amp; \x00\x1b[31m \u202eevil",
]


def page(run: Path) -> lxml.html.HtmlElement:
    return lxml.html.document_fromstring(render(read_report(run)))


def text_of(run: Path, section: str) -> str:
    return " ".join(page(run).get_element_by_id(section).text_content().split())


def test_a_full_report_has_every_figure_and_no_missing_section(full_run: Path) -> None:
    found = page(full_run)
    keys = {figure.get("id") for figure in found.iter("figure")}
    assert keys == {
        *("plot-loss", "plot-scores", "plot-learning-rate", "plot-gradient"),
        *("figure-comparison", "figure-confusion-1", "figure-confusion-2"),
        *("plot-calibration", "plot-learning-curve", "plot-beginnings"),
    }
    assert found.find_class("missing") == []
    pictures = [svg for svg in found.iter("svg") if svg.get("aria-hidden") != "true"]
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in pictures)
    assert all(head.get("scope") in ("row", "col") for head in found.iter("th"))
    links = {link.get("href") for link in found.iter("a")}
    assert links == {f"#{section.get('id')}" for section in found.iter("section")}


@pytest.mark.parametrize(
    ("section", "command"),
    [
        ("comparison", "ptune eval"),
        ("classes", "ptune eval"),
        ("calibration", "ptune eval"),
        ("flips", "ptune eval"),
        ("forgetting", "ptune eval"),
        ("learning", "ptune learning-curve --run"),
        ("inspection", "ptune inspect"),
    ],
)
def test_a_missing_section_names_the_command_that_makes_it(
    tiny_run: Path, section: str, command: str
) -> None:
    said = text_of(tiny_run, section)
    assert f"Not made yet: {command} {tiny_run}" in said


def test_a_run_says_its_settings_data_versions_machine_and_command(tiny_run: Path) -> None:
    said = text_of(tiny_run, "provenance")
    data = json.loads((tiny_run / "task.json").read_text())["config"]["data"]["train"]
    assert data in said
    assert re.search(r"torch \d.*tokenizers \d", said)
    assert len(re.findall(r"[0-9a-f]{64}", said)) == 3  # weights, file, rows
    assert "--max-steps 6" in text_of(tiny_run, "again")
    assert "training.batch_size" in text_of(tiny_run, "settings")
    assert "device" in text_of(tiny_run, "remarks")


def test_hostile_texts_stay_texts(full_run: Path) -> None:
    labels = ["<b>bold</b>", "javascript:alert(1)"]
    made = evaluation(labels, HOSTILE * 3)
    hostile_title = msgspec.structs.replace(made.contenders[3], title=HOSTILE[0], detail=HOSTILE[1])
    contenders = [*made.contenders[:3], hostile_title]
    write_result(
        full_run / EVALUATION_FILE,
        msgspec.structs.replace(made, contenders=contenders, command=HOSTILE[1], data=HOSTILE[2]),
    )
    with (full_run / "events.jsonl").open("ab") as events:
        for text in HOSTILE:
            events.write(encode_line(Notice(text, text, text)))
    run = full_run.rename(full_run.with_name("<img src=x>"))
    found = page(run)
    allowed = {
        *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer"),
        *("nav", "ul", "li", "a", "p", "h1", "h2", "h3", "dl", "dt", "dd", "div", "span", "small"),
        *("figure", "figcaption", "svg", "path", "text", "table", "thead", "tbody", "tr", "th"),
        *("td", "code", "pre", "strong", "details", "summary"),
    }
    assert {element.tag for element in found.iter() if isinstance(element.tag, str)} <= allowed
    names = {name for element in found.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or name in ("src", "srcset")}
    assert found.findall(".//h1")[0].text == "<img src=x>"
    assert HOSTILE[0] in text_of(run, "flips")
    assert "{{ 7 * 7 }}" in text_of(run, "flips")
    assert "\x1b" not in render(read_report(run))


def test_the_prompt_is_told_token_by_token_unless_it_has_changed_since(full_run: Path) -> None:
    said = text_of(full_run, "inspection")
    assert "Most is lost without token 3: the loss goes from 0.200 to 0.550" in said
    rows = page(full_run).get_element_by_id("inspection").findall(".//tbody/tr")
    cells = [" ".join(cell.text_content().split()) for cell in rows[2]]
    assert cells == ["2", "3.00", "parcel <b>", "5.0 %", "20.0 %", "+0.250"]
    older = msgspec.structs.replace(inspection(), prompt_hash="0" * 64)
    write_inspection(full_run / INSPECTION_FILE, older)
    assert "Not made yet" in text_of(full_run, "inspection")


def test_a_damaged_inspection_is_named(full_run: Path) -> None:
    (full_run / INSPECTION_FILE).write_text("[]")
    with pytest.raises(DataError, match=r"inspection\.json is damaged"):
        read_report(full_run)


def test_a_damaged_result_is_named(full_run: Path) -> None:
    (full_run / EVALUATION_FILE).write_text('{"data": 3}')
    with pytest.raises(DataError, match=r"evaluation\.json is damaged"):
        read_report(full_run)


def test_a_run_that_has_not_begun_has_a_report(full_run: Path) -> None:
    for name in ("events.jsonl", "evaluation.json", "learning_curve.json", INSPECTION_FILE):
        (full_run / name).unlink()
    assert "No step has been made yet" in text_of(full_run, "training")
    assert "Nothing was said" in text_of(full_run, "remarks")


def test_a_folder_that_is_no_training_run_is_refused(full_run: Path) -> None:
    (full_run / "task.json").unlink()
    assert read_report(full_run).config.training.max_steps == 6  # of its config.toml
    (full_run / "config.toml").unlink()
    with pytest.raises(UsageError, match="is not a training run"):
        read_report(full_run)


def test_the_command_writes_the_file_and_says_where(
    full_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_command(str(full_run), None)
    written = Path(capsys.readouterr().out.strip())
    assert written == full_run / "report.html"
    assert REPORT_MARK in written.read_text()[:200]
    report_command(str(full_run), written)  # a report may be replaced
    notes = tmp_path / "notes.html"
    notes.write_text("mine")
    with pytest.raises(UsageError, match="is no report"):
        report_command(str(full_run), notes)
    with pytest.raises(UsageError, match="no folder"):
        report_command(str(full_run), tmp_path / "nowhere" / "r.html")
    assert notes.read_text() == "mine"
    assert report_command in [command.callback for command in app.registered_commands]


def test_a_table_of_an_earlier_prompt_is_left_out_and_said(full_run: Path) -> None:
    made = msgspec.structs.replace(evaluation(), prompt_hash=prompt_hash(full_run))
    write_result(full_run / EVALUATION_FILE, made)
    assert "tuned prompt" in text_of(full_run, "comparison")
    adapter = full_run / "adapter" / "adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes() + b" ")
    said = text_of(full_run, "comparison")
    assert "tuned prompt" not in said
    assert "of another prompt than the run has now" in said
    assert made.command in said


@pytest.mark.parametrize("code", [*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_what_turns_a_line_around_is_visible(code: int) -> None:
    assert shown(f"a{chr(code)}b") == "a�b"
