"""The folder of what is kept on disk: where it is, whether it can be trusted, what is in it, and how it is kept within bounds."""

import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs

from .arguments import shown
from .errors import ParagonSR2Error

FOLDER_VARIABLE = "VS_PARAGONSR2_CACHE"
"""The environment variable that names another folder."""

BYTES_VARIABLE, ENTRIES_VARIABLE = "VS_PARAGONSR2_CACHE_MIB", "VS_PARAGONSR2_CACHE_ENTRIES"
"""The environment variables that say how large the folder may be."""

DEFAULT_MIB, DEFAULT_ENTRIES = 1024, 256

NAMES = re.compile(r"[0-9a-f]{32}\.\w+(?:\.lock|(?:\.\w+)?\.part)?", re.ASCII)
"""The names of our files: entries, and the locks and parts of those who make them. Whatever else is in the folder is not ours."""

LOCK_NAME = "folder.lock"
"""The file that is locked by who writes an entry or removes files. So a part that is seen with the lock held is nobody's."""

LOCK_PATIENCE_S = 20
"""Seconds to wait for that lock. Who has it writes one entry."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large the folder may be."""

    max_bytes: int = DEFAULT_MIB << 20
    max_entries: int = DEFAULT_ENTRIES


def cache_folder() -> Path:
    """The folder where entries are kept."""
    return Path(os.environ.get(FOLDER_VARIABLE) or platformdirs.user_cache_dir("vs_paragonsr2", appauthor=False))


def bounds() -> Bounds:
    """The bounds that the environment sets.

    Raises:
        ParagonSR2Error: a variable is no whole number of 0 or more; the first one may have K, M, G or T behind it.
    """
    size, count = (os.environ.get(name, "").strip() for name in (BYTES_VARIABLE, ENTRIES_VARIABLE))
    found = re.fullmatch(r"(\d{1,9})(?:([KMGT])(?:i?B)?)?", size, re.ASCII | re.IGNORECASE)
    if size and not found:
        right = "a whole number of MiB, 0 or more, or a size such as 2G"
        raise ParagonSR2Error(f"the environment's {BYTES_VARIABLE} is '{shown(size)}': expected {right}")
    if count and not re.fullmatch(r"\d{1,9}", count, re.ASCII):
        raise ParagonSR2Error(f"the environment's {ENTRIES_VARIABLE} is '{shown(count)}': expected a whole number of 0 or more")
    max_bytes = DEFAULT_MIB << 20
    if found:
        max_bytes = int(found[1]) << {"K": 10, "M": 20, "G": 30, "T": 40}[(found[2] or "M").upper()]
    return Bounds(max_bytes, int(count) if count else DEFAULT_ENTRIES)


def distrust(folder: Path) -> str | None:
    """Why a folder is not used, in words; None where it can be, or is not there yet.

    Entries are data for native code: whoever can write them could have this process run anything. On systems without owners and
    permissions of POSIX's kind, nothing is looked at.
    """
    if sys.platform == "win32":
        return None
    try:
        status = folder.stat()
    except OSError:
        return None
    if not stat.S_ISDIR(status.st_mode):
        return f"the cache {folder} is no folder: nothing is kept"
    if status.st_uid not in (os.geteuid(), 0):
        return f"the cache folder {folder} belongs to another user: nothing is read from it or kept in it"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        if not os.environ.get(FOLDER_VARIABLE):  # our own, as a wide umask has made it
            with suppress(OSError):
                folder.chmod(status.st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))
                return None
        return f"the cache folder {folder} can be written by others: nothing is read from it or kept in it; chmod go-w mends that"
    return None


def make_folder(folder: Path) -> bool:
    """Make a folder that others cannot write, if it is not there. Whether it is there and can be trusted."""
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return distrust(folder) is None
    return False


def folder_lock(folder: Path) -> filelock.BaseFileLock:
    """The lock of a folder, to be held while files are written or removed."""
    return filelock.FileLock(folder / LOCK_NAME, timeout=LOCK_PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache."""

    path: Path
    size: int
    """The size of the file in bytes."""
    modified: float
    """When it was made or last read, in seconds since the epoch."""

    @property
    def kind(self) -> str:
        """The suffix of its file, as ``"engine"``; ``"part"`` for one that is being written, or whose writer was killed."""
        return self.path.suffix.lstrip(".")


def entries(folder: Path) -> list[Entry]:
    """All entries and parts of a folder, the newest first; what disappears meanwhile is left out."""
    return sorted(_entries(folder), key=lambda entry: -entry.modified)


def _entries(folder: Path) -> Iterator[Entry]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if not NAMES.fullmatch(path.name) or path.suffix == ".lock":
            continue
        with suppress(OSError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                yield Entry(path, status.st_size, status.st_mtime)


def excess(
    kept: Iterable[Entry], *, max_bytes: int | None = None, max_entries: int | None = None, max_days: float | None = None
) -> list[Entry]:
    """The entries that are too old, or too much or too many together with those before them; ``kept`` has the newest first."""
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
    """Delete an entry and its lock, unless somebody makes it anew right now. Whether it is gone. The folder's lock is held."""
    if entry.kind == "part":
        with suppress(OSError):
            entry.path.unlink(missing_ok=True)
            return True
        return False
    lock = Path(f"{entry.path}.lock")
    try:
        with filelock.FileLock(lock, timeout=0):
            entry.path.unlink(missing_ok=True)
            if os.name == "posix":  # who waits for the lock sees that it is gone, and makes another; behind it, it could be theirs
                lock.unlink(missing_ok=True)
        if os.name != "posix":  # there an open file stays
            lock.unlink(missing_ok=True)
    except (filelock.Timeout, OSError):
        return False
    return True


def remove_leftovers(folder: Path) -> None:
    """Delete the parts and the locks of makers that were killed. The folder's lock is held, so that nobody writes a part."""
    for path in folder.iterdir():
        if not NAMES.fullmatch(path.name):
            continue
        if path.suffix == ".part":
            with suppress(OSError):
                path.unlink(missing_ok=True)
        elif path.suffix == ".lock" and not path.with_suffix("").exists():
            remove(Entry(path.with_suffix(""), 0, 0))
