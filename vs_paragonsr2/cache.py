"""What is costly to make and kept on disk: one file an entry, in the user's cache folder."""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import filelock
import platformdirs

FOLDER_VARIABLE = "VS_PARAGONSR2_CACHE"
"""An environment variable that names another folder."""


def cache_folder() -> Path:
    """Where entries are kept."""
    return Path(os.environ.get(FOLDER_VARIABLE) or platformdirs.user_cache_dir("vs_paragonsr2", appauthor=False))


@cache
def sources_digest() -> str:
    """Of all the package's code that can decide what an entry holds: after an upgrade nothing old is taken."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def entry_path(kind: str, *decides: object) -> Path:
    """The file of the entry that all of ``decides`` decides, by their ``repr``; the package's own code does too."""
    key = hashlib.sha256(repr((sources_digest(), decides)).encode()).hexdigest()[:32]
    return cache_folder() / f"{key}.{kind}"


def load_or_make[T](path: Path, load: Callable[[bytes], T], make: Callable[[], tuple[T, bytes]]) -> T:
    """Read an entry, or make and keep it; of several processes that need it at once, one makes it.

    A file that ``load`` raises at, truncated or foreign, is made anew. Where the folder cannot be written, nothing is kept.
    """
    found = _load(path, load)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):
            found = _load(path, load)
            if found is not None:
                return found
            made, data = make()
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)
            return made
    except OSError:
        return make()[0]


def _load[T](path: Path, load: Callable[[bytes], T]) -> T | None:
    try:
        return load(path.read_bytes())
    except Exception:  # whatever a runtime makes of a damaged file
        return None
