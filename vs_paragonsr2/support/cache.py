"""What is costly to make and kept on disk: one file an entry, in the user's cache folder.

The folder is bounded: entries that nobody has read for longest go when a new one comes.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import filelock

from .cache_folder import (
    Bounds,
    bounds,
    cache_folder,
    distrust,
    entries,
    excess,
    folder_lock,
    make_folder,
    remove,
    remove_leftovers,
)

DIGEST_BYTES = 32
"""The length of the SHA-256 before an entry's data on disk: a compiled program with a damaged weight loads as well as any."""

PATIENCE_S = 900
"""Seconds to wait for another process that makes the same entry; a TensorRT engine of a large picture takes minutes."""

MAX_ENTRY_BYTES = 4 << 30
"""The largest file that is read as an entry."""


@cache
def code_digest(*packages: str) -> str:
    """The SHA-256 of the Python code of packages or modules, by their full names: after an upgrade nothing old is taken."""
    digest = hashlib.sha256()
    for package in packages:
        spec = find_spec(package)
        folders = spec.submodule_search_locations if spec else None
        files = sorted(Path(folders[0]).rglob("*.py")) if folders else [Path(str(spec and spec.origin))]
        for path in files:
            name = path.relative_to(folders[0]) if folders else path.name
            digest.update(f"{package} {name}".encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def entry_path(kind: str, *decides: object, code: Sequence[str]) -> Path:
    """The file of an entry.

    Args:
        kind: the suffix of the file.
        decides: all that decides what the entry holds, by its ``repr``.
        code: names of the packages and modules whose code decides it.
    """
    key = hashlib.sha256(repr((code_digest(*code), decides)).encode()).hexdigest()[:32]
    return cache_folder() / f"{key}.{kind}"


def load_or_make[T](path: Path, load: Callable[[bytes], T], make: Callable[[], tuple[T, bytes]]) -> T:
    """Read an entry, or make and keep it; of several processes that need it at once, one makes it.

    A file that is damaged, or that ``load`` raises at, is made anew. Where the folder cannot be written or trusted, nothing is
    kept, nor where another process has been at it for ``PATIENCE_S``: it may never end.

    Raises:
        ParagonSR2Error: an environment variable for the folder's bounds is no whole number of 0 or more.
    """
    within = bounds()
    found = load_kept(path, load)
    if found is not None:
        return found
    try:
        if not make_folder(path.parent):
            return make()[0]
        held = filelock.FileLock(f"{path}.lock").acquire(timeout=PATIENCE_S)
    except OSError:
        return make()[0]
    with held:
        found = load_kept(path, load)
        if found is not None:
            return found
        made, data = make()
        with suppress(OSError):  # a disk that is full keeps nothing
            _write(path, data, within)
        return made


def keep(path: Path, data: bytes) -> None:
    """Keep an entry that came about in passing, in place of what is there. Where somebody else is at it, or nothing can be written,
    nothing is kept.

    Raises:
        ParagonSR2Error: an environment variable for the folder's bounds is no whole number of 0 or more.
    """
    within = bounds()
    with suppress(OSError):  # a lock that another process has is one too
        if make_folder(path.parent):
            with filelock.FileLock(f"{path}.lock", timeout=0):
                _write(path, data, within)


def load_kept[T](path: Path, load: Callable[[bytes], T]) -> T | None:
    """Read an entry; None where there is none, its bytes are not those that were kept, or ``load`` raises at them."""
    try:
        content = _read(path)
        digest, data = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(data).digest() != digest:
            return None
        found = load(data)
    except Exception:  # whatever a runtime makes of a damaged file
        return None
    with suppress(OSError):
        os.utime(path)  # its time says when it was read last
    return found


def _read(path: Path) -> bytes:
    """The bytes of a file that this user, or root, has written. Raises OSError where it is something else."""
    if distrust(path.parent) is not None:
        raise PermissionError
    # No link is followed, and a pipe is opened without waiting for its other end.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        owners = (os.geteuid(), 0) if hasattr(os, "geteuid") else (status.st_uid,)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in owners or status.st_size > MAX_ENTRY_BYTES:
            raise PermissionError
        return file.read(status.st_size)


def _write(path: Path, data: bytes, within: Bounds) -> None:
    """Write an entry, after removing those that nobody has read for longest until it fits. It stays itself in any case.

    Raises OSError where it cannot be written.
    """
    folder = path.parent
    with folder_lock(folder):
        remove_leftovers(folder)
        others = [entry for entry in entries(folder) if entry.path != path]
        for entry in excess(others, max_bytes=within.max_bytes - len(data) - DIGEST_BYTES, max_entries=within.max_entries - 1):
            remove(entry)
        descriptor, name = tempfile.mkstemp(".part", f"{path.name}.", folder)  # new, under a name that nobody foresees
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
                file.flush()
                os.fsync(file.fileno())  # else a crash can leave a name with nothing behind it
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
