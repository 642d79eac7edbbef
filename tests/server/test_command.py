"""`ptune serve` as a process: where it talks, what it refuses, how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from tests.cli.conftest import run_ptune

KEY = {"PTUNE_SERVE_KEY": "s3cret"}


@contextmanager
def process(bundle: Path, home: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A server on a port of its own."""
    started = subprocess.Popen(
        [
            *(sys.executable, "-m", "ptune_tui", "serve", str(bundle)),
            *("--port", "0", "--threads", "1"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PTUNE_HOME": str(home), **environment},
        # A shell's background job ignores the signal, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_its_address_answers_and_ends_in_order(
    bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with process(bundle, tmp_path, **KEY) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        client = openai.OpenAI(base_url=url, api_key="s3cret", max_retries=0)
        answer = client.completions.create(model="mine", prompt="the cat", max_tokens=4)
        assert answer.choices[0].text in ("good", "bad red", "bad green")
        server.send_signal(number)
        out, talk = server.communicate(timeout=30)
    assert server.returncode == 0, talk
    assert out == ""
    lines = talk.splitlines()
    assert lines[0].startswith("Serving ")
    assert lines[1].startswith("200 POST /v1/completions  mine  ")
    assert lines[2].startswith("Stopping")
    assert len(lines) == 3


def test_a_key_is_needed_where_others_can_reach_the_server(bundle: Path, tmp_path: Path) -> None:
    done = run_ptune("serve", bundle, "--host", "0.0.0.0", "--port", 0, home=tmp_path)
    assert done.code == 2
    assert "no key was given" in done.err
    assert "hint: Set PTUNE_SERVE_KEY" in done.err
    both = run_ptune("serve", bundle, "--key", "a", "--no-key", home=tmp_path)
    assert both.code == 2
    empty = run_ptune("serve", bundle, "--key", "", "--port", 0, home=tmp_path)
    assert empty.code == 2
    assert "The key is empty" in empty.err


def test_a_port_that_is_taken_is_named(bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_ptune("serve", bundle, "--port", port, home=tmp_path)
    assert done.code == 6
    assert f"error: Port {port} of 127.0.0.1 is in use." in done.err
    assert "hint: Take another with `--port`" in done.err


def test_a_host_that_is_none_is_named(bundle: Path, tmp_path: Path) -> None:
    done = run_ptune("serve", bundle, "--host", "no.such.host.invalid", home=tmp_path)
    assert done.code == 2
    assert "'no.such.host.invalid'" in done.err


def test_a_folder_that_is_no_bundle_ends_with_5(tmp_path: Path) -> None:
    done = run_ptune("serve", tmp_path, "--port", 0, home=tmp_path)
    assert done.code == 5
    assert "is not a bundle" in done.err


def test_without_the_extra_it_says_what_to_install(bundle: Path) -> None:
    script = (
        "import sys\nsys.modules['starlette'] = None\n"
        f"sys.argv = ['ptune', 'serve', {str(bundle)!r}]\n"
        "from ptune_tui.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "the package `starlette` is not installed" in done.stderr
    assert "hint: Install `ptune-tui[serve]`" in done.stderr
