"""What is costly to make and kept on disk: one file an entry, in the user's cache folder.

The folder is bounded: entries that nobody has read for longest go when a new one comes.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import filelock
import platformdirs

from .errors import ParagonSR2Error

DIGEST_BYTES = 32
"""Of the SHA-256 before an entry's data on disk: a compiled graph with a damaged weight loads as well as any."""

PATIENCE_S = 900
"""For another process that makes the same entry; a TensorRT engine of a large picture takes minutes."""

FOLDER_VARIABLE = "VS_PARAGONSR2_CACHE"
"""An environment variable that names another folder."""

LIMITS = {"VS_PARAGONSR2_CACHE_MIB": 1024, "VS_PARAGONSR2_CACHE_ENTRIES": 256}
"""Environment variables that say how large the folder may be, with what holds without them."""


def cache_folder() -> Path:
    """Where entries are kept."""
    return Path(os.environ.get(FOLDER_VARIABLE) or platformdirs.user_cache_dir("vs_paragonsr2", appauthor=False))


UNDECIDING = ("evaluation", "training")
"""Folders of the package that have no part in what an entry holds."""


@cache
def sources_digest() -> str:
    """Of all the package's code that can decide what an entry holds: after an upgrade nothing old is taken."""
    return digest_of(Path(__file__).parents[1])


def digest_of(package: Path) -> str:
    """Of the code in a package's folder, ``UNDECIDING`` apart."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in UNDECIDING:
            digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def entry_path(kind: str, *decides: object) -> Path:
    """The file of the entry that all of ``decides`` decides, by their ``repr``; the package's own code does too."""
    key = hashlib.sha256(repr((sources_digest(), decides)).encode()).hexdigest()[:32]
    return cache_folder() / f"{key}.{kind}"


def load_or_make[T](path: Path, load: Callable[[bytes], T], make: Callable[[], tuple[T, bytes]]) -> T:
    """Read an entry, or make and keep it; of several processes that need it at once, one makes it.

    A file that is damaged, or that ``load`` raises at, is made anew. Where the folder cannot be written, nothing is kept, nor where
    another process has been at it for ``PATIENCE_S``: it may never end.

    Raises:
        ParagonSR2Error: an environment variable for the folder's bounds is no whole number of 0 or more.
    """
    found = load_kept(path, load)
    if found is not None:
        return found
    limits = _limits()
    lock = filelock.FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = lock.acquire(timeout=PATIENCE_S)
    except OSError:
        return make()[0]
    with held:
        found = load_kept(path, load)
        if found is not None:
            return found
        made, data = make()
        with suppress(OSError):  # a disk that is full keeps nothing
            _write(path, data, *limits)
        return made


def keep(path: Path, data: bytes) -> None:
    """Keep an entry that came about in passing, in place of what is there. Where somebody else is at it, or nothing can be written,
    nothing is kept.
    """
    limits = _limits()
    with suppress(OSError):  # a lock that another process has is one too
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock", timeout=0):
            _write(path, data, *limits)


def load_kept[T](path: Path, load: Callable[[bytes], T]) -> T | None:
    """Read an entry; None where there is none, its bytes are not those that were kept, or ``load`` raises at them."""
    try:
        content = path.read_bytes()
        digest, data = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return None
        found = load(data)
    except Exception:  # whatever a runtime makes of a damaged file
        return None
    with suppress(OSError):
        os.utime(path)  # its time says when it was read last
    return found


def _limits() -> tuple[int, int]:
    """Bytes and entries that are kept."""
    said = {name: os.environ.get(name) or str(default) for name, default in LIMITS.items()}
    for name, value in said.items():
        if not value.isdecimal():
            raise ParagonSR2Error(f"the environment's {name} is {value!r}: expected a whole number of 0 or more")
    mebibytes, entries = map(int, said.values())
    return mebibytes << 20, entries


def _write(path: Path, data: bytes, most_bytes: int, most_entries: int) -> None:
    """Write an entry, and remove those that nobody has read for longest until it fits; it stays itself in any case."""
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
            file.flush()
            os.fsync(file.fileno())  # else a crash can leave a name with nothing behind it
    except OSError:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
    others = [entry for entry in entries(path.parent) if entry.path != path]
    for entry in excess(others, max_bytes=most_bytes - len(data), max_entries=most_entries - 1):
        remove(entry)


NAMES = re.compile(r"[0-9a-f]{32}\.(?!lock$|part$)\w+")
"""Of entries. Beside one, whoever makes it has a lock and a part; whatever else is in the folder is not ours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache."""

    path: Path
    size: int
    """In bytes."""
    modified: float
    """When it was made or last read, in seconds since the epoch."""

    @property
    def kind(self) -> str:
        """What makes such files."""
        makers = {".engine": "TensorRT", ".kernels": "TensorRT", ".speed": "doctor"}
        return makers.get(self.path.suffix, self.path.suffix.lstrip("."))


def entries(folder: Path) -> list[Entry]:
    """All entries of a folder, the newest first; what disappears meanwhile is left out."""
    return sorted(_entries(folder), key=lambda entry: -entry.modified)


def _entries(folder: Path) -> Iterator[Entry]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            if NAMES.fullmatch(path.name) and path.is_file():
                yield Entry(path, path.stat().st_size, path.stat().st_mtime)
        except OSError:
            continue


def excess(
    kept: Iterable[Entry], *, max_bytes: int | None = None, max_entries: int | None = None, max_days: float | None = None
) -> list[Entry]:
    """Of entries, the newest first, those that are too old, or too much or too many together with the ones before them."""
    too_much, total, count, now = [], 0, 0, time.time()
    for entry in kept:
        total, count = total + entry.size, count + 1
        too_large = max_bytes is not None and total > max_bytes
        too_old = max_days is not None and now - entry.modified > max_days * 86400
        too_many = max_entries is not None and count > max_entries
        if too_large or too_many or too_old:
            too_much.append(entry)
            total, count = total - entry.size, count - 1
    return too_much


def remove(entry: Entry) -> bool:
    """Delete an entry with its auxiliary files, unless somebody makes it anew right now. Whether it is gone."""
    lock = Path(f"{entry.path}.lock")
    try:
        with filelock.FileLock(lock, timeout=0):
            entry.path.unlink(missing_ok=True)
            entry.path.with_suffix(".part").unlink(missing_ok=True)
            if os.name == "posix":  # who waits for the lock sees that it is gone, and makes another; behind it, it could be theirs
                lock.unlink(missing_ok=True)
        if os.name != "posix":  # there an open file stays
            lock.unlink(missing_ok=True)
    except (filelock.Timeout, OSError):
        return False
    return True
