"""The compiled kernels are there, or a sentence says why not and nothing else changes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from quant.int4 import quantize
from quant.linear import QuantizedInputs, QuantLinear
from quant.native.build import build
from quant.packing import QuantSpec

# Answers as a compiler would, writes empty files, and keeps count.
FAKE_COMPILER = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in *-dM*) echo "#define PROCESSOR $PROCESSOR"; exit 0;; esac
while [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done
exit 0
"""
PROGRAM = """
import json
import torch
from quant.native.build import build
from tests.quant.test_native_build import outputs
assert build().library is None
torch.set_num_threads(1)
print(json.dumps([build().reason, outputs()]))
"""


@pytest.fixture
def _nothing_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PTUNE_NATIVE", raising=False)
    build.cache_clear()
    yield
    build.cache_clear()


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "c++"
    write_program(path, FAKE_COMPILER)
    monkeypatch.setenv("CXX", str(path))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return path


def write_program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def outputs() -> dict[str, list[float]]:
    """A weight in floats, and what a layer computes forward and backward, by kernel."""
    torch.manual_seed(0)
    weight = quantize(torch.randn(24, 40), QuantSpec())
    inputs = torch.randn(5, 40)
    found = {"weight": weight.dequantize().flatten().tolist()}
    for kernel in ("stream", "int8"):
        layer, leaf = QuantLinear(weight), inputs.clone().requires_grad_()
        if kernel == "int8":
            layer.set_int8([3, 30], QuantizedInputs())
        output = layer(leaf)
        output.square().sum().backward()
        assert leaf.grad is not None
        found[kernel] = [*output.flatten().tolist(), *leaf.grad.flatten().tolist()]
    return found


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({"PTUNE_NATIVE": "off"}, "PTUNE_NATIVE"), ({"PATH": "/nonexistent"}, "no C++ compiler")],
)
def test_without_compiled_kernels_a_process_says_why_and_computes_the_same(
    environment: dict[str, str], reason: str
) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "CXX"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**inherited, "PYTHONPATH": os.getcwd(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    said, plain = json.loads(done.stdout)
    assert reason in said
    here = outputs()
    assert plain["weight"] == here["weight"]
    # oneDNN's last digit depends on what the process did before; a code may round another way.
    for kernel, tolerance in (("stream", 1e-6), ("int8", 2e-2)):
        expected = torch.tensor(here[kernel])
        atol = tolerance * float(expected.abs().max())
        torch.testing.assert_close(torch.tensor(plain[kernel]), expected, rtol=0, atol=atol)


@pytest.mark.usefixtures("_nothing_built")
def test_a_compiler_that_fails_is_a_reason(compiler: Path) -> None:
    write_program(compiler, '#!/bin/sh\necho "rows.cpp: no such processor" >&2\nexit 1\n')
    assert build().library is None
    assert "no such processor" in build().reason


@pytest.mark.usefixtures("_nothing_built", "compiler")
def test_a_library_that_cannot_be_loaded_is_a_reason() -> None:
    assert build().library is None
    assert "cannot be used" in build().reason


@pytest.mark.usefixtures("_nothing_built", "compiler")
def test_a_cache_that_cannot_be_written_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    assert build().library is None
    assert "cannot be used" in build().reason


@pytest.mark.usefixtures("_nothing_built", "compiler")
def test_each_processor_has_a_file_of_its_own_and_is_compiled_for_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = []
    for processor in ("old", "new", "old"):
        monkeypatch.setenv("PROCESSOR", processor)
        build.cache_clear()
        build()
        names.append({path.name for path in (tmp_path / "cache").rglob("kernels-*.so")})
    assert [len(found) for found in names] == [1, 2, 2]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum("-shared" in call for call in calls) == 2
    assert sum("-dM" in call for call in calls) == 3
