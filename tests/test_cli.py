"""The command, in a process of its own, on a folder of files."""

import os
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from vs_paragonsr2.support.cache import DIGEST_BYTES, FOLDER_VARIABLE, load_or_make

DAY = 86400
A, B, C = (f"{letter * 32}.{kind}" for letter, kind in (("a", "engine"), ("b", "speed"), ("c", "engine")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three entries of 1 MiB, the newest first by name, with what making them leaves."""
    for days, name in enumerate((A, B, C)):
        load_or_make(tmp_path / name, lambda data: data, lambda: (b"", bytes(2**20 - DIGEST_BYTES)))
        os.utime(tmp_path / name, (time.time() - (days + 0.5) * DAY,) * 2)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vs_paragonsr2.cli", "cache", *arguments]
    environment = {**os.environ, FOLDER_VARIABLE: str(folder), "COLUMNS": "120"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize("action", [[], ["list"]])
def test_cache_list(folder: Path, action: list[str]) -> None:
    said = run(folder, *action).stdout
    assert said.index(A) < said.index(B) < said.index(C)
    assert "3.1 MB" in said and "doctor" in said and "TensorRT" in said
    assert ".lock" not in said


def test_cache_prune_by_size_keeps_the_newest(folder: Path) -> None:
    assert "1 of 3 entries deleted, 1.0 MB" in run(folder, "prune", "--max-mib", "2").stdout
    assert left(folder) == {A, B}


def test_cache_prune_by_age(folder: Path) -> None:
    run(folder, "prune", "--max-days", "1")
    assert left(folder) == {A}


def test_cache_prune_all_but_what_is_being_made(folder: Path) -> None:
    (folder / A).with_suffix(".part").write_bytes(b"of a player that was killed")
    with filelock.FileLock(folder / f"{B}.lock"):
        said = run(folder, "prune", "--all").stdout
    assert "2 of 3 entries deleted" in said and "1 are in use" in said
    assert left(folder) == {B}


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "cache prune: expected --max-mib, --max-days or --all"),
        (["--max-mib", "-1"], "--max-mib is -1.0: expected 0 or more"),
        (["--max-days", "nan"], "--max-days is nan: expected 0 or more"),
    ],
)
def test_cache_prune_refuses(folder: Path, arguments: list[str], match: str) -> None:
    done = run(folder, "prune", *arguments)
    assert done.returncode == 1
    assert match in done.stderr
    assert len(left(folder)) == 3


def test_an_absent_folder_is_empty(tmp_path: Path) -> None:
    assert run(tmp_path / "none").returncode == 0
    assert "0 of 0" in run(tmp_path / "none", "prune", "--all").stdout
