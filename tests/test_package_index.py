"""The index's simple interface, for environments without pip: against a server on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ptune_tui import package_index
from ptune_tui.errors import ResourceError

CONTENT = bytes(range(256)) * 4096
NAME = "tiny_model-1.0-py3-none-any.whl"


@dataclass
class Index:
    """A package index that can break off, and knows what it was asked."""

    url: str = ""
    speaks_json: bool = False
    knows_ranges: bool = True
    break_after: int | None = None  # bytes of the first answer
    ranges: list[str | None] = field(default_factory=list)
    authorisations: list[str | None] = field(default_factory=list)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    state = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.authorisations.append(self.headers["Authorization"])
            if self.path == "/simple/tiny-model/":
                self.answer_page()
            elif self.path.startswith("/files/"):
                self.answer_file()
            else:
                self.send_error(404)

        def answer_page(self) -> None:
            links = [f"../../files/{NAME}", "../../files/tiny_model-0.9.tar.gz"]
            kind = "application/vnd.pypi.simple.v1+json" if state.speaks_json else "text/html"
            html = "".join(f'<a href="{link}#sha256=00">{link}</a>' for link in links)
            files = json.dumps({"files": [{"url": link} for link in links]})
            self.answer(200, (files if state.speaks_json else html).encode(), kind)

        def answer_file(self) -> None:
            asked = self.headers["Range"]
            state.ranges.append(asked)
            first = int(asked[len("bytes=") : -1]) if asked and state.knows_ranges else 0
            self.answer(206 if first else 200, CONTENT[first:], "application/octet-stream")

        def answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if kind == "application/octet-stream" and state.break_after is not None:
                body, state.break_after = body[: state.break_after], None
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/simple"
    monkeypatch.setenv("PIP_INDEX_URL", state.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setattr(package_index, "RETRY_AFTER_SECONDS", 0.0)
    yield state
    server.shutdown()
    server.server_close()


def download(folder: Path) -> list[int]:
    """Download the file and give back the progress."""
    progress: list[int] = []
    package_index.download(
        "tiny-model", len(CONTENT), folder / NAME, lambda done, _: progress.append(done)
    )
    return progress


@pytest.mark.parametrize("speaks_json", [False, True])
def test_file_is_found_on_html_and_json_pages(
    index: Index, tmp_path: Path, speaks_json: bool
) -> None:
    index.speaks_json = speaks_json
    assert download(tmp_path)[-1] == len(CONTENT)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / NAME]


def test_broken_off_download_goes_on_where_it_stopped(index: Index, tmp_path: Path) -> None:
    index.break_after = 500_000
    download(tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert index.ranges == [None, "bytes=500000-"]


def test_download_of_an_earlier_process_is_gone_on_with(index: Index, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:1000])
    assert min(download(tmp_path)) > 1000
    assert index.ranges == ["bytes=1000-"]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_server_without_ranges_sends_it_all_again(index: Index, tmp_path: Path) -> None:
    index.knows_ranges = False
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)
    download(tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_password_of_the_index_is_sent_to_its_host_and_never_shown(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password = index.url.replace("//", "//me:se%40cret@")
    monkeypatch.setenv("PIP_INDEX_URL", with_password)
    download(tmp_path)
    token = base64.b64encode(b"me:se@cret").decode()
    assert index.authorisations == [f"Basic {token}"] * 2
    with pytest.raises(ResourceError) as caught:
        package_index.download("tiny-model", 1, tmp_path / "other.whl", lambda *_: None)
    assert "cret" not in caught.value.message
    assert "does not list other.whl" in caught.value.message


def test_project_that_is_not_there_is_an_error_with_a_hint(index: Index, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="404") as caught:
        package_index.download("nothing", 1, tmp_path / NAME, lambda *_: None)
    assert "PIP_INDEX_URL" in caught.value.hint


def test_index_comes_from_variables_then_pip_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = http://mirror.invalid/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    assert package_index.index_url() == "http://mirror.invalid/simple"
    monkeypatch.setenv("UV_INDEX_URL", "http://other.invalid/simple")
    assert package_index.index_url() == "http://other.invalid/simple"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ResourceError, match="PIP_NO_INDEX"):
        package_index.index_url()
