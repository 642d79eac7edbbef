"""The page: a report as one HTML file, without a script and without a request."""

from __future__ import annotations

import jinja2
from markupsafe import Markup

from ptune_tui import __version__
from ptune_tui.report import facts, words
from ptune_tui.report.contents import Report
from ptune_tui.report.plot import MARKERS
from ptune_tui.tasks import REPORT_MARK


def render(report: Report) -> str:
    """The report as HTML; every text in it is escaped.

    Args:
        report (Report): What there is to tell.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ptune_tui.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": words.shown,
        "duration": words.duration,
        "moment": words.moment,
        "grouped": words.grouped,
    }
    assert environment.loader is not None
    style, _, _ = environment.loader.get_source(environment, "style.css")
    return (
        environment.get_template("report.html.jinja")
        .render(
            report=report,
            facts=facts,
            markers=MARKERS,
            mark=Markup(REPORT_MARK),
            style=Markup(style),
            version=__version__,
        )
        .lstrip()
    )
