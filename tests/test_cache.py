"""The folder of what is costly to make: made once, touched when read, bounded, and trusted only where it can be."""

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import pytest

from vs_paragonsr2 import ParagonSR2Error
from vs_paragonsr2.support import cache, cache_folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of one test, bounded to three entries and a MiB."""
    monkeypatch.setenv(cache_folder.FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("VS_PARAGONSR2_CACHE_ENTRIES", "3")
    monkeypatch.setenv("VS_PARAGONSR2_CACHE_MIB", "1")
    return tmp_path / "cache"


def get(name: str, size: int = 8) -> bool:
    """Ask for an entry; whether it had to be made."""
    made = []

    def make() -> tuple[str, bytes]:
        made.append(name)
        return name, name.encode().ljust(size)

    assert cache.load_or_make(cache.entry_path("test", name, code=()), lambda data: data.decode().strip(), make) == name
    return bool(made)


def age(name: str, seconds: int) -> None:
    """As if the entry had been read so long ago."""
    path = cache.entry_path("test", name, code=())
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_the_least_recently_read_goes_when_there_are_too_many(folder: Path) -> None:
    for name, seconds in (("a", 30), ("b", 20), ("c", 10)):
        assert get(name)
        age(name, seconds)
    assert not get("a")  # and so it is the newest
    assert get("d")
    assert len(list(folder.glob("*.test"))) == 3
    assert not cache.entry_path("test", "b", code=()).exists()
    assert [get(name) for name in "acd"] == [False] * 3


def test_the_least_recently_read_go_until_a_large_one_fits(folder: Path) -> None:
    for name, seconds in (("a", 20), ("b", 10)):
        get(name, 400 << 10)
        age(name, seconds)
    assert get("c", 500 << 10)
    assert [path.exists() for path in (cache.entry_path("test", name, code=()) for name in "abc")] == [False, True, True]


def test_an_entry_larger_than_the_bound_stays_alone() -> None:
    get("a")
    assert get("b", 2 << 20)
    assert not get("b")
    assert get("a")


def test_locks_go_with_their_entries_and_what_is_not_ours_stays(folder: Path) -> None:
    folder.mkdir()
    others = [folder / "notes.txt", folder / f"{'0' * 31}.test", folder / "sub"]
    for other in others[:2]:
        other.write_text("mine", encoding="utf-8")
        os.utime(other, (0, 0))
    others[2].mkdir()
    for name in "abcde":
        get(name)
        age(name, 5)
    names = {path.name for path in folder.iterdir()}
    assert names >= {other.name for other in others}
    assert len([name for name in names if name.endswith(".test.lock")]) <= 3


@pytest.mark.parametrize("name", ["VS_PARAGONSR2_CACHE_ENTRIES", "VS_PARAGONSR2_CACHE_MIB"])
@pytest.mark.parametrize("value", ["-1", "1.5", "much", "9" * 5000, "2X", "1\x1b[2J"])
def test_a_bound_that_is_no_number_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    shown = re.escape(ascii(value[:80])[1:-1])
    with pytest.raises(ParagonSR2Error, match=f"{name} is '{shown}': expected a whole number"):
        get("a")


@pytest.mark.parametrize(
    ("value", "size"),
    [("2G", 2 << 30), ("2g", 2 << 30), ("2GiB", 2 << 30), ("0", 0), ("7", 7 << 20), ("512K", 512 << 10), ("1TB", 1 << 40)],
)
def test_sizes_as_people_write_them(value: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_folder.BYTES_VARIABLE, value)
    assert cache_folder.bounds().max_bytes == size


def test_an_empty_bound_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (cache_folder.BYTES_VARIABLE, cache_folder.ENTRIES_VARIABLE):
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
    path = cache.entry_path("test", "a", code=())
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
    path = cache.entry_path("test", "a", code=())
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert get("a", 1000)
    assert not get("a", 1000)


def test_who_waits_for_another_too_long_makes_it_and_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PATIENCE_S", 0.1)
    folder.mkdir()
    with filelock.FileLock(f"{cache.entry_path('test', 'a', code=())}.lock"):
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


POSIX = pytest.mark.skipif(os.name != "posix", reason="owners and permissions of POSIX")


@POSIX
def test_a_folder_that_others_can_write_is_not_used_and_said(folder: Path) -> None:
    get("a")
    for mode in (0o777, 0o770, 0o1777):
        folder.chmod(mode)
        assert get("a") and get("a")
        assert "can be written by others" in str(cache_folder.distrust(folder))
    folder.chmod(0o755)
    assert not get("a")
    assert cache_folder.distrust(folder) is None


@POSIX
def test_a_folder_of_somebody_else_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A double of another user: this process is root in some places, and nobody else's folder can be made in others."""
    get("a")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    os.chown(folder, 54321, -1) if os.getuid() == 0 else None
    if folder.stat().st_uid == 0:
        pytest.skip("root's folders are trusted")
    assert "belongs to another user" in str(cache_folder.distrust(folder))
    assert get("a")


def test_the_folders_above_are_made_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_folder.FOLDER_VARIABLE, str(tmp_path / "not" / "there" / "cache"))
    assert get("a") and not get("a")


@POSIX
def test_the_default_folder_is_made_private_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache_folder.FOLDER_VARIABLE)
    monkeypatch.setattr(cache_folder.platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "own"))
    before = os.umask(0)
    try:
        assert get("a")
        assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
        (tmp_path / "own").chmod(0o777)
        assert not get("a")
        assert (tmp_path / "own").stat().st_mode & 0o022 == 0
    finally:
        os.umask(before)


@POSIX
def test_links_pipes_and_sockets_in_place_of_entries_are_not_read(folder: Path, tmp_path: Path) -> None:
    get("a")
    path = cache.entry_path("test", "a", code=())
    content = path.read_bytes()
    (tmp_path / "elsewhere").write_bytes(content)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert get("a")
    assert path.is_file() and not path.is_symlink()
    path.unlink()
    os.mkfifo(path)
    assert cache.load_kept(path, bytes) is None  # and it does not wait for a writer
    assert get("a")
    assert (tmp_path / "elsewhere").read_bytes() == content


@POSIX
def test_a_planted_part_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious", encoding="utf-8")
    folder.mkdir(mode=0o700)
    path = cache.entry_path("test", "a", code=())
    path.with_suffix(".part").symlink_to(target)
    assert get("a")
    assert target.read_text(encoding="utf-8") == "precious"
    assert not path.with_suffix(".part").is_symlink()


def test_what_killed_makers_leave_goes_with_the_next_entry(folder: Path) -> None:
    get("a")
    path = cache.entry_path("test", "b", code=())
    for leftover in (f"{path.name}.abc_1.part", f"{'1' * 32}.part", f"{'2' * 32}.engine.lock"):
        (folder / leftover).write_bytes(bytes(1000))
    assert sum(entry.size for entry in cache_folder.entries(folder)) > 2000, "parts are listed"
    assert get("c")
    assert sorted(entry.kind for entry in cache_folder.entries(folder)) == ["test", "test"]
    assert not (folder / f"{'2' * 32}.engine.lock").exists()


WRITER = """
import sys
from pathlib import Path
from vs_paragonsr2.support import cache
for index in range(20):
    cache.keep(cache.entry_path("test", sys.argv[1], index, code=()), bytes(200 << 10))
"""


def test_eight_writers_never_exceed_the_bounds(folder: Path) -> None:
    """1 MiB holds five entries of 200 KiB; parts count too."""
    folder.mkdir(mode=0o700)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(number)]) for number in range(8)]
    most = 0
    while any(writer.poll() is None for writer in writers):
        most = max(most, sum(entry.size for entry in cache_folder.entries(folder)))
        time.sleep(0.002)
    assert [writer.returncode for writer in writers] == [0] * 8
    assert 200 << 10 <= most <= 1 << 20


def test_only_code_that_decides_an_entry_is_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of its own: code outside what is named decides nothing, a name inside does."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("package_a/__init__.py", "package_a/part/__init__.py", "package_a/part/fold.py", "package_a/other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("1", encoding="utf-8")

    def digest() -> str:
        cache.code_digest.cache_clear()
        return cache.code_digest("package_a.part")

    before = digest()
    (tmp_path / "package_a/other.py").write_text("2", encoding="utf-8")
    assert digest() == before
    (tmp_path / "package_a/part/fold.py").write_text("2", encoding="utf-8")
    changed = digest()
    assert changed != before
    (tmp_path / "package_a/part/fold.py").rename(tmp_path / "package_a/part/folded.py")
    assert digest() not in (before, changed)
    assert cache.code_digest("package_a.other") != cache.code_digest("package_a.part")
    cache.code_digest.cache_clear()
