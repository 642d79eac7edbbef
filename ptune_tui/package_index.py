"""Downloads one file of a package index through its simple interface (PEP 503 and 691).

For environments without pip. The index is the one the user's pip or uv is configured for. A
download that breaks off leaves a `.part` file, and the next one goes on where it ends.
"""

from __future__ import annotations

import base64
import configparser
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from html.parser import HTMLParser
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Literal

from ptune_tui.errors import ResourceError

Progress = Callable[[int, int], None]

PUBLIC_INDEX = "https://pypi.org/simple"
INDEX_TYPES = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
CHUNK_BYTES = 1 << 18
NUM_ATTEMPTS = 3
RETRY_AFTER_SECONDS = 0.5
TIMEOUT_SECONDS = 30
OFF = frozenset({"", "0", "false", "no", "off"})


def download(project: str, num_bytes: int, path: Path, on_progress: Progress) -> None:
    """Download a file of a project, going on where an earlier download stopped.

    Args:
        project (str): The project's name on the index.
        num_bytes (int): The file's size.
        path (Path): Where it goes; its name is the file's name on the index.
        on_progress (Callable[[int, int], None]): Given the bytes done and the bytes in all.

    Raises:
        ResourceError: The index cannot be reached, has no such file, or breaks off.
    """
    page = f"{index_url().rstrip('/')}/{project}/"
    part = path.with_name(path.name + ".part")
    for attempt in range(1, NUM_ATTEMPTS + 1):
        try:
            _append_rest(page, part, path.name, num_bytes, on_progress)
            break
        except (OSError, HTTPException) as error:
            is_final = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if is_final or attempt == NUM_ATTEMPTS:
                raise ResourceError(
                    f"{path.name} could not be downloaded from the package index: {error}",
                    "Check the network and the index (PIP_INDEX_URL). What came so far is kept.",
                ) from error
        time.sleep(RETRY_AFTER_SECONDS)
    part.replace(path)


def index_url() -> str:
    """The user's package index: from pip's or uv's variables, pip's files, or the public one.

    Raises:
        ResourceError: The user has switched the index off.
    """
    if os.environ.get("PIP_NO_INDEX", "").lower() not in OFF:
        raise ResourceError(
            "PIP_NO_INDEX is set, so no package index is asked.", "Unset it to download."
        )
    for variable in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if value := os.environ.get(variable):
            return value
    parser = configparser.RawConfigParser()
    parser.read(_pip_files(), encoding="utf-8")
    for section in ("download", "global"):
        if parser.has_option(section, "index-url"):
            return parser.get(section, "index-url")
    return PUBLIC_INDEX


def _pip_files() -> list[Path]:
    """Where pip keeps its configuration, the strongest last."""
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    home = Path.home()
    files = [Path("/etc") / name, home / ".pip" / name, home / ".config" / "pip" / name]
    files.append(home / "Library" / "Application Support" / "pip" / name)
    if application_data := os.environ.get("APPDATA"):
        files.append(Path(application_data) / "pip" / name)
    files.append(Path(sys.prefix) / name)
    if named := os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    return files


def _append_rest(
    page: str, part: Path, file_name: str, num_bytes: int, on_progress: Progress
) -> None:
    start = part.stat().st_size if part.exists() else 0
    if start == num_bytes:
        return
    url = _file_url(page, file_name)
    headers = {"Range": f"bytes={start}-"} if 0 < start < num_bytes else {}
    with _open(url, headers, page) as response:
        # An index that knows no ranges answers 200 and sends it all again.
        mode: Literal["ab", "wb"] = "ab" if response.status == 206 else "wb"
        received = _copy(response, part, mode, num_bytes, on_progress)
    if received < num_bytes:
        raise ConnectionError(f"it broke off after {received} of {num_bytes} bytes")


def _copy(
    response: HTTPResponse,
    part: Path,
    mode: Literal["ab", "wb"],
    num_bytes: int,
    on_progress: Progress,
) -> int:
    with part.open(mode) as file:
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            on_progress(file.tell(), num_bytes)
        return file.tell()


def _file_url(page: str, file_name: str) -> str:
    """The address of a file that a project's page lists.

    Raises:
        FileNotFoundError: The page does not list it.
    """
    with _open(page, {"Accept": INDEX_TYPES}, page) as response:
        content = response.read().decode()
        base = response.url
        is_json = "json" in response.headers.get("Content-Type", "")
    links = _json_links(content) if is_json else _html_links(content)
    for link in links:
        url = urllib.parse.urljoin(base, link.partition("#")[0])
        if urllib.parse.unquote(url.rpartition("/")[2]) == file_name:
            return url
    raise FileNotFoundError(f"{_without_password(page)} does not list {file_name}")


def _json_links(content: str) -> list[str]:
    return [file["url"] for file in json.loads(content)["files"]]


def _html_links(content: str) -> list[str]:
    parser = _LinkParser()
    parser.feed(content)
    return parser.links


class _LinkParser(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in one tag."""
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _open(url: str, headers: dict[str, str], page: str) -> HTTPResponse:
    """Ask for an address; with the index's own user and password where it is on its host."""
    address, index = urllib.parse.urlsplit(url), urllib.parse.urlsplit(page)
    if address.scheme not in ("http", "https"):
        raise OSError(f"{_without_password(url)} is not an http address")
    request = urllib.request.Request(_without_password(url), headers=headers)
    if index.username and address.hostname == index.hostname:
        name = urllib.parse.unquote(index.username)
        password = urllib.parse.unquote(index.password or "")
        token = base64.b64encode(f"{name}:{password}".encode()).decode()
        # Unredirected, so that no other host is told.
        request.add_unredirected_header("Authorization", f"Basic {token}")
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
    response: HTTPResponse = urllib.request.urlopen(
        request, timeout=TIMEOUT_SECONDS, context=context
    )
    return response


def _without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
