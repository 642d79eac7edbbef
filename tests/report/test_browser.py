"""The report in a real browser: drawn, whole at every width, silent, and without a request."""

from __future__ import annotations

import http.server
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ptune_tui.report.contents import read_report
from ptune_tui.report.page import render
from ptune_tui.results import EVALUATION_FILE, write_result
from tests.report.browser import Seen, as_printed, browser, look, run
from tests.report.results import evaluation

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser() is None, reason="there is no Chromium on this machine"),
]
WIDTHS = [400, 800, 1280]
PAPER = 688  # pixels of A4 between its margins


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def hostile(address: str) -> list[str]:
    return [
        f"<img src='{address}/img'><script src='{address}/script'></script>",
        f"</style><link rel=stylesheet href='{address}/style'>",
        f"<iframe src='{address}/frame'></iframe><svg><image href='{address}/svg'/></svg>",
        f"<script>document.title='taken'; fetch('{address}/fetch')</script>",
        f'" onmouseover="fetch(\'{address}/x\')" x="' + "unbreakable" * 60,
    ]


def checked(seen: Seen, figures: set[str]) -> None:
    assert [frame["width"] for frame in seen.frames] == WIDTHS
    for frame in seen.frames:
        assert frame["overflow"] <= 0, frame["width"]
        assert set(frame["boxes"]) == figures
        assert min(frame["boxes"].values()) > 1000, frame["boxes"]
        assert frame["clipped"] == []
        assert frame["title"].endswith("ptune report")
    assert seen.console == []


def test_every_figure_is_drawn_at_every_width_and_nothing_is_asked_for(
    full_run: Path, tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    address, paths = asked
    labels = [f"a label with a long name, number {number}" for number in range(20)]
    write_result(full_run / EVALUATION_FILE, evaluation(labels, hostile(address)))
    page = render(read_report(full_run))
    figures = set(re.findall(r'<figure[^>]* id="([^"]+)"', page))
    assert len(figures) == 10
    checked(look(page, tmp_path, WIDTHS), figures)
    assert paths == []


def test_the_harness_notices_what_it_is_there_for(
    full_run: Path, tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    address, paths = asked
    page = render(read_report(full_run))
    page = re.sub(r"<meta http-equiv=[^>]*>", "", page)
    wide = '<div style="width:3000px">wide</div>'
    broken = f"{wide}<img src='{address}/img'><script>nothing.at.all()</script>"
    page = page.replace("<main>", f"<main>{broken}").replace('class="plot"', 'style="height:0"')
    seen = look(page, tmp_path, [800])
    assert seen.frames[0]["overflow"] > 1000
    assert 0 in seen.frames[0]["boxes"].values()
    assert any("nothing is not defined" in line for line in seen.console)
    assert paths == ["/img"]


def test_it_is_dark_where_the_reader_wants_it_dark_and_prints_on_paper(
    full_run: Path, tmp_path: Path
) -> None:
    page = render(read_report(full_run))
    dark = look(page, tmp_path, [800], "--blink-settings=preferredColorScheme=0")
    assert dark.frames[0]["background"] == "rgb(20, 23, 27)"
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    picture, paper = tmp_path / "report.png", tmp_path / "report.pdf"
    options = ["--window-size=1280,1000", f"--screenshot={picture}", file.as_uri()]
    run(tmp_path / "profile", *options)
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1280, 1000)
    run(tmp_path / "profile", f"--print-to-pdf={paper}", file.as_uri())
    assert paper.read_bytes().startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) >= 4


INTENTS = ["card payment fee charged", "balance not updated after bank transfer", "top_up_by_card"]


@pytest.mark.parametrize(
    "labels",
    [
        ["negative", "positive"],
        ["abbreviation", "entity", "description", "human being", "location", "numeric value"],
        [f"{INTENTS[number % 3]} {number}" for number in range(77)],
    ],
    ids=len,
)
def test_on_paper_nothing_is_drawn_over_its_neighbour_or_cut(
    full_run: Path, tmp_path: Path, labels: list[str]
) -> None:
    write_result(full_run / EVALUATION_FILE, evaluation(labels))
    page = render(read_report(full_run))
    (paper,) = look(as_printed(page), tmp_path, [PAPER]).frames
    assert paper["overlapping"] == []
    assert paper["cut"] == []
    # On a screen of usual width there is nothing to scroll to, unless a matrix is large.
    (screen,) = look(page, tmp_path, [1100]).frames
    assert screen["overlapping"] == []
    assert len(labels) > 6 or screen["scrolled"] == []
