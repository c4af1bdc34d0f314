"""The command, in a process of its own, on a folder of files."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
from conftest import TESTS

from vs_paragonsr2.cli import main
from vs_paragonsr2.support import cache_folder
from vs_paragonsr2.support.cache import DIGEST_BYTES, load_or_make
from vs_paragonsr2.support.cache_folder import FOLDER_VARIABLE, folder_lock

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
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, encoding="utf-8")


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
        (["--max-mib", "-1"], "--max-mib is -1.0: expected a number of 0 or more"),
        (["--max-days", "nan"], "--max-days is nan: expected a number of 0 or more"),
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


def test_cache_list_and_prune_know_what_killed_makers_leave(folder: Path) -> None:
    (folder / f"{A}.x1.part").write_bytes(bytes(50 << 20))
    assert "55.6 MB" in run(folder, "list").stdout
    said = run(folder, "prune", "--max-mib", "2").stdout
    assert "parts of killed makers deleted: 1, 52.4 MB" in said
    assert left(folder) == {A, B}


@pytest.mark.parametrize("limit", ["inf", "nan", "-1", "1e400"])
def test_cache_prune_refuses_what_is_no_limit(folder: Path, limit: str) -> None:
    done = run(folder, "prune", f"--max-mib={limit}")
    assert done.returncode == 1
    assert re.fullmatch(r"vs-paragonsr2: --max-mib is \S+: expected a number of 0 or more\n", done.stderr)
    assert left(folder) == {A, B, C}


def test_cache_waits_for_who_writes_and_then_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "LOCK_PATIENCE_S", 0.1)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    with folder_lock(folder), pytest.raises(SystemExit, match="cannot be pruned"):
        main(["cache", "prune", "--all"])
    assert left(folder) == {A, B, C}


def test_the_documentation_has_what_backends_say_of_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backends", "--markdown"])
    page = (TESTS.parent / "docs/backends.md").read_text(encoding="utf-8")
    assert page.endswith(capsys.readouterr().out)


def test_backends_and_what_this_machine_has(capsys: pytest.CaptureFixture[str]) -> None:
    main(["backends"])
    said = capsys.readouterr().out
    for name in ("tensorrt", "torch", "openvino", "reference", "CPU: "):
        assert name in said
