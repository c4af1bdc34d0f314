"""``vs-paragonsr2 cache``: what is kept on disk, and how to have less of it."""

import argparse
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from ..cache import cache_folder
from ..errors import ParagonSR2Error

AUXILIARY = (".lock", ".part")
"""Files beside an entry, of whoever makes it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache."""

    path: Path
    size: int
    """In bytes."""
    modified: float
    """Seconds since the epoch."""

    @property
    def kind(self) -> str:
        """What makes such files."""
        return {".engine": "TensorRT", ".blob": "OpenVINO"}.get(self.path.suffix, self.path.suffix.lstrip("."))


def entries(folder: Path) -> list[Entry]:
    """All entries of a folder, the newest first; what disappears meanwhile is left out."""
    return sorted(_entries(folder), key=lambda entry: -entry.modified)


def _entries(folder: Path) -> Iterator[Entry]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        try:
            if path.suffix not in AUXILIARY and path.is_file():
                yield Entry(path, path.stat().st_size, path.stat().st_mtime)
        except OSError:
            continue


def excess(kept: Iterable[Entry], *, max_bytes: int | None = None, max_days: float | None = None) -> list[Entry]:
    """Of entries, the newest first, those that are too old, or too much in all together with the ones before them."""
    too_much, total, now = [], 0, time.time()
    for entry in kept:
        total += entry.size
        too_large = max_bytes is not None and total > max_bytes
        too_old = max_days is not None and now - entry.modified > max_days * 86400
        if too_large or too_old:
            too_much.append(entry)
            total -= entry.size
    return too_much


def remove(entry: Entry) -> bool:
    """Delete an entry with its auxiliary files, unless somebody makes it anew right now. Whether it is gone."""
    lock = Path(f"{entry.path}.lock")
    try:
        with filelock.FileLock(lock, timeout=0):
            entry.path.unlink(missing_ok=True)
            entry.path.with_suffix(".part").unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
    except (filelock.Timeout, OSError):
        return False
    return True


def add_to(words: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Describe the word."""
    parser = words.add_parser("cache", help="list or prune compiled graphs and engines", description=__doc__)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="what is there; also without an action")
    prune = actions.add_parser("prune", help="delete entries, the oldest first; what is needed again is made again")
    prune.add_argument("--max-mib", type=float, metavar="MIB", help="until all together take no more")
    prune.add_argument("--max-days", type=float, metavar="DAYS", help="those that are older")
    prune.add_argument("--all", action="store_true", help="all of them")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Do what was asked for. Raises ParagonSR2Error for limits that are none."""
    folder, console = cache_folder(), Console()
    found = entries(folder)
    if arguments.action == "prune":
        if not arguments.all and arguments.max_mib is None and arguments.max_days is None:
            raise ParagonSR2Error("cache prune: expected --max-mib, --max-days or --all")
        for name in ("max_mib", "max_days"):
            value = getattr(arguments, name)
            if value is not None and not value >= 0:
                raise ParagonSR2Error(f"--{name.replace('_', '-')} is {value}: expected 0 or more")
        most = None if arguments.max_mib is None else int(arguments.max_mib * 2**20)
        chosen = found if arguments.all else excess(found, max_bytes=most, max_days=arguments.max_days)
        gone = [entry for entry in chosen if remove(entry)]
        console.print(f"{len(gone)} of {len(found)} entries deleted, {decimal(sum(entry.size for entry in gone))}", highlight=False)
        if len(gone) < len(chosen):
            console.print(f"{len(chosen) - len(gone)} are in use, or cannot be deleted", highlight=False)
        return
    table = Table(title=f"{folder}: {decimal(sum(entry.size for entry in found))}", title_justify="left")
    for column in ("entry", "made by", "size", "modified"):
        table.add_column(column, justify="right" if column == "size" else "left")
    for entry in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.modified))
        table.add_row(entry.path.name, entry.kind, decimal(entry.size), when)
    console.print(table)
