"""Manifests as a program reads them that opens no bundle: whatever lies there, it goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from export import manifest_file
from ptune_tui.bundles import BundleCard, is_bundle, read_card
from ptune_tui.errors import UsageError
from ptune_tui.tui.bundle_choice import _folders_in, check_bundle

MANIFEST = (
    '{"model_name": "m", "weights_hash": "h", "default_precision": "fast", "graphs": {}, '
    '"prompts": {}}'
)


def test_a_manifest_gives_a_card_unless_it_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "manifest.json").write_text(MANIFEST)
    assert read_card(tmp_path) == BundleCard("m", "h", "fast", {}, {})
    monkeypatch.setattr(manifest_file, "MOST_BYTES", len(MANIFEST) - 1)
    assert read_card(tmp_path) is None


@pytest.mark.timeout(20)
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_manifest_that_is_a_pipe_or_a_link_gives_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    assert read_card(tmp_path) is None
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "elsewhere").write_text(MANIFEST)
    (tmp_path / "manifest.json").symlink_to(tmp_path / "elsewhere")
    assert read_card(tmp_path) is None


def test_a_manifest_nested_without_end_gives_none_and_is_refused_as_a_bundle(
    tmp_path: Path,
) -> None:
    (tmp_path / "manifest.json").write_text('{"more": ' + "[" * 1_000_000)
    assert read_card(tmp_path) is None
    assert is_bundle(tmp_path)
    with pytest.raises(UsageError, match="that can be read"):
        check_bundle(tmp_path)
    assert not is_bundle(tmp_path / "nowhere")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_one_entry_that_cannot_be_looked_at_hides_no_other(tmp_path: Path) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    (tmp_path / "odd").symlink_to("x" * 300)  # too long a name for any file
    with pytest.raises(OSError, match="too long"):
        (tmp_path / "odd").stat()
    assert _folders_in(tmp_path) == [tmp_path / "2", tmp_path / "1"]
    assert _folders_in(tmp_path / "nowhere") == []
