"""The folder of what is costly to make: made once, touched when read, bounded."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import pytest

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.support import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of this test alone, with room for three entries and a MiB."""
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("VS_PARAGONSR2_CACHE_ENTRIES", "3")
    monkeypatch.setenv("VS_PARAGONSR2_CACHE_MIB", "1")
    return tmp_path / "cache"


def get(name: str, size: int = 8) -> bool:
    """Ask for an entry; whether it had to be made."""
    made = []

    def make() -> tuple[str, bytes]:
        made.append(name)
        return name, name.encode().ljust(size)

    assert cache.load_or_make(cache.entry_path("test", name), lambda data: data.decode().strip(), make) == name
    return bool(made)


def age(name: str, seconds: int) -> None:
    """As if the entry had been read so long ago."""
    path = cache.entry_path("test", name)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_the_least_recently_read_goes_when_there_are_too_many(folder: Path) -> None:
    for name, seconds in (("a", 30), ("b", 20), ("c", 10)):
        assert get(name)
        age(name, seconds)
    assert not get("a")  # and so it is the newest
    assert get("d")
    assert len(list(folder.glob("*.test"))) == 3
    assert not cache.entry_path("test", "b").exists()
    assert [get(name) for name in "acd"] == [False] * 3


def test_the_least_recently_read_go_until_a_large_one_fits(folder: Path) -> None:
    for name, seconds in (("a", 20), ("b", 10)):
        get(name, 400 << 10)
        age(name, seconds)
    assert get("c", 500 << 10)
    assert [path.exists() for path in (cache.entry_path("test", name) for name in "abc")] == [False, True, True]


def test_an_entry_larger_than_the_bound_stays_alone() -> None:
    get("a")
    assert get("b", 2 << 20)
    assert not get("b")
    assert get("a")


def test_locks_go_with_their_entries_and_what_is_not_ours_stays(folder: Path) -> None:
    folder.mkdir()
    others = [folder / "notes.txt", folder / f"{'0' * 31}.test", folder / "sub"]
    for other in others[:2]:
        other.write_text("mine")
        os.utime(other, (0, 0))
    others[2].mkdir()
    for name in "abcde":
        get(name)
        age(name, 5)
    names = {path.name for path in folder.iterdir()}
    assert names >= {other.name for other in others}
    assert len([name for name in names if name.endswith(".test.lock")]) <= 3


@pytest.mark.parametrize("name", ["VS_PARAGONSR2_CACHE_ENTRIES", "VS_PARAGONSR2_CACHE_MIB"])
@pytest.mark.parametrize("value", ["-1", "1.5", "much"])
def test_a_bound_that_is_no_number_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ParagonSR2Error, match=f"{name} is '{value}': expected a whole number of 0 or more"):
        get("a")


def test_an_empty_bound_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cache.LIMITS:
        monkeypatch.setenv(name, "")
    for index in range(5):
        assert get(str(index), 1 << 20)
    assert not any(get(str(index)) for index in range(5))


def test_of_several_that_need_an_entry_at_once_one_makes_it() -> None:
    barrier = threading.Barrier(4)

    def ask(_: int) -> bool:
        barrier.wait()
        return get("a")

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(ask, range(4))) == 1


def test_what_came_about_in_passing_is_kept_unless_somebody_else_is_at_it(folder: Path) -> None:
    path = cache.entry_path("test", "a")
    assert cache.load_kept(path, bytes) is None
    cache.keep(path, b"first")
    with filelock.FileLock(f"{path}.lock"):
        cache.keep(path, b"second")
    assert cache.load_kept(path, bytes) == b"first"
    cache.keep(path, b"third")
    assert cache.load_kept(path, bytes) == b"third"
    for name in "bcd":
        get(name)
    assert len(list(folder.glob("*.test"))) == 3  # it counts like any other


@pytest.mark.parametrize("place", [0, 31, 32, -1])
def test_an_entry_with_one_wrong_bit_is_made_anew(place: int) -> None:
    get("a", 1000)
    path = cache.entry_path("test", "a")
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert get("a", 1000)
    assert not get("a", 1000)


def test_who_waits_for_another_too_long_makes_it_and_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PATIENCE_S", 0.1)
    folder.mkdir()
    with filelock.FileLock(f"{cache.entry_path('test', 'a')}.lock"):
        assert get("a")
    assert not list(folder.glob("*.test"))
    assert get("a")


def test_a_disk_that_is_full_makes_once_and_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of the disk."""
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert get("a")
    assert len(calls) == 1
    assert not [path for path in folder.iterdir() if path.suffix != ".lock"]


def test_only_code_that_decides_an_entry_is_in_its_name(tmp_path: Path) -> None:
    for name in ("program/fold.py", "evaluation/report.py", "training/trainer.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    before = cache.digest_of(tmp_path)
    (tmp_path / "evaluation/report.py").write_text("2")
    (tmp_path / "training/trainer.py").unlink()
    assert cache.digest_of(tmp_path) == before
    (tmp_path / "program/fold.py").write_text("2")
    changed = cache.digest_of(tmp_path)
    assert changed != before
    (tmp_path / "program/fold.py").rename(tmp_path / "program/folded.py")
    assert cache.digest_of(tmp_path) not in (before, changed)
